"""The output of commands: facts as JSON, tables for people. Data is shown as text, never as markup."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from evenly.audit.safe_text import visible

Root = Annotated[Path | None, typer.Option("--root", help="The workspace; default: EVENLY_ROOT, else .evenly.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print facts as JSON on stdout.")]
_NAME_WIDTH = 24  # so long, what a row is about is not folded


def print_json(value: object) -> None:
    """Print `value` as indented JSON with a newline; what a terminal would obey is escaped as JSON escapes it."""
    typer.echo(json_text(value))


def print_result(value: object, table: Callable[[], object], *, as_json: bool) -> None:
    """Print what a command found: as JSON, or for people by `table`."""
    if as_json:
        print_json(value)
    else:
        table()


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


def print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows that share their keys as a table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(printable(title)), title_justify="left")
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        numeric = all(isinstance(row.get(name), int | float | None) for row in rows)
        is_whole = name == names[0] and max(len(_shown(row.get(name))) for row in rows) <= _NAME_WIDTH
        justify: Literal["right", "left"] = "right" if numeric else "left"
        table.add_column(escape(printable(name.replace("_", " "))), justify=justify, overflow="fold", no_wrap=is_whole)
    for row in rows:
        table.add_row(*(escape(_shown(row.get(name))) for name in names))
    Console().print(table)


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
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return printable(text)


def _is_seen(letter: str) -> bool:
    return visible(letter) == letter
