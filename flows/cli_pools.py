"""Curation of texts without a rebuild: `evenly match` and `evenly balance`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from flows.cli_output import AsJson, print_json, print_rows, print_text, printable

if TYPE_CHECKING:
    from curation.matching import Mode

Force = Annotated[bool, typer.Option(help="Overwrite a file that is there.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads; default: one per core.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (match,):
        app.command()(command)


def match(
    pool: Annotated[str, typer.Argument(help="Parquet, CSV or JSON lines: a file, a pattern or a folder.")],
    metadata: Annotated[str, typer.Option(help="A concept list, or `wordnet`.")],
    out: Annotated[Path, typer.Option(help="The matches to write, ending in .parquet.")],
    mode: Annotated[str, typer.Option(help="faithful, as MetaCLIP v1, or normalized.")] = "faithful",
    caption: Annotated[str, typer.Option(help="The column of captions.")] = "text",
    uid: Annotated[str | None, typer.Option(help="The column that names a row.")] = None,
    url: Annotated[str | None, typer.Option(help="The column of URLs: a row is named as in a rebuild.")] = None,
    language_column: Annotated[
        str | None, typer.Option(help="Match each caption against the list of its language (MetaCLIP 2).")
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
    *,
    plurals: Annotated[bool, typer.Option(help="In normalized mode also find plain plurals.")] = False,
    force: Force = False,
) -> None:
    """Say which concepts each caption of a pool names, and count them.

    Example: evenly match "pool/*.parquet" --metadata en.parquet --uid uid --out matches.parquet
    """
    from storage.pool_captions import CaptionColumns
    from tasks.match_pool import PoolMatching, match_pool
    from tasks.progress import Progress

    columns = CaptionColumns(caption=caption, uid=uid, url=url, language=language_column)
    matching = PoolMatching(metadata=metadata, mode=cast("Mode", mode), plurals=plurals, columns=columns)
    facts = match_pool(
        pool, matching, out, workers=workers or os.cpu_count() or 1, progress=Progress(), overwrite=force
    )
    if as_json:
        print_json(facts)
    else:
        _print_matched(facts)


def _print_matched(facts: dict[str, Any]) -> None:
    rows = [{"captions": "matched", "number": facts["matched"]}]
    rows += [{"captions": reason, "number": number} for reason, number in facts["reasons"].items()]
    print_rows(f"{facts['rows']:,} rows of {facts['files']:,} files", rows)
    print_text(f"matches   {facts['matches']:,}")
    print_text(f"entries   {facts['entries_hit']:,} named, {facts['entries_never_hit']:,} never")
    if facts["reused"]:
        print_text("nothing to do: the file is that of this pool, list and mode")
    elif facts["texts_per_second"]:
        print_text(f"speed     {facts['texts_per_second']:,} captions per second")
    print_text(f"list      {facts['list']['identity']}\npool      {facts['pool']}")
    print_text(f"matches   {printable(facts['out'])}")
