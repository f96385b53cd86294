"""The first page of `evenly --help`: what a newcomer types first, then all commands by subject."""

from typing import Any

from typer.core import TyperGroup

from evenly.flows.cli.errors import refuse_renamed

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
        "what-if",
        "diff",
        "card",
        "trace",
        "summary",
        "facts",
        "model-card",
        "verify",
        "forget",
        "doctor",
        "clean",
    ),
}
"""All commands, each once, in the order shown."""


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
