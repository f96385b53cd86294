"""Outcomes of a build's captions by who made them, offered to chosen with scores; a pair's candidates as text.

Of each partition there remain counts, and the few pairs that are shown. Scores are counted in units of 1e-4, to which
they are stored, so means and intervals are exact.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.published import PublishedBuild
from evenly.audit.safe_text import visible
from evenly.curation.captions.choice import CANDIDATES, CHOICE_REASONS, CHOSEN, GIVEN
from evenly.curation.captions.quality import UNSEEN
from evenly.curation.intervals import wilson_interval
from evenly.storage.ledger import Ledger, StepRecord

UNIT = 1e-4
DRAWN, EXTREMES = 4, 3
"""Pairs of an origin that are shown: the first by uid, and those with the largest gain or disagreement."""
_SCORES = {
    "chooser": ("original_score", "score"),
    "judge": ("original_judged", "judged"),
    "references": ("original_ref_clip_score", "ref_clip_score"),
}
_COUNTS = pa.schema([("origin", pa.string()), ("name", pa.string()), ("unit", pa.int64()), ("count", pa.int64())])


@dataclass(frozen=True, kw_only=True)
class ScoreCounts:
    """Counts (n,) of pairs by score: units (n,) of 1e-4, ascending."""

    units: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @property
    def mean(self) -> float | None:
        """The mean score; None without pairs."""
        total = int(self.counts.sum())
        return float((self.units * self.counts).sum()) * UNIT / total if total else None


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """Pairs with another caption than before that the judge scored, and of how many its score fell."""

    pairs: int
    fell: int

    @property
    def share(self) -> float | None:
        """The share whose judged score fell."""
        return self.fell / self.pairs if self.pairs else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the share."""
        return wilson_interval(self.fell / self.pairs, self.pairs) if self.pairs else None


@dataclass(frozen=True, kw_only=True)
class OriginFacts:
    """Outcomes of the captions of one origin.

    kind: that of the captioner, "" for given captions. unseen: how many captions name a concept that is unseen in
    their picture, the largest counts first. scores: by encoder (chooser, judge), and RefCLIPScores of pairs of
    which both captions have one (references): of the originals that were replaced, and of its chosen captions.
    examples: pairs by drawn, best (largest gain) and parted (the choosing score rose most against the judge's).
    """

    name: str
    kind: str
    offered: int
    refused: Mapping[str, int]
    flags: Mapping[str, int]
    unseen: Mapping[str, int]
    chosen: int
    scores: Mapping[str, tuple[ScoreCounts, ScoreCounts]]
    disagreement: Disagreement
    examples: Mapping[str, Sequence[Mapping[str, Any]]]


def read_origins(build: PublishedBuild) -> list[OriginFacts]:
    """The origins of a build's captions: the original, twins, then captioners in the order of the recipe.

    Empty where no captions were chosen among candidates.
    """
    record = build.step("recaption")
    if record is None or "candidates" not in record.hashes or "caption_origin" not in record.columns:
        return []
    parts = build.each("reading captions", partial(_of_partition, record))
    tables = {name: pa.concat_tables([part[name] for part in parts]) for name in parts[0]}
    kinds = {captioner["name"]: captioner["kind"] for captioner in record.rule.get("captioners", ())}
    names = [*GIVEN, *kinds]
    offering = {*tables["offered"]["origin"].to_pylist(), *tables["chosen"]["origin"].to_pylist()}
    return [_facts(name, kinds.get(name, ""), tables) for name in [*names, *sorted(offering - {*names})]]


def all_disagreement(origins: Sequence[OriginFacts]) -> Disagreement:
    """That of all pairs with another caption than before."""
    parts = [origin.disagreement for origin in origins]
    return Disagreement(pairs=sum(part.pairs for part in parts), fell=sum(part.fell for part in parts))


def _of_partition(record: StepRecord, ledger: Ledger) -> dict[str, pa.Table]:
    """Counts and examples of a partition, by the fields of `OriginFacts` that they are of."""
    candidates = _candidates(record, ledger)
    decisions = ledger.decisions(record, ["uid", "chosen_caption", "caption_origin"]).combine_chunks()
    decisions = decisions.rename_columns(["uid", "caption", "origin"])
    pairs = _changed(candidates, decisions.filter(pc.not_equal(decisions["origin"], GIVEN[0])))
    judged = pairs.filter(pc.is_valid(pairs["judged_gain"]))
    fell = judged.append_column("fell", pc.less(judged["judged_gain"], 0).cast(pa.int64()))
    examples = [table for name in pc.unique(pairs["origin"]).to_pylist() for table in _examples(pairs, name).values()]
    return {
        "offered": _count(candidates, ["origin", "refused"]),
        "flags": _count_listed(candidates, "flags"),
        "unseen": _count_listed(candidates, "unseen"),
        "chosen": _count(decisions, ["origin"]),
        "scores": pa.concat_tables([_units(pairs, name) for names in _SCORES.values() for name in names]),
        "fell": fell.group_by("origin", use_threads=False).aggregate([("fell", "sum"), ("fell", "count")]),
        "examples": pa.concat_tables(examples or [pairs.slice(0, 0)]),
    }


def _candidates(record: StepRecord, ledger: Ledger) -> pa.Table:
    """The candidates of a partition; of earlier versions of the step with nulls for what these did not store."""
    names = ["uid", "origin", "caption", "refused", "score", "judged", "ref_clip_score", "flags", "unseen"]
    stored_names = [name for name in names if name in ledger.schema(record, "candidates").names]
    table = ledger.table(record, "candidates", stored_names).combine_chunks()
    for name in set(names) - {*stored_names}:
        kind = CANDIDATES.field(name).type
        table = table.append_column(
            name, pa.repeat("", len(table)) if name == "refused" else pa.nulls(len(table), kind)
        )
    return table.select(names)


def _changed(candidates: pa.Table, chosen: pa.Table) -> pa.Table:
    """A row for each pair with another caption: both captions, their scores by both encoders, and what these gain."""
    offered = candidates.filter(pc.equal(candidates["refused"], ""))
    places = pc.index_in(offered["uid"], chosen["uid"].combine_chunks()).combine_chunks()
    offered, places = offered.filter(pc.is_valid(places)), places.drop_null()
    matches = [pc.equal(offered[name], chosen[name].take(places)) for name in ("origin", "caption")]
    is_chosen = pc.fill_null(pc.and_(*matches), False).combine_chunks()
    first = np.unique(places.filter(is_chosen).to_numpy(), return_index=True)[1]
    chosen = offered.filter(is_chosen).take(pa.array(first))
    originals = candidates.filter(pc.equal(candidates["origin"], GIVEN[0]))
    replaced = originals.take(pc.index_in(chosen["uid"], originals["uid"].combine_chunks()).combine_chunks())
    columns = {name: chosen[name] for name in ("uid", "origin", "caption", "score", "judged")}
    columns |= {f"original_{name}": replaced[name] for name in ("caption", "score", "judged")}
    is_comparable = pc.and_(pc.is_valid(chosen["ref_clip_score"]), pc.is_valid(replaced["ref_clip_score"]))
    for name, table in (("ref_clip_score", chosen), ("original_ref_clip_score", replaced)):
        columns[name] = pc.if_else(is_comparable, table["ref_clip_score"], None)
    columns["gain"] = pc.round(pc.subtract(chosen["score"], replaced["score"]), 4)
    columns["judged_gain"] = pc.round(pc.subtract(chosen["judged"], replaced["judged"]), 4)
    columns["gap"] = pc.subtract(columns["gain"], columns["judged_gain"])
    return pa.table(columns).combine_chunks()


def _units(pairs: pa.Table, name: str) -> pa.Table:
    """Counts of pairs by origin and score of a column."""
    rows = pairs.select(["origin", name]).filter(pc.is_valid(pairs[name]))
    units = pc.round(pc.divide(rows[name], UNIT)).cast(pa.int64())
    table = pa.table({"origin": rows["origin"], "name": pa.repeat(name, len(rows)), "unit": units})
    return _count(table, ["origin", "name", "unit"]).cast(_COUNTS)


def _count_listed(candidates: pa.Table, column: str) -> pa.Table:
    """Counts of candidates by origin and value of a column of lists."""
    lists = candidates[column].combine_chunks()
    origins = candidates["origin"].combine_chunks().take(pc.list_parent_indices(lists))
    return _count(pa.table({"origin": origins, column: pc.list_flatten(lists)}), ["origin", column])


def _count(table: pa.Table, keys: list[str]) -> pa.Table:
    counts = table.group_by(keys, use_threads=False).aggregate([([], "count_all")])
    return counts.select([*keys, "count_all"]).rename_columns([*keys, "count"])


def _examples(pairs: pa.Table, origin: str) -> dict[str, pa.Table]:
    """The pairs of an origin that are shown, or may be in a part of the build."""
    rows = pairs.filter(pc.equal(pairs["origin"], origin))
    risen = rows.filter(pc.fill_null(pc.greater(rows["gap"], 0), False))
    return {
        "drawn": rows.sort_by("uid").slice(0, DRAWN),
        "best": rows.sort_by([("gain", "descending"), ("uid", "ascending")]).slice(0, EXTREMES),
        "parted": risen.sort_by([("gap", "descending"), ("uid", "ascending")]).slice(0, EXTREMES),
    }


def _facts(name: str, kind: str, tables: Mapping[str, pa.Table]) -> OriginFacts:
    tables_of = {title: table.filter(pc.equal(table["origin"], name)) for title, table in tables.items()}
    reasons = _sums(tables_of["offered"], "refused")
    examples = tables_of["examples"]
    first_rows = np.unique(examples["uid"].to_numpy(), return_index=True)[1]
    shown = _examples(examples.take(pa.array(first_rows, pa.int64())), name)
    return OriginFacts(
        name=name,
        kind=kind,
        offered=reasons.pop("", 0),
        refused=reasons,
        flags=_sums(tables_of["flags"], "flags"),
        unseen=_sums(tables_of["unseen"], "unseen"),
        chosen=pc.sum(tables_of["chosen"]["count"]).as_py() or 0,
        scores={
            encoder: (_counts(tables_of["scores"], original), _counts(tables_of["scores"], chosen))
            for encoder, (original, chosen) in _SCORES.items()
        },
        disagreement=Disagreement(
            pairs=pc.sum(tables_of["fell"]["fell_count"]).as_py() or 0,
            fell=pc.sum(tables_of["fell"]["fell_sum"]).as_py() or 0,
        ),
        examples={title: table.to_pylist() for title, table in shown.items()},
    )


def _sums(table: pa.Table, key: str) -> dict[str, int]:
    """Counts by the values of a column, the largest first."""
    sums = table.group_by(key, use_threads=False).aggregate([("count", "sum")])
    sums = sums.sort_by([("count_sum", "descending"), (key, "ascending")])
    return dict(zip(sums[key].to_pylist(), sums["count_sum"].to_pylist(), strict=True))


def _counts(table: pa.Table, name: str) -> ScoreCounts:
    rows = table.filter(pc.equal(table["name"], name)).group_by("unit", use_threads=False).aggregate([("count", "sum")])
    rows = rows.sort_by("unit")
    return ScoreCounts(units=rows["unit"].to_numpy(), counts=rows["count_sum"].to_numpy())


CHOICE = frozenset(CHOSEN.names) - {"uid"}
"""Columns of a step that chooses captions."""
_CANDIDATES_SHOWN = 40
_CAPTION_WIDTH = 72
_SCORE_NAMES = {"ref_clip_score": "RefCLIPScore"}


def choice_lines(chosen: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """(name, text, style) of lines: which caption was chosen and why; then each candidate, the chosen one first.

    The others follow by score, refused ones last. Nothing in the lines acts.
    """
    reason = str(chosen["caption_reason"])
    meaning = f"{CHOICE_REASONS[reason]} ({reason})" if reason in CHOICE_REASONS else visible(reason)
    yield "chosen", f"{visible(str(chosen['caption_origin']))}: {meaning}", "dim"
    picked = (chosen["caption_origin"], chosen.get("chosen_caption"))
    ranked = sorted(candidates, key=lambda row: (_is_out(row), -(row["score"] or 0.0), row["origin"], row["sample"]))
    first = next((row for row in ranked if not _is_out(row) and (row["origin"], row["caption"]) == picked), None)
    ordered = [row for row in ranked if row is not first]
    ordered = ordered if first is None else [first, *ordered]
    width = max((len(_maker(row)) for row in ordered), default=0)
    for number, row in enumerate(ordered[:_CANDIDATES_SHOWN]):
        mark = "*" if row is first else " "
        style = "dim" if row is not first else "green"
        yield "" if number else "candidates", f"{mark} {_maker(row):<{width}}  {_candidate(row)}", style
    if len(ordered) > _CANDIDATES_SHOWN:
        yield "", f"and {len(ordered) - _CANDIDATES_SHOWN:,} more candidates (all of them with --json)", "dim"


def _is_out(candidate: Mapping[str, Any]) -> bool:
    return bool(candidate["refused"])


def _maker(candidate: Mapping[str, Any]) -> str:
    return f"{visible(str(candidate['origin']))} {candidate['sample']}"


def _candidate(row: Mapping[str, Any]) -> str:
    """Scores of a candidate, its caption cut to a line, and what speaks against it."""
    scores = [
        f"{_SCORE_NAMES.get(name, name)} {row[name]:7.4f}"
        for name in ("score", "judged", "ref_clip_score", "grammar")
        if row.get(name) is not None
    ]
    against = [f"flags {visible(', '.join(_flags(row)))}"] if row.get("flags") else []
    against += [f"refused {visible(str(row['refused']))}"] if _is_out(row) else []
    request = [f"request {visible(str(row['request_id']))[:12]}"] if row.get("request_id") else []
    return "  ".join(
        [*scores, *([] if row["caption"] is None else [caption_in_quotes(row["caption"])]), *against, *request]
    )


def _flags(row: Mapping[str, Any]) -> list[str]:
    """The flags of a candidate; that of unseen concepts with their names."""
    unseen = ", ".join(row.get("unseen") or ())
    return [f"{flag} ({unseen})" if flag == UNSEEN and unseen else flag for flag in row["flags"]]


def caption_in_quotes(caption: str | None) -> str:
    """A caption in quotes, cut to a line, in which nothing acts."""
    if caption is None:
        return "none"
    text = visible(caption[:_CAPTION_WIDTH])
    return f'"{text}…"' if len(caption) > _CAPTION_WIDTH else f'"{text}"'
