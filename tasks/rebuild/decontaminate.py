"""Leave out pairs whose picture is one of an evaluation set."""

from typing import Any

import numpy as np
import pyarrow as pa

from evenly.curation.columns import column, fixed_rows
from evenly.curation.duplicates.fingerprints import COLOUR_BYTES
from evenly.curation.exclusions.decontaminate import (
    Decontamination,
    Nearest,
    Pictures,
    judge_contamination,
    nearest_features,
    nearest_hashes,
)
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput
from evenly.tasks.encoders import encoder_identity, step_encoder
from evenly.tasks.rebuild.features import image_rows
from evenly.tasks.reference_sets import References, check_references, read_references, references_hash
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Step

CONTAMINATION = pa.schema(
    [
        *((name, pa.string()) for name in ("uid", "evaluation", "kind", "name", "image_id")),
        ("distance", pa.float64()),
    ]
)


def decontaminate(run: Run, upstream: Records, rule: Decontamination) -> StepOutput:
    """Drop pairs whose picture looks like, or has features near those of, a picture of the evaluation sets.

    Table `contamination`: per pair and kind the nearest such picture, by the set's name, its own and its sha256, with
    the distance: differing bits, or the cosine.
    """
    pairs = run.ledger.alive(upstream, ["image_id", "phash", "colour"])
    pool = _pictures(run, pairs, features=rule.semantic is not None)
    sets = {name: read_references(run, path, features=rule.semantic is not None) for name, path in _sets(rule).items()}
    held_out = _together([references.pictures for references in sets.values()])
    nearest = {"perceptual": nearest_hashes(pool, held_out, rule), "semantic": nearest_features(pool, held_out, rule)}
    decisions = judge_contamination(nearest["perceptual"], nearest["semantic"])
    notes = {
        name: {"pictures": len(references.names), "unreadable": references.unreadable}
        for name, references in sets.items()
    }
    return StepOutput(
        decisions=decisions.to_table(pairs["uid"]),
        tables={"contamination": _rows(pairs["uid"].to_pylist(), nearest, sets)},
        notes={"evaluation_sets": notes},
    )


def _sets(rule: Decontamination) -> dict[str, str]:
    return dict(sorted(rule.sets.items()))


def _pictures(run: Run, pairs: pa.Table, *, features: bool) -> Pictures:
    hashes = column(pairs, "phash", pa.uint64())
    store = FeatureStore(run.workspace, encoder_identity(run), "images") if features else None
    return Pictures(
        hashes=hashes.fill_null(0).to_numpy(),
        colours=fixed_rows(pairs, "colour", pa.uint8(), COLOUR_BYTES),
        decoded=hashes.is_valid().to_numpy(zero_copy_only=False),
        rows=None if store is None else image_rows(run, store, pairs["image_id"].to_pylist()),
    )


def _together(parts: list[Pictures]) -> Pictures:
    rows = [part.rows for part in parts if part.rows is not None]
    return Pictures(
        hashes=np.concatenate([part.hashes for part in parts]),
        colours=np.concatenate([part.colours for part in parts]),
        decoded=np.concatenate([part.decoded for part in parts]),
        rows=np.concatenate(rows) if rows else None,
    )


def _rows(uids: list[str], nearest: dict[str, Nearest], sets: dict[str, References]) -> pa.Table:
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
    name="decontaminate",
    rule=Decontamination,
    compute=decontaminate,
    inputs=_hashes,
    model=_model,
    ready=_check_ready,
)
