"""The public summary of training content as Markdown and as a page that prints; what acts in a text is escaped."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evenly.audit.safe_text import visible
from evenly.curation.publication.summary import PARTS, Summary, SummaryField


def as_markdown(summary: Summary) -> str:
    """The summary as Markdown; what acts in names and captions is escaped."""
    lines = ["# Public summary of training content", "", *_head(summary), ""]
    part = ""
    for number, title, fields in summary.sections():
        if number[0] != part:
            part = number[0]
            lines += [f"## {part}. {PARTS[part]}", ""]
        lines += [f"### {number}. {title}", ""]
        for field in fields:
            lines += [f"**{field.question}**", "", *_answer_lines(field), ""]
        if number in summary.comments:
            lines += ["**Additional comments**", "", plain_markdown(summary.comments[number]), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _head(summary: Summary) -> list[str]:
    version = plain_markdown(summary.version) or "**You must say: the version of this summary.**"
    return [
        f"Version of the summary: {version}  ",
        f"Last update: {summary.updated}  ",
        f"Build: {plain_markdown(summary.build)}",
    ]


def _answer_lines(field: SummaryField) -> Iterator[str]:
    if field.must_say:
        yield f"**{field.must_say}**"
        return
    if field.provided:
        yield plain_markdown(field.provided)
    if field.provided and field.recorded:
        yield ""
    if field.recorded:
        yield f"{plain_markdown(field.recorded)}"
        if field.rows:
            yield ""
            yield from markdown_table(field.rows)
            yield ""
        yield f"<sub>Recomputed by `{field.command}`</sub>"


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Rows as a table of Markdown, with the columns of all of them."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    yield f"| {' | '.join(plain_markdown(name) for name in columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(plain_markdown(cell(row.get(name))) for name in columns)} |"


def cell(value: Any) -> str:  # noqa: ANN401 - any value of a fact
    """A value of a table as text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
    return "" if value is None else str(value)


_ACTING = str.maketrans(
    {letter: f"\\{letter}" for letter in r"\`*_{}[]#|!~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)


def plain_markdown(text: str) -> str:
    """A text in one line, of which Markdown and HTML make nothing else."""
    return visible(text).translate(_ACTING)


def as_page(summary: Summary) -> str:
    """The summary as one HTML page that loads nothing and prints: every text is escaped."""
    from evenly.audit.report.page import page_environment

    template = page_environment().get_template("summary.html.j2")
    return template.render(summary=summary, parts=PARTS, sections=[*summary.sections()], cell=cell)
