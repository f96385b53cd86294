"""The `evenly` command. Heavy libraries are imported inside the command that needs them, so `--help` is quick.

Exit status: 0 ok, 1 a finding or a failed run, 2 a usage error, 130 after Ctrl-C, 143 after SIGTERM.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from evenly.flows.cli.adapters import evaluate as cli_evaluation
from evenly.flows.cli.adapters import fit as cli_adapters
from evenly.flows.cli.audit import audit as cli_audit
from evenly.flows.cli.audit import upkeep as cli_upkeep
from evenly.flows.cli.classes import batches as cli_batches
from evenly.flows.cli.classes import describe as cli_classes
from evenly.flows.cli.classes import descriptions as cli_descriptions
from evenly.flows.cli.datasets import builds as cli_datasets
from evenly.flows.cli.datasets import concepts as cli_concepts
from evenly.flows.cli.datasets import metadata as cli_metadata
from evenly.flows.cli.datasets import pools as cli_pools
from evenly.flows.cli.datasets import search as cli_search
from evenly.flows.cli.encoders import commands as cli_encoders
from evenly.flows.cli.help_page import CommandGroup
from evenly.flows.cli.locking import guard_commands
from evenly.flows.cli.start import serve as cli_serve

app = typer.Typer(
    name="evenly",
    cls=CommandGroup,
    help="Rebuild vision-language datasets, describe classes, extract features, fit adapters, and say why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (
    cli_datasets.COMMANDS,
    cli_classes.COMMANDS,
    cli_concepts.COMMANDS,
    cli_search.COMMANDS,
    cli_adapters.COMMANDS,
    cli_evaluation.COMMANDS,
    cli_encoders.COMMANDS,
    cli_pools.COMMANDS,
    cli_audit.COMMANDS,
    cli_upkeep.COMMANDS,
    cli_serve.COMMANDS,
):
    for name, command in commands.items():
        app.command(name)(command)
for name, group in (
    ("descriptions", cli_descriptions.GROUP),
    ("batches", cli_batches.GROUP),
    ("metadata", cli_metadata.GROUP),
    ("encoders", cli_encoders.GROUP),
):
    app.add_typer(group, name=name)
guard_commands(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"evenly {version('evenly')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself."""
