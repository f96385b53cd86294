"""The `evenly` command. Heavy libraries are imported inside the command that needs them, so `--help` is quick.

Exit status: 0 ok, 1 a finding or a failed run, 2 a usage error, 130 after Ctrl-C, 143 after SIGTERM.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from evenly.flows.cli.command import guard_commands
from evenly.flows.cli.errors import refuse_renamed

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

FIRST_STEPS = """\
A folder of pictures, or a table of links and captions, becomes a dataset:
  evenly init birds.yaml --from photos/   a recipe for what lies there
  evenly check birds.yaml                 every problem of the recipe
  evenly rebuild birds.yaml               the dataset, and a report as a page
  evenly why robin/a.png                  why a picture is in or out"""

SUBJECTS = {
    "Start here": ("init", "check", "plan", "rebuild", "report", "why", "demo"),
    "Datasets": (
        *("builds", "promote", "export", "serve", "deploy"),
        *("match", "balance", "metadata", "link", "clusters", "search", "index"),
    ),
    "Classes": ("describe", "descriptions", "batches", "concepts", "retrieve"),
    "Features": ("extract", "encode", "regions", "encoders", "refine", "worth", "tune"),
    "Adapters": (
        *("fit", "evaluate", "predict", "leaderboard", "probe", "base-to-new", "sessions"),
        *("effects", "export-adapter"),
    ),
    "Audit": (
        *("what-if", "diff", "card", "trace", "summary", "facts", "model-card"),
        *("verify", "forget", "doctor", "clean"),
    ),
}
"""All commands by subject, each once, in the order shown."""


class CommandGroup(TyperGroup):
    """A group whose help has the first sentence of each command, never cut; that of `evenly` has them by subject."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - click as typer brings it along
        """The command that the arguments begin with, and the others; options by an old name are refused."""
        name, command, arguments = super().resolve_command(ctx, args)
        if command is not None:
            refuse_renamed(arguments, {option for parameter in command.params for option in parameter.opts})
        return name, command, arguments

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - click as typer brings it along
        """Write what the group is for, and below it the first steps where it is `evenly` itself."""
        super().format_help_text(ctx, formatter)
        if ctx.parent is None:
            formatter.write_paragraph()
            with formatter.indentation():
                for line in FIRST_STEPS.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - click as typer brings it along
        """Write the commands with their summaries."""
        names = self.list_commands(ctx)
        subjects = SUBJECTS if ctx.parent is None else {"Commands": names}
        width = max(map(len, names))
        for subject, commands in subjects.items():
            with formatter.section(subject):
                rows = [(name.ljust(width), summary(self.commands[name].help or "")) for name in commands]
                formatter.write_dl(rows)


def summary(text: str) -> str:
    """The first sentence of a help text in one line."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".") + "."


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
