"""Outcomes of captions by who made them, offered to chosen with scores.

Of each part of the pairs there remain counts, and the few pairs that are shown. Scores are counted in units of 1e-4, to
which they are stored, so means and intervals are exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.captions.choice import GIVEN
from evenly.curation.draws import wilson_interval

UNIT = 1e-4
DRAWN = 4
EXTREMES = 3
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


def all_disagreement(origins: Sequence[OriginFacts]) -> Disagreement:
    """That of all pairs with another caption than before."""
    parts = [origin.disagreement for origin in origins]
    return Disagreement(pairs=sum(part.pairs for part in parts), fell=sum(part.fell for part in parts))


def caption_outcomes(candidates: pa.Table, decisions: pa.Table) -> dict[str, pa.Table]:
    """Counts and examples by the fields of `OriginFacts` that they are of; decisions: uid, caption, origin."""
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


def _changed(candidates: pa.Table, chosen: pa.Table) -> pa.Table:
    """A row for each pair with another caption: both captions, their scores by both encoders, and the gains."""
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


def origin_facts(name: str, kind: str, tables: Mapping[str, pa.Table]) -> OriginFacts:
    """The facts of an origin by `caption_outcomes`, those of all parts put together."""
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
