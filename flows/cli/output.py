"""The output of commands: facts as JSON, tables for people. Data is shown as text, never as markup."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import typer

from evenly.audit.safe_text import visible
from evenly.signatures import Named, Place

Build = Annotated[
    str, typer.Argument(help="A build id, the beginning of one, or NAME-latest; `latest` where there is one recipe.")
]
Recipe = Annotated[Place, typer.Argument(help="A recipe; its latest build is used.")]
AsJson = Annotated[bool, Named("--json"), "Print facts as JSON on stdout."]


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


def print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows that share their keys as a table; where it is too narrow for whole words, as lines for each row."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
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


def print_written(facts: Mapping[str, Any]) -> None:
    """Print the paths of the files that were written, where some were."""
    written = facts.get("written", ())
    for path in [written] if isinstance(written, str) else written:
        print_text(f"written  {path}")


def print_funnel(funnel: Sequence[Mapping[str, Any]]) -> None:
    """Print rows per step and verdict, with the reasons of those that went."""
    rows = [
        {
            **{name: step[name] for name in ("step", "kept", "dropped", "failed", "merged")},
            "reasons": ", ".join(f"{name} {count:,}" for name, count in step["reasons"].items()),
        }
        for step in funnel
    ]
    print_rows("funnel", rows)


def print_adapters(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print per class list accuracy on test and the paired difference to zero-shot with names, with 95 % intervals."""
    for name in dict.fromkeys(row["list"] for row in rows):
        of_list = [
            {
                "adapter": row["name"],
                "texts": row["texts"],
                "accuracy": with_interval(row["accuracy"], row["low"], row["high"], digits=2),
                "difference": with_interval(
                    row["difference"], row["difference_low"], row["difference_high"], sign="+", digits=2
                ),
            }
            for row in rows
            if row["list"] == name
        ]
        print_rows(f"{name}: adapters on test, 95 % intervals", of_list)


def print_losses(pool: Mapping[str, Any]) -> None:
    """Print what each part of a recipe would drop of a pool by itself, in a line for each."""
    lines = {}
    for loss in pool["losses"]:
        values = ", ".join(f"{name}: {_shown(value) or 'null'}" for name, value in loss["values"].items())
        label = f"{loss['field']} {{{values}}}" if values else loss["field"]
        lines[label] = ", ".join(f"{reason} {count:,}" for reason, count in loss["reasons"].items()) or "none"
    print_text(f"{pool['path']}: {pool['rows']}" + (", of which each by itself would drop" if lines else ""))
    for label, reasons in lines.items():
        print_text(f"  {label:<{max(map(len, lines))}}  {reasons}")


def print_estimates(estimates: Sequence[Mapping[str, Any]]) -> None:
    """Print what describing class lists would ask and cost: a table for each list, with its sum in the last row."""
    for class_list in dict.fromkeys(row["class_list"] for row in estimates):
        of_list = [row for row in estimates if row["class_list"] == class_list]
        total = {name: sum(row[name] for row in of_list) for name in of_list[0] if name not in {"class_list", "method"}}
        rows = [
            {
                "method": row["method"],
                "asks": row["questions"],
                "stored": row["stored"],
                "requests": f"{row['requests_at_least']:,}-{row['requests_at_most']:,}",
                "tokens": f"{_tokens(row, ''):,}-{_tokens(row, '_at_most'):,}",
                "usd": f"{row['cost_usd']:.4f}-{row['cost_usd_at_most']:.4f}",
            }
            for row in (*of_list, total | {"method": "in all"})
        ]
        print_rows(f"describing {class_list}: expected - at most, lost replies aside", rows)


def _tokens(row: Mapping[str, Any], bound: str) -> int:
    return int(row[f"prompt_tokens{bound}"] + row[f"completion_tokens{bound}"])


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
