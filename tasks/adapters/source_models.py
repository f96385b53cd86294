"""Models per training source, and how robust each is beyond what its accuracy lets expect (Quality Not Quantity).

Nguyen et al., NeurIPS 2022, arXiv:2208.05516, train CLIP on each source at several sizes. The features-only analogue
here: a linear probe on the frozen features of each source's train pictures, at several shares of them, and of all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evenly.adapters.contract import Adapter
from evenly.adapters.evaluation.measures.effective_robustness import effective_robustness, lines_per_source
from evenly.adapters.features import Features, LabelledFeatures
from evenly.adapters.methods.linear import LinearProbe
from evenly.adapters.search import tune
from evenly.adapters.splits import unit_hash
from evenly.storage.builds import Builds
from evenly.storage.feature_store import FeatureStore
from evenly.storage.samples import BuildSamples
from evenly.tasks.classes.texts import ClassTexts, prototypes, single
from evenly.tasks.encoders import encoder_identity
from evenly.tasks.labelled_rows import kept_pairs
from evenly.tasks.run import Run

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Of a source's train pictures, nested: a line over models needs models of different accuracy."""
ALL = "all sources"
"""The source of models trained on the mixture: a line of its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceModel:
    """A probe fitted on `rows` train pictures, a `share` of those of a `source`."""

    source: str
    share: float
    rows: int
    adapter: Adapter


def source_models(run: Run, split: pa.Table, *, build: str, classes: Sequence[str]) -> list[SourceModel]:
    """A model per source with train pictures and share, C tuned on all val pictures; none with fewer than two sources.

    `split`: uid, class, part of an evaluation. A share is of the uids of the smallest hashes. A share of fewer than two
    classes, of which a probe learns nothing, is left out.
    """
    judged = split.filter(pc.is_in(split["part"], pa.array(["train", "val"])))
    sources = _sources(run, build, judged["uid"])
    train = judged["part"].to_numpy(zero_copy_only=False) == "train"
    names = sorted({source for source, in_train in zip(sources, train, strict=True) if in_train and source})
    if len(names) < 2:
        return []
    pictures = LabelledFeatures(features=_features(run, build, judged, classes), labels=_labels(judged, classes))
    order = np.argsort([unit_hash(run.seed, "source", uid) for uid in judged["uid"].to_pylist()], kind="stable")
    models = []
    for name in (*names, ALL):
        places = order[train[order] & ((sources[order] == name) | (name == ALL))]
        for share in SHARES:
            subset = places[: max(int(share * len(places)), 1)]
            if len(np.unique(pictures.labels[subset])) > 1:
                tuned = tune(
                    LinearProbe,
                    train=pictures.rows(subset),
                    validation=pictures.rows(~train),
                    guard=False,
                )
                models.append(SourceModel(source=name, share=share, rows=len(subset), adapter=tuned.adapter))
    return models


def source_tables(models: Sequence[SourceModel], measures: Sequence[Mapping[str, float]]) -> dict[str, pd.DataFrame]:
    """`sources` and `source_lines`, from the `measures` of each model: clean and corrupted, with their intervals.

    `sources`, a row per model: source, share, rows, the measures, and expected, effective_robustness, residual and
    state of a line through all of them. `source_lines`, a row per source: its own line (`lines_per_source`), and the
    mean effective_robustness of its models. Without a line these are NaN, and `state` says why.
    """
    if not models:
        return {}
    table = pd.DataFrame(
        [
            {"source": model.source, "share": model.share, "rows": model.rows, **row}
            for model, row in zip(models, measures, strict=True)
        ]
    )
    names = [f"{model.source} {model.share:g}" for model in models]
    robust, _ = effective_robustness(names, table["clean"], table["corrupted"])
    for name in ("expected", "effective_robustness", "residual", "state"):
        table[name] = robust[name].to_numpy()
    lines = lines_per_source(table["source"].tolist(), table["clean"], table["corrupted"])
    means = table.groupby("source")["effective_robustness"].mean()
    return {"sources": table, "source_lines": lines.assign(effective_robustness=lines["source"].map(means))}


def _sources(run: Run, build: str, uids: pa.ChunkedArray) -> np.ndarray:
    """The source (n,) of each pair; "" where it has none."""
    table = BuildSamples(run.workspace, Builds(run.workspace).read(build)).read(["uid", "source"])
    sources = table["source"].take(pc.index_in(uids.combine_chunks(), table["uid"].combine_chunks()))
    return np.array([name or "" for name in sources.to_pylist()], dtype=np.str_)


def _features(run: Run, build: str, judged: pa.Table, classes: Sequence[str]) -> Features:
    pairs = kept_pairs(run, Builds(run.workspace).read(build))
    ids = pairs["image_id"].take(pc.index_in(judged["uid"].combine_chunks(), pairs["uid"].combine_chunks()))
    encoder = encoder_identity(run)
    return Features(
        image=single(FeatureStore(run.workspace, encoder, "images").read(ids.to_pylist())[0]),
        prototypes=prototypes(run, ClassTexts(classes=tuple(classes)))["names"],
        encoder=encoder,
    )


def _labels(judged: pa.Table, classes: Sequence[str]) -> np.ndarray:
    places = {name: place for place, name in enumerate(classes)}
    return np.array([places[name] for name in judged["class"].to_pylist()], dtype=np.int64)
