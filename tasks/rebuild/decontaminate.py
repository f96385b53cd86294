"""Leave out pairs whose picture is one of an evaluation set."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import column, fixed_rows
from evenly.curation.duplicates.colours import COLOUR_BYTES
from evenly.curation.exclusions import judgement
from evenly.curation.exclusions.decontaminate import (
    Decontamination,
    Nearest,
    Pictures,
    judge_contamination,
    nearest_features,
    nearest_hashes,
)
from evenly.storage.ledger import StepOutput
from evenly.tasks.encoders import step_encoder
from evenly.tasks.pictures.encoded import rows_of_pictures
from evenly.tasks.pictures.pairs import send_by_picture
from evenly.tasks.pictures.sent_rows import SentRows, alive, rows_of_uids
from evenly.tasks.reference_sets import References, check_references, read_references, references_hash
from evenly.tasks.run import Each, Records, Run
from evenly.tasks.step import Exchanged, Step

CONTAMINATION = pa.schema(
    [
        *((name, pa.string()) for name in ("uid", "evaluation", "kind", "name", "image_id")),
        ("distance", pa.float64()),
    ]
)
SHOWN = ("image_id", "phash", "colour")
NEAREST = pa.schema([("uid", pa.string()), ("number", pa.int64()), ("distance", pa.float64())])
"""Of each pair the nearest picture of the evaluation sets by its number, -1 for none, and the cosine."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut(Exchanged):
    """The evaluation sets, and what features say of each pair, by uid: NEAREST; None: they are not compared."""

    sets: Mapping[str, References]
    nearest: SentRows | None

    @property
    def pictures(self) -> Pictures:
        """The pictures of all sets."""
        return _together([references.pictures for references in self.sets.values()])


def compare_features(run: Run, upstream: Records, rule: Decontamination, engine: Each) -> HeldOut:
    """Read the evaluation sets; compare features with theirs where the pool's lie."""
    sets = {name: read_references(run, path, features=rule.semantic is not None) for name, path in _sets(rule).items()}
    held_out = HeldOut(sets=sets, nearest=None)
    if rule.semantic is None:
        return held_out
    shown, compare = partial(alive, upstream, SHOWN), partial(_compared, rule, held_out.pictures)
    nearest = send_by_picture(run, engine, "comparing features", shown, compare)
    return replace(held_out, nearest=nearest)


def decontaminate(run: Run, upstream: Records, rule: Decontamination, held_out: HeldOut) -> StepOutput:
    """Drop pairs whose picture looks like, or has features near those of, a picture of the evaluation sets.

    Table `contamination`: per pair and kind the nearest such picture, by the set's name, its own and its sha256, with
    the distance: differing bits, or the cosine.
    """
    pairs = run.ledger.alive(upstream, SHOWN)
    uids, pool = pairs["uid"].combine_chunks(), _pictures(pairs)
    by_features: Nearest = (np.full(len(pool), -1), np.full(len(pool), np.nan))
    if held_out.nearest is not None:
        rows = rows_of_uids(held_out.nearest.of(run), uids)
        by_features = (rows["number"].to_numpy(), rows["distance"].to_numpy())
    nearest = {"perceptual": nearest_hashes(pool, held_out.pictures, rule), "semantic": by_features}
    decisions = judge_contamination(nearest["perceptual"], nearest["semantic"])
    return StepOutput(
        decisions=decisions.to_table(uids),
        tables={"contamination": _rows(uids.to_pylist(), nearest, held_out.sets)},
    )


def describe_sets(_run: Run, _upstream: Records, _rule: Decontamination, held_out: HeldOut) -> StepOutput:
    """Notes: how many pictures each evaluation set has."""
    notes = {
        name: {"pictures": len(references.names), "unreadable": references.unreadable}
        for name, references in held_out.sets.items()
    }
    return StepOutput(notes={"evaluation_sets": notes})


def _compared(rule: Decontamination, held_out: Pictures, run: Run, pairs: pa.Table) -> pa.Table:
    """NEAREST of the pairs that show the pictures of a partition."""
    if not pairs.num_rows:
        return NEAREST.empty_table()
    pool = replace(_pictures(pairs), rows=rows_of_pictures(run, pairs["image_id"].combine_chunks()))
    number, distance = nearest_features(pool, held_out, rule)
    return pa.table([pairs["uid"], number, distance], schema=NEAREST)


def _sets(rule: Decontamination) -> dict[str, str]:
    return dict(sorted(rule.sets.items()))


def _pictures(pairs: pa.Table) -> Pictures:
    hashes = column(pairs, "phash", pa.uint64())
    return Pictures(
        hashes=hashes.fill_null(0).to_numpy(),
        colours=fixed_rows(pairs, "colour", pa.uint8(), COLOUR_BYTES),
        decoded=hashes.is_valid().to_numpy(zero_copy_only=False),
    )


def _together(parts: list[Pictures]) -> Pictures:
    rows = [part.rows for part in parts if part.rows is not None]
    return Pictures(
        hashes=np.concatenate([part.hashes for part in parts]),
        colours=np.concatenate([part.colours for part in parts]),
        decoded=np.concatenate([part.decoded for part in parts]),
        rows=np.concatenate(rows) if rows else None,
    )


def _rows(uids: list[str], nearest: dict[str, Nearest], sets: Mapping[str, References]) -> pa.Table:
    names = [
        (name, *picture)
        for name, references in sets.items()
        for picture in zip(references.names, references.image_ids, strict=True)
    ]
    rows: list[dict[str, Any]] = []
    for kind, (numbers, distance) in nearest.items():
        for row in np.flatnonzero(numbers >= 0):
            evaluation, name, image_id = names[numbers[row]]
            values = (uids[row], evaluation, kind, name, image_id, float(distance[row]))
            rows.append(dict(zip(CONTAMINATION.names, values, strict=True)))
    return pa.Table.from_pylist(sorted(rows, key=lambda row: (row["uid"], row["kind"])), CONTAMINATION)


def _hashes(run: Run, _upstream: Records, rule: Decontamination) -> dict[str, str]:
    return {f"evaluation set {name}": references_hash(run, path) for name, path in _sets(rule).items()}


def _model(run: Run, rule: Decontamination) -> str | None:
    return None if rule.semantic is None else step_encoder(run, rule)


def _check_ready(run: Run, rule: Decontamination) -> None:
    for path in rule.sets.values():
        check_references(run, path)


DECONTAMINATE = Step(
    name=judgement.DECONTAMINATE.name,
    rule=Decontamination,
    resolve=compare_features,
    judge=decontaminate,
    shared=describe_sets,
    inputs=_hashes,
    model=_model,
    ready=_check_ready,
)
