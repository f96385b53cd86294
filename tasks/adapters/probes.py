"""Probes of a build and its encoder: retrieval among pairs, diversity given captions, attributes of two objects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.adapters.class_texts import ListSplit
from evenly.adapters.evaluation.measures.diversity import schur_complement_entropy
from evenly.adapters.evaluation.protocols.retrieval import RetrievalRows, judge_pairs
from evenly.adapters.features import Floats
from evenly.adapters.labelled import Strings
from evenly.adapters.training import row_keys
from evenly.curation.step import NoRule
from evenly.demo.pictures.binding import COLOURS, THINGS, compositions, question
from evenly.features import to_unit_rows
from evenly.storage.builds import Builds, encoder_of
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.storage.samples import BuildSamples
from evenly.tasks.classes.texts import single
from evenly.tasks.encoders import encoder_identity, open_encoder, step_encoder, text_rows
from evenly.tasks.labelled_rows import groups_among, labelled_pairs
from evenly.tasks.pictures.encoded import image_rows
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import build_inputs, grouped_inputs, inputs_of_build
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
    rows = _read_pairs(run, manifest, uids)
    measures = judge_pairs(_pair_rows(run, manifest, rows), seed=run.seed)
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
    if len(uids) < 2:
        place = f"`{rule.build}`" if rule.part is None else f"the part `{rule.part.part}` of list `{rule.part.list}`"
        raise InputError(
            f"`build` must keep at least 2 pairs with pictures; got {len(uids)} in {place}. Choose another."
        )
    uids = uids.combine_chunks()
    return uids.take(pc.array_sort_indices(uids)).slice(0, rule.pairs), len(uids)


def _read_pairs(run: Run, manifest: Mapping[str, Any], uids: pa.Array) -> pa.Table:
    """uid, image_id, label, group and chosen caption of pairs, whose uids come sorted."""
    samples = BuildSamples(run.workspace, manifest)
    caption = "chosen_caption" if "chosen_caption" in samples.columns else "caption"
    columns = ["uid", "image_id", "label", "group", caption]
    rows = samples.read(columns, f"uid <= '{uids[-1].as_py()}'").rename_columns([*columns[:-1], "caption"])
    return rows.filter(pc.is_in(rows["uid"], uids)).sort_by("uid")


def _pair_rows(run: Run, manifest: Mapping[str, Any], rows: pa.Table) -> RetrievalRows:
    images, texts = _features(run, rows)
    return RetrievalRows(
        image=images,
        text=texts,
        captions=_texts(rows["caption"]),
        pictures=_texts(rows["image_id"]),
        labels=_texts(rows["label"]),
        groups=groups_among(run, manifest, rows, images),
    )


def _features(run: Run, rows: pa.Table) -> tuple[Floats, Floats]:
    """Unit rows of the pictures and captions of pairs; those that the run's encoder has not encoded yet are."""
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    images = image_rows(run, store, rows["image_id"].combine_chunks())
    return single(images), single(text_rows(run, _texts(rows["caption"]).tolist()))


def _texts(column: pa.ChunkedArray) -> Strings:
    return np.array([text or "" for text in column.to_pylist()], np.str_)


def _inputs(run: Run, _upstream: Records, rule: PairRetrievalRule) -> dict[str, str]:
    if rule.part is None:
        return build_inputs(run, rule.build)
    return grouped_inputs(run, rule.build, rule.part.split)


MEASURE_RETRIEVAL = Step(
    name="measure_retrieval",
    rule=PairRetrievalRule,
    judge=measure_retrieval,
    version=2,
    inputs=_inputs,
    model=step_encoder,
    seeded=True,
)


@dataclass(frozen=True, kw_only=True)
class DiversityRule:
    """Measuring of the diversity of a `build`: the number of `rows`, and the kernel.

    `sigma` is the median distance between unit rows, the usual choice: measured on the demo's 2,478 pairs it is 1.28
    between pictures and 1.32 between captions. The published 3.5 makes a nearly flat kernel on unit rows, with every
    score near 1. `frequencies` are a twentieth of the rows, ten rows per feature: with the published 2,500 (5,000
    features), captions dealt out to the wrong pictures "explain" 94 % of 2,000 pictures at sigma 0.5, which says
    nothing.
    """

    build: str
    rows: int = 2000
    sigma: float = 1.3
    frequencies: int = 100


def measure_diversity(run: Run, _upstream: Records, rule: DiversityRule) -> StepOutput:
    """The diversity of the kept pictures of a build beyond what their captions say: table `diversity`, one row.

    Columns: pairs, n, sigma, frequencies; given_texts, by_texts, unexplained of Diversity; and the same three with
    each picture beside the caption of another, `dealt_...`: what captions explain that say nothing. Captions tell by
    how much they fall short of that. Of more than `rows` pairs those with the smallest uids are taken, so the
    numbers depend on content alone. Compare only numbers of equal rule, n and seed.
    """
    manifest = Builds(run.workspace).read(rule.build)
    encoder_of(manifest)  # refuses a build without features
    uids, total = _drawn(run, manifest, PairRetrievalRule(build=rule.build, pairs=rule.rows))
    images, texts = _features(run, _read_pairs(run, manifest, uids))
    keys = row_keys(np.concatenate([images, texts], axis=1))
    chosen = sorted(range(len(keys)), key=lambda row: keys[row])
    row = {"pairs": total, "n": len(chosen), "sigma": rule.sigma, "frequencies": rule.frequencies}
    dealt = np.roll(chosen, 1)  # neighbours in the order of digests have nothing to do with each other
    for prefix, captions in (("", chosen), ("dealt_", dealt)):
        diversity = schur_complement_entropy(
            images[chosen], texts[captions], sigma=rule.sigma, frequencies=rule.frequencies, seed=run.seed
        )
        row |= {
            f"{prefix}given_texts": diversity.given_texts,
            f"{prefix}by_texts": diversity.by_texts,
            f"{prefix}unexplained": diversity.unexplained,
        }
    return StepOutput(tables={"diversity": pa.Table.from_pylist([row])}, notes={"pairs": len(chosen)})


def pair_measures(build: str, *, pairs: int) -> list[tuple[Step[Any], Any]]:
    """The steps that measure retrieval and diversity of so many kept pairs of a build, each with its rule."""
    return [
        (MEASURE_RETRIEVAL, PairRetrievalRule(build=build, pairs=pairs)),
        (MEASURE_DIVERSITY, DiversityRule(build=build, rows=pairs)),
    ]


def probe_binding(run: Run, _upstream: Records, _rule: NoRule) -> StepOutput:
    """Whether the encoder gives each of two objects its own colour: table `binding`, as `binding_table` has it."""
    from evenly.adapters.evaluation.measures.binding import ProbeSet, binding_table  # here, for it loads pandas

    shown = compositions()
    with run.progress.bar("encoding pictures of two objects", len(shown)) as advance:
        rows = to_unit_rows(
            open_encoder(run).encode_images([composition.png for composition in shown], progress=advance)
        )[0]
    texts = text_rows(run, [question(thing, colour) for thing in THINGS for colour in COLOURS])
    probe = ProbeSet(
        image=single(rows),
        texts=single(texts).reshape(len(THINGS), len(COLOURS), -1),
        objects=np.array(
            [[THINGS.index(item.thing) for item in composition.items] for composition in shown], dtype=np.int64
        ),
        attributes=np.array(
            [[COLOURS.index(item.colour) for item in composition.items] for composition in shown], dtype=np.int64
        ),
        strength=np.array([[item.strength for item in composition.items] for composition in shown], dtype=np.str_),
    )
    groups = [" ".join(sorted(item.code for item in composition.items)) for composition in shown]
    table = binding_table(probe, seed=run.seed, groups=groups)
    return StepOutput(tables={"binding": pa.Table.from_pandas(table, preserve_index=False)})


MEASURE_DIVERSITY = Step(
    name="measure_diversity",
    rule=DiversityRule,
    judge=measure_diversity,
    version=3,
    inputs=inputs_of_build,
    model=step_encoder,
    seeded=True,
)
PROBE_BINDING = Step(name="probe_binding", rule=NoRule, judge=probe_binding, version=2, model=step_encoder, seeded=True)
