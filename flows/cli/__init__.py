"""The `evenly` command. Heavy libraries are imported inside the command that needs them, so `--help` is quick.

Exit status: 0 ok, 1 a finding or a failed run, 2 a usage error, 130 after Ctrl-C, 143 after SIGTERM.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from evenly.flows.cli.adapters import evaluate, fit
from evenly.flows.cli.audit import audit as explaining
from evenly.flows.cli.audit import upkeep, what_if
from evenly.flows.cli.classes import batches, describe, descriptions
from evenly.flows.cli.command import guard_commands
from evenly.flows.cli.datasets import builds, concepts, metadata, pools, search
from evenly.flows.cli.encoders import commands as encoding
from evenly.flows.cli.help_page import CommandGroup
from evenly.flows.cli.start import serve

app = typer.Typer(
    name="evenly",
    cls=CommandGroup,
    help="Rebuild vision-language datasets, describe classes, extract features, fit adapters, and say why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (builds, describe, concepts, search, fit, evaluate, encoding, pools, explaining, what_if, upkeep, serve):
    for name, command in module.COMMANDS.items():
        app.command(name)(command)
groups = {"descriptions": descriptions, "batches": batches, "metadata": metadata, "encoders": encoding}
for name, module in groups.items():
    app.add_typer(module.GROUP, name=name)
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
