"""The `evenly` command. Heavy libraries are imported inside the command that needs them, so `--help` is quick.

Exit status: 0 ok, 1 a finding or a failed run, 2 a usage error, 130 after Ctrl-C, 143 after SIGTERM.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import typer

from evenly.flows.cli.command import guard_commands
from evenly.flows.cli.help_page import CommandGroup

MODULES = {
    "datasets.demo": "demo",
    "datasets.builds": "init check plan rebuild builds promote report export",
    "classes.describe": "describe extract",
    "datasets.concepts": "concepts clusters link retrieve",
    "datasets.search": "search index",
    "datasets.regions": "regions",
    "adapters.fit": "fit predict leaderboard export-adapter",
    "adapters.effects": "effects",
    "adapters.evaluate": "evaluate probe base-to-new sessions",
    "encoders.commands": "encode refine worth tune encoders",
    "datasets.pools": "match balance",
    "audit.audit": "why diff card verify",
    "audit.trace": "trace",
    "audit.what_if": "what-if",
    "audit.summary": "summary facts model-card",
    "audit.upkeep": "doctor clean",
    "audit.forget": "forget",
    "start.serve": "serve deploy",
    "classes.descriptions": "descriptions",
    "classes.batches": "batches",
    "datasets.metadata": "metadata",
}
"""The commands of each module below this package, its group last: for a command, its module alone is imported."""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"evenly {version('evenly')}")
        raise typer.Exit


def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself."""


@cache
def command_line(first: str = "") -> typer.Typer:
    """The `evenly` command with all of its commands, or where `first` is one of these with those of its module."""
    app = typer.Typer(
        name="evenly",
        cls=CommandGroup,
        help="Rebuild vision-language datasets, describe classes, extract features, fit adapters, and say why.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for place in [place for place, names in MODULES.items() if first in names.split()] or MODULES:
        module = import_module(f"{__name__}.{place}")
        for name, command in getattr(module, "COMMANDS", {}).items():
            app.command(name)(command)
        if hasattr(module, "GROUP"):
            app.add_typer(module.GROUP, name=MODULES[place].split()[-1])
    guard_commands(app)
    app.callback()(options)
    return app


def __getattr__(name: str) -> typer.Typer:
    """The whole command, as `app`."""
    if name != "app":
        raise AttributeError(name)
    return command_line()
