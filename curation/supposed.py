"""A build by other rules beside itself: pairs that enter, leave or are unknown, and the doubts about them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.keys import places_in

ENTER, LEAVE, UNKNOWN = "enter", "leave", "unknown"
MOVES = (ENTER, LEAVE, UNKNOWN)
"""Moves of a pair: it comes into the build, goes out of it, or nothing is known of it at a step."""
_ENDS = ("step", "reason")


@dataclass(frozen=True, kw_only=True)
class OpenStep:
    """A step whose verdicts on known pairs are not certain: `pairs` unknown ones might be judged with them.

    moved: how many known pairs may leave for that, and how many may come back; None: that is not bounded. fitted: what
    the step fits to all pairs, and is that of the build here.
    """

    step: str
    pairs: int
    moved: tuple[int, int] | None = None
    fitted: str = ""

    def to_text(self) -> str:
        """The step and what is not certain, as a sentence."""
        if self.fitted:
            return (
                f"{self.step}: {self.fitted} are those of the build; a rebuild fits them to the pairs that come then."
            )
        bounds = "which is not bounded"
        if self.moved is not None:
            bounds = f"by which at most {self.moved[0]:,} known pairs leave and {self.moved[1]:,} come back"
        return f"{self.step}: {self.pairs:,} unknown pairs may be judged with the known ones, {bounds}."


def ended_pairs(dropped: Iterable[tuple[str, pa.Table]], unknown: Mapping[str, pa.Array]) -> pa.Table:
    """The end of each pair that is not kept [uid, step, reason]: of each step those that go and are unknown there."""
    tables = [pa.table({name: pa.array([], pa.string()) for name in ("uid", *_ENDS)})]
    for name, rows in dropped:
        tables.append(pa.table({"uid": rows["uid"], "step": _all(name, len(rows)), "reason": rows["reason"]}))
    for name, uids in unknown.items():
        tables.append(pa.table({"uid": uids, "step": _all(name, len(uids)), "reason": _all(UNKNOWN, len(uids))}))
    return pa.concat_tables(tables)


def compared_ends(uids: pa.Array, before: pa.Table, after: pa.Table) -> pa.Table:
    """The end of each of all pairs, as `ended_pairs` has it, before and after, and its move.

    uid, before_step, before_reason, after_step, after_reason, null where it is kept, and move: "" for none.
    """
    columns = {"uid": uids}
    for side, table in (("before", before), ("after", after)):
        places = places_in(uids, table["uid"])
        columns |= {f"{side}_{end}": table[end].combine_chunks().take(places) for end in _ENDS}
    ended_at, ends_at = columns["before_step"], columns["after_step"]
    is_unknown = pc.fill_null(pc.equal(columns["after_reason"], UNKNOWN), False)
    comes, goes = (pc.and_(out.is_valid(), kept.is_null()) for out, kept in ((ended_at, ends_at), (ends_at, ended_at)))
    move = pc.if_else(is_unknown, UNKNOWN, pc.if_else(comes, ENTER, pc.if_else(goes, LEAVE, "")))
    return pa.table(columns | {"move": move})


def end_otherwise(ends: pa.Table) -> pa.Table:
    """The rows of `compared_ends` that end at another step or for another reason."""
    words = [
        pc.binary_join_element_wise(*(pc.fill_null(ends[f"{side}_{end}"], "") for end in _ENDS), " ")
        for side in ("before", "after")
    ]
    return ends.filter(pc.not_equal(*words))


def counted_moves(ends: pa.Table, move: str, order: Sequence[str]) -> list[dict[str, Any]]:
    """Pairs that make a move, counted by step, in this order, and reason: of those that enter, where they had ended."""
    side = "before" if move == ENTER else "after"
    rows = ends.filter(pc.equal(ends["move"], move)).select([f"{side}_{end}" for end in _ENDS])
    counted = rows.rename_columns(_ENDS).group_by([*_ENDS]).aggregate([([], "count_all")])
    groups = counted.rename_columns([*_ENDS, "pairs"]).to_pylist()
    return sorted(groups, key=lambda row: (order.index(row["step"]), -row["pairs"], row["reason"]))


def kept_bounds(kept: int, unknown: int, open_steps: Sequence[OpenStep]) -> tuple[int, int] | None:
    """The least and the most pairs that are kept, whatever is unknown; None where that is not bounded."""
    moved = [step.moved for step in open_steps]
    if len(moved) > 1 or None in moved:
        return None
    leaving, returning = moved[0] or (0, 0) if moved else (0, 0)
    return max(kept - leaving, 0), kept + returning + unknown


def _all(word: str, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(word), n)
