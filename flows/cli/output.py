"""The output of commands: facts as JSON, tables for people. Data is shown as text, never as markup."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import typer

from evenly.audit.safe_text import visible
from evenly.signatures import Named, Place

Build = Annotated[
    str, typer.Argument(help="A build id, the beginning of one, or NAME-latest; `latest` where there is one recipe.")
]
Recipe = Annotated[Place, typer.Argument(help="A recipe; its latest build is used.")]
AsJson = Annotated[bool, Named("--json"), "Print facts as JSON on stdout."]


Row = Mapping[str, Any]
Columns = Sequence[str] | Mapping[str, str | Callable[[Row], object]]
"""The columns of a table: names of the rows, or headings with such a name or what makes a cell of a row."""
_NARROWEST = 12  # what is folded gets so many characters in a line
_LONGEST_NAME = 24  # a longer word is a hash or a build
_FRAME = 3  # of a table, for each column


def print_json(value: object) -> None:
    """Print `value` as indented JSON with a newline; what a terminal would obey is escaped as JSON escapes it."""
    typer.echo(json_text(value))


def json_text(value: object) -> str:
    """`value` as indented JSON: the same value whatever reads it, and no character that acts."""
    plain = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return "\n".join(
        line
        if line.isprintable()
        else "".join(character if _is_seen(character) else json.dumps(character)[1:-1] for character in line)
        for line in plain.split("\n")
    )


def print_text(text: str) -> None:
    """Print lines on stdout, with escapes for what a terminal would obey; tabs stay."""
    typer.echo("\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n")))


def printable(text: str) -> str:
    """`text` in one line, with what is no printable character as an escape."""
    return visible(text)


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print one result as lines of name and value, whole; a mapping within it as one line each."""
    lines = [*_lines_of(facts, "")]
    width = max((len(name) for name, _ in lines), default=0)
    print_text("\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in lines))


def _lines_of(facts: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        label = f"{prefix}{printable(str(name)).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _lines_of(value, f"{label} ")
        else:
            yield label, _shown(value)


def _chosen(row: Row, columns: Columns) -> dict[str, Any]:
    """The cells of a row in these columns."""
    if not isinstance(columns, Mapping):
        return {name: row[name] for name in columns}
    return {heading: row[cell] if isinstance(cell, str) else cell(row) for heading, cell in columns.items()}


def print_rows(title: str, rows: Sequence[Row], columns: Columns | None = None) -> None:
    """Print rows as a table, with these columns or all; where it is too narrow for words, as lines for each row."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    rows = rows if columns is None else [_chosen(row, columns) for row in rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = {name: [_shown(row.get(name)) for row in rows] for name in names}
    headers = {name: printable(name.replace("_", " ")) for name in names}
    widths = _fitting({name: [headers[name], *cells[name]] for name in names}, console.width - len(names) * _FRAME - 1)
    if widths is None:
        print_text(printable(title))
        for row in rows:
            print_text("")
            print_facts({name: row[name] for name in names if row.get(name) not in (None, "")})
        return
    table = Table(title=escape(printable(title)), title_justify="left")
    for name in names:
        numeric = all(isinstance(row.get(name), int | float | None) for row in rows)
        justify: Literal["right", "left"] = "right" if numeric else "left"
        table.add_column(escape(headers[name]), justify=justify, overflow="fold", width=widths[name])
    for place in range(len(rows)):
        table.add_row(*(escape(cells[name][place]) for name in names))
    console.print(table)


def _fitting(texts: Mapping[str, Sequence[str]], width: int) -> dict[str, int] | None:
    """Widths of columns that hold these texts, in `width` characters together; None where paths or hashes would be cut.

    Words stay whole where there is room, those of the first column always. What is left over goes to the columns that
    need least first, so that only the longest texts are folded.
    """
    from rich.cells import cell_len

    longest = {name: max(map(cell_len, column)) for name, column in texts.items()}
    words = {name: [word for text in column for word in text.split()] for name, column in texts.items()}
    for must_be_whole in (str.isascii, _is_path_or_hash):
        least = {
            name: max(
                [min(longest[name], _NARROWEST), *map(len, filter(must_be_whole if place else None, words[name]))]
            )
            for place, name in enumerate(texts)
        }
        if sum(least.values()) <= width:
            return _with_spare(least, longest, width - sum(least.values()))
    return None


def _with_spare(least: Mapping[str, int], longest: Mapping[str, int], spare: int) -> dict[str, int]:
    """The widths, wider by `spare` together, none wider than its longest text."""
    widths, waiting = dict(least), sorted(least, key=lambda name: longest[name] - least[name])
    for place, name in enumerate(waiting):
        added = min(longest[name] - least[name], spare // (len(waiting) - place))
        widths[name] += added
        spare -= added
    return widths


def _is_path_or_hash(word: str) -> bool:
    return word.isascii() and ("/" in word or len(word) > _LONGEST_NAME)


def with_interval(
    value: float | None, low: float | None, high: float | None, *, sign: str = "", digits: int = 3
) -> str:
    """A value with its interval beside it, where it has one; "none" for no value."""
    if value is None:
        return "none"
    ends = "" if low is None or high is None else f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return f"{value:{sign}.{digits}f}{ends}"


def measured(row: Row, name: str, *, sign: str = "", digits: int = 3) -> str:
    """A measure of a row with its interval: `name`_low and `name`_high, or where these are not there low and high."""
    ends = (row[f"{name}_{end}"] if f"{name}_{end}" in row else row[end] for end in ("low", "high"))
    return with_interval(row[name], *ends, sign=sign, digits=digits)


def interval(name: str, *, sign: str = "", digits: int = 3) -> Callable[[Row], str]:
    """The cells of a column of `measured`."""
    return lambda row: measured(row, name, sign=sign, digits=digits)


def counted(counts: Mapping[str, int]) -> str:
    """Names with how often each is there, or was the reason."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def print_written(facts: Mapping[str, Any]) -> None:
    """Print the paths of the files that were written, where some were."""
    written = facts.get("written", ())
    for path in [written] if isinstance(written, str) else written:
        print_text(f"written  {path}")


def print_funnel(funnel: Sequence[Mapping[str, Any]]) -> None:
    """Print rows per step and verdict, with the reasons of those that went."""
    counts = {name: name for name in ("step", "kept", "dropped", "failed", "merged")}
    print_rows("funnel", funnel, {**counts, "reasons": lambda step: counted(step["reasons"])})


def print_adapters(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print per class list accuracy on test and the paired difference to zero-shot with names, with 95 % intervals."""
    columns: Columns = {
        "adapter": "name",
        "texts": "texts",
        "accuracy": interval("accuracy", digits=2),
        "difference": interval("difference", sign="+", digits=2),
    }
    for name in dict.fromkeys(row["list"] for row in rows):
        of_list = [row for row in rows if row["list"] == name]
        print_rows(f"{name}: adapters on test, 95 % intervals", of_list, columns)
        print_test_losses(of_list)


def print_test_losses(rows: Sequence[Row]) -> None:
    """Print the foot of a table of adapters: which lost against zero-shot on test, and by how much."""
    from evenly.adapters.evaluation.tables import losses_in_words  # here, for it loads the adapters

    print_text(losses_in_words(rows))


def print_losses(pool: Mapping[str, Any]) -> None:
    """Print what each part of a recipe would drop of a pool by itself, in a line for each."""
    lines = {}
    for loss in pool["losses"]:
        values = ", ".join(f"{name}: {_shown(value) or 'null'}" for name, value in loss["values"].items())
        label = f"{loss['field']} {{{values}}}" if values else loss["field"]
        lines[label] = counted(loss["reasons"]) or "none"
    print_text(f"{pool['path']}: {pool['rows']}" + (", of which each by itself would drop" if lines else ""))
    for label, reasons in lines.items():
        print_text(f"  {label:<{max(map(len, lines))}}  {reasons}")


def print_estimates(estimates: Sequence[Mapping[str, Any]]) -> None:
    """Print what describing class lists would ask and cost: a table for each list, with its sum in the last row."""
    columns: Columns = {
        "method": "method",
        "asks": "questions",
        "stored": "stored",
        "requests": lambda row: f"{row['requests_at_least']:,}-{row['requests_at_most']:,}",
        **SPENT,
    }
    for class_list in dict.fromkeys(row["class_list"] for row in estimates):
        of_list = [row for row in estimates if row["class_list"] == class_list]
        total = {name: sum(row[name] for row in of_list) for name in of_list[0] if name not in {"class_list", "method"}}
        rows = [*of_list, total | {"method": "in all"}]
        print_rows(f"describing {class_list}: expected - at most, lost replies aside", rows, columns)


def _tokens(row: Row) -> str:
    expected, at_most = (row[f"prompt_tokens{end}"] + row[f"completion_tokens{end}"] for end in ("", "_at_most"))
    return f"{int(expected):,}-{int(at_most):,}"


SPENT: Mapping[str, Callable[[Row], str]] = {
    "tokens": _tokens,
    "usd": lambda row: f"{row['cost_usd']:.4f}-{row['cost_usd_at_most']:.4f}",
}
"""Columns of what asking a language model would take: expected, and at most."""


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.3f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{printable(str(name)).replace('_', ' ')} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return printable(value if isinstance(value, str) else json.dumps(value, default=str))


def _is_seen(letter: str) -> bool:
    return visible(letter) == letter
