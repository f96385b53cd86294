"""The step measure_retrieval: how well an encoder finds the pairs of a build by each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.adapters.evaluation.protocols.retrieval import RetrievalRows, judge_pairs
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.storage.samples import BuildSamples
from evenly.tasks.classes.texts import ListSplit, single
from evenly.tasks.encoders import encoder_identity, step_encoder, text_rows
from evenly.tasks.labelled_rows import Strings, all_groups, labelled_pairs
from evenly.tasks.pictures.encoded import image_rows
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import grouped_inputs
from evenly.tasks.step import Step

Part = Literal["train", "val", "test"]


@dataclass(frozen=True, kw_only=True)
class PartOfList(ListSplit):
    """The pictures of a class list that are in a part of its split."""

    list: str
    part: Part


@dataclass(frozen=True, kw_only=True)
class PairRetrievalRule:
    """At most `pairs` of the kept pairs of a `build` that have a picture, or of those in a part of a class list."""

    build: str
    pairs: int = 5000
    part: PartOfList | None = None


def measure_retrieval(run: Run, _upstream: Records, rule: PairRetrievalRule) -> StepOutput:
    """Measures by the run's encoder of the pairs with the smallest uids; what it has not encoded yet is encoded.

    Table `retrieval`: the directions of `judge_pairs`. Notes: pairs, of (how many there were), matched_cosine and
    modality_gap.
    """
    if rule.pairs < 2:
        raise InputError(f"`pairs` must be at least 2; got {rule.pairs}. Take some thousand.")
    manifest = Builds(run.workspace).read(rule.build)
    uids, total = _drawn(run, manifest, rule)
    if len(uids) < 2:
        where = f"`{rule.build}`" if rule.part is None else f"the part `{rule.part.part}` of list `{rule.part.list}`"
        raise InputError(f"`build` must keep at least 2 pairs with pictures; got {total} in {where}. Choose another.")
    measures = judge_pairs(_pair_rows(run, manifest, uids), seed=run.seed)
    numbers = {"matched_cosine": measures.matched_cosine, "modality_gap": measures.modality_gap}
    return StepOutput(
        tables={"retrieval": pa.Table.from_pylist(measures.directions)},
        notes={"pairs": len(uids), "of": total, **numbers},
    )


def retrieval_facts(run: Run, record: StepRecord) -> dict[str, Any]:
    """The figures of a record of the step, as plain values."""
    part = record.rule.get("part")
    return {
        "build": record.rule["build"],
        **({} if part is None else {"list": part["list"], "part": part["part"]}),
        **record.notes,
        "directions": run.ledger.table(record, "retrieval").to_pylist(),
    }


def _drawn(run: Run, manifest: Mapping[str, Any], rule: PairRetrievalRule) -> tuple[pa.Array, int]:
    """The smallest uids of the pairs that may be taken, and how many there are."""
    if rule.part is not None:
        labelled = labelled_pairs(run, manifest, rule.part)
        uids = labelled.pairs["uid"].filter(pa.array(labelled.split == rule.part.part))
    else:
        samples = BuildSamples(run.workspace, manifest)
        uids = samples.read(["uid"], f"{samples.kept} AND image_id IS NOT NULL")["uid"]
    uids = uids.combine_chunks()
    return uids.take(pc.array_sort_indices(uids)).slice(0, rule.pairs), len(uids)


def _pair_rows(run: Run, manifest: Mapping[str, Any], uids: pa.Array) -> RetrievalRows:
    rows = BuildSamples(run.workspace, manifest).read(where=f"uid <= '{uids[-1].as_py()}'")
    rows = rows.filter(pc.is_in(rows["uid"], uids)).sort_by("uid")
    name = "chosen_caption" if "chosen_caption" in rows.column_names else "caption"
    captions, labels = (_texts(rows[column]) for column in (name, "label"))
    everyone, groups = all_groups(run, manifest)
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    return RetrievalRows(
        image=single(image_rows(run, store, rows["image_id"].combine_chunks())),
        text=single(text_rows(run, captions.tolist())),
        captions=captions,
        pictures=_texts(rows["image_id"]),
        labels=labels,
        groups=groups[pc.index_in(rows["uid"], everyone["uid"].combine_chunks()).to_numpy()].astype(np.str_),
    )


def _texts(column: pa.ChunkedArray) -> Strings:
    return np.array([text or "" for text in column.to_pylist()], np.str_)


def _inputs(run: Run, _upstream: Records, rule: PairRetrievalRule) -> dict[str, str]:
    return grouped_inputs(run, rule.build, None if rule.part is None else rule.part.split)


MEASURE_RETRIEVAL = Step(
    name="measure_retrieval",
    rule=PairRetrievalRule,
    judge=measure_retrieval,
    inputs=_inputs,
    model=step_encoder,
    seeded=True,
)
