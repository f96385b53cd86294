"""Curation of texts without a rebuild: `evenly match` and `evenly balance`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from annotated_types import Ge

from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import FINDING, UsageError
from evenly.flows.cli.output import print_rows, print_text, printable
from evenly.signatures import Named, Place, fields_of, taking

if TYPE_CHECKING:
    from evenly.tasks.pools.balance import BalanceJob
    from evenly.tasks.pools.match import MatchJob
    from evenly.tasks.pools.work import PoolWork


@dataclass(frozen=True, kw_only=True)
class PoolOptions:
    """Options of work on pools without a rebuild."""

    workers: Annotated[int | None, Ge(1), "Worker processes under Prefect, at most; default: none, this one works."] = (
        None
    )
    threads: Annotated[int | None, Ge(1), "Threads of all processes; default: one per core."] = None
    engine: Annotated[str | None, "What works: local, ray, or a cluster's address (auto, HOST:PORT, ray://…)."] = None
    memory: Annotated[str | None, "What all processes may take, as 6GB or 50%; default: 50%."] = None
    root: Annotated[
        Place | None, Named("--root"), "Keep parts in this workspace, for a later run of a changed pool."
    ] = None
    force: Annotated[bool, "Overwrite a file that is there."] = False


@dataclass(frozen=True, kw_only=True)
class MatchOptions(PoolOptions):
    """Options of `evenly match`."""

    metadata: Annotated[str, "A concept list, or `wordnet`."]
    out: Annotated[Path, "The matches to write, ending in .parquet."]
    mode: Annotated[str, "faithful, as MetaCLIP v1, or normalized."] = "faithful"
    caption: Annotated[str, "The column of captions."] = "caption"
    uid: Annotated[str | None, "The column that names a row."] = None
    url: Annotated[str | None, "The column of URLs: a row is named as in a rebuild."] = None
    language_column: Annotated[str | None, "Match each caption against the list of its language (MetaCLIP 2)."] = None
    plurals: Annotated[bool, "In normalized mode also find plain plurals."] = False


@taking(MatchOptions)
def match_command(
    pool: Annotated[str, typer.Argument(help="Parquet, CSV or JSON lines: a file, a pattern or a folder.")],
    options: MatchOptions,
) -> dict[str, Any]:
    """Say which concepts each caption of a pool names, and count them.

    Example: evenly match "pool/*.parquet" --metadata en.parquet --uid uid --out matches.parquet
    """
    from evenly.storage.pools.captions import CaptionColumns
    from evenly.tasks.pools.match import MatchJob

    columns = CaptionColumns(
        caption=options.caption, uid=options.uid, url=options.url, language=options.language_column
    )
    of_job = fields_of(MatchJob, options)
    return _done(MatchJob(**of_job, pool=pool, columns=columns, overwrite=options.force, work=_work(options)))


@dataclass(frozen=True, kw_only=True)
class BalanceOptions(PoolOptions):
    """Options of `evenly balance`."""

    out: Annotated[Path, "The decisions to write, ending in .parquet; with --replay, to look at."]
    t: Annotated[float | None, "Captions from which a concept is thinned."] = None
    tail_share: Annotated[float | None, "Choose t so that the tail holds this share."] = None
    target: Annotated[float | None, "Choose t so that this many rows are expected to stay."] = None
    law: Annotated[str, "v1: a draw per match; v2: one per row."] = "v1"
    seed: Annotated[int, "Draws are hashes of it, row and concept."] = 1
    reference: Annotated[str, "With --per-language: the language whose threshold is t."] = "en"
    entries: Annotated[str | None, "The concept list, where its texts do not lie beside the matches."] = None
    replay: Annotated[str | None, "Recompute the row of this uid."] = None
    per_language: Annotated[bool, "A threshold for each language (MetaCLIP 2)."] = False


@taking(BalanceOptions)
def balance_command(
    matches: Annotated[list[Path], typer.Argument(help="What `evenly match` wrote, of one list.")],
    options: BalanceOptions,
) -> dict[str, Any] | list[dict[str, Any]]:
    """Decide which rows stay so that no concept dominates: exactly one of --t, --tail-share and --target.

    Example: evenly balance matches.parquet --t 20000 --seed 1 --out balanced.parquet
    """
    from evenly.curation.balance.thresholds import BalanceRule
    from evenly.tasks.pools.balance import BalanceJob, explain_row

    if options.replay is not None:
        return explain_row(options.replay, matches, options.out, entries=options.entries)
    language = "language" if options.per_language else None
    rule = BalanceRule(**fields_of(BalanceRule, options), language=language)
    of_job = fields_of(BalanceJob, options)
    return _done(BalanceJob(**of_job, matches=matches, rule=rule, overwrite=options.force, work=_work(options)))


def _work(options: PoolOptions) -> "PoolWork":
    from evenly.tasks.pools.work import PoolWork
    from evenly.tasks.run import read_engine

    try:
        choice = read_engine(options.engine or "local")
    except ValueError as error:
        raise UsageError(f"`--engine` {error}. Correct it.") from None
    cores = os.cpu_count() or 1
    return PoolWork(
        threads=options.threads or cores,
        processes=options.workers or (cores if choice.name == "ray" else 1),
        engine=choice,
        memory=options.memory,
        root=None if options.root is None else str(options.root),
    )


def _done(job: "MatchJob | BalanceJob") -> dict[str, Any]:
    """The result of a job; Prefect starts only where other processes work on it."""
    if not job.has_workers:
        return job.run()
    from evenly.flows.curate_texts import curate_texts
    from evenly.flows.runs import as_flow

    return as_flow(curate_texts)(job)


def _print_replayed(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        title = f"{printable(row['uid'])}: row {row['row']} of file {row['file']}"
        print_rows(title, row["entries"], ("entry", "count", "p", "draw", "deciding"))
        print_text("kept" if row["kept"] else f"dropped: {row['reason']}")
        print_text(f"p_keep    {row['p_keep']:.6g}, t {row['t']:.6g}")
        print_text(f"stored    {'the same' if row['as_stored'] else 'differs'}")


def _differs(facts: dict[str, Any] | list[dict[str, Any]]) -> int:
    return FINDING if isinstance(facts, list) and not all(row["as_stored"] for row in facts) else 0


def _print_balanced(facts: dict[str, Any] | list[dict[str, Any]]) -> None:
    if isinstance(facts, list):
        _print_replayed(facts)
        return
    columns = ("language", "t", "tail_share", "matches", "matched", "expected", "kept")
    print_rows("thresholds", facts["languages"], columns)
    rows = {"kept": facts["kept"], **facts["reasons"]}
    print_rows(f"{facts['rows']:,} rows", [{"rows": reason, "number": number} for reason, number in rows.items()])
    if facts["reused"]:
        print_text("nothing to do: the file is that of these matches, rule and seed")
    print_text(f"seed      {facts['seed']}\ncounts    {facts['counts']}\ndecisions {printable(facts['out'])}")


def _print_matched(facts: dict[str, Any]) -> None:
    captions = {"matched": facts["matched"], **facts["reasons"]}
    rows = [{"captions": reason, "number": number} for reason, number in captions.items()]
    print_rows(f"{facts['rows']:,} rows of {facts['files']:,} files", rows)
    print_text(f"matches   {facts['matches']:,}")
    print_text(f"entries   {facts['entries_hit']:,} named, {facts['entries_never_hit']:,} never")
    if facts["reused"]:
        print_text("nothing to do: the file is that of this pool, list and mode")
    elif facts["texts_per_second"]:
        print_text(f"speed     {facts['texts_per_second']:,} captions per second")
    print_text(f"list      {facts['list']['identity']}\npool      {facts['pool']}")
    print_text(f"matches   {printable(facts['out'])}")


COMMANDS = {
    "match": typed(match_command, _print_matched),
    "balance": typed(balance_command, _print_balanced, status=_differs),
}
