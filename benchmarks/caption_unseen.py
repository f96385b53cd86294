"""How well concepts that captions name and their pictures do not show are recognised: on scenes, of which all is known.

An object that a caption names is there or not by evenly.demo.scenes.scores. It is held against its picture by the share
of all pictures that are nearer to it, and is flagged as the step recaption does. A captioner offers the truth: the
short caption of a scene, and its wrong variants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.caption_measures import Floats, auc_interval, ratio_interval
from evenly.adapters.evaluation.measures.bootstrap import Interval
from evenly.curation.captions.unseen import recognised_limits
from evenly.demo.scenes.scores import facts_of, score_caption
from evenly.descriptions.captions.asked import made
from evenly.features.unit_rows import SCORE_DIGITS
from evenly.storage.feature_store import FeatureStore
from evenly.tasks.captions.captioner import Captioner, Shown
from evenly.tasks.encoders import encoder_identity, text_rows
from evenly.tasks.rebuild.concepts import record_named
from evenly.tasks.run import Records, Run


@dataclass(frozen=True, kw_only=True)
class TruthRule:
    """The `file` with the truth of scenes."""

    file: str


def _offer(_run: Run, rule: TruthRule, shown: Shown) -> pa.Table:
    truth = {row["sha256"]: row for row in pq.read_table(rule.file).to_pylist()}
    rows = [truth[image_id] for image_id in shown.pairs["image_id"].to_pylist()]
    texts = [[row["short_caption"], *(one["caption"] for one in row["wrong_captions"])] for row in rows]
    return made(
        shown.pairs,
        places=[place for place, of_pair in enumerate(texts) for _ in of_pair],
        captions=[text for of_pair in texts for text in of_pair],
        samples=[sample for of_pair in texts for sample, _ in enumerate(of_pair)],
    )


TRUTH_CAPTIONER = Captioner(rule=TruthRule, offer=_offer, reads_pictures=False)


@dataclass(frozen=True, kw_only=True)
class NamedObject:
    """An object that a caption names: whether it is there, the share of pictures that are nearer to it, and the flag.

    group: pictures of one are not independent. is_recognised: whether the encoder recognises it by given captions.
    """

    group: str
    is_tested: bool
    origin: str
    is_there: bool
    nearer: float
    is_recognised: bool
    is_flagged: bool


def named_objects(
    run: Run,
    records: Records,
    pictures: Mapping[str, str],
    candidates: pa.Table,
    truth: Mapping[str, Mapping[str, Any]],
) -> list[NamedObject]:
    """The objects that captions name, of each caption; `pictures` by uid, `truth` by picture."""
    rows = [row for row in candidates.to_pylist() if not row["refused"] and row["caption"] is not None]
    scores = [score_caption(row["caption"], facts_of(truth[pictures[row["uid"]]])) for row in rows]
    names = sorted({name for score in scores for name in (*score.named, *score.wrong)})
    places = {picture: place for place, picture in enumerate(sorted(set(pictures.values())))}
    images = FeatureStore(run.workspace, encoder_identity(run), "images").read([*places])[0].astype(np.float64)
    cosines = (_unit(text_rows(run, names).astype(np.float64)) @ _unit(images).T).round(SCORE_DIGITS)
    nearer = dict(zip(names, [(row[None] > row[:, None]).mean(axis=1) for row in cosines], strict=True))
    limits = recognised_limits(cosines, _naming(run, records, names, pictures, places))
    recognised = {name for name, limit in zip(names, limits, strict=True) if not np.isnan(limit)}
    return [
        NamedObject(
            group=truth[picture]["objects"][0]["code"],
            is_tested=truth[picture]["part"] == "test",
            origin=row["origin"],
            is_there=name in score.named,
            nearer=float(nearer[name][places[picture]]),
            is_recognised=name in recognised,
            is_flagged=name in (row["unseen"] or ()),
        )
        for row, score in zip(rows, scores, strict=True)
        for picture in (pictures[row["uid"]],)
        for name in (*score.named, *score.wrong)
    ]


def _naming(
    run: Run, records: Records, names: Sequence[str], pictures: Mapping[str, str], places: Mapping[str, int]
) -> list[np.ndarray]:
    """The places of the pictures whose given captions name each of `names`."""
    matched = record_named(records, "match_concepts")
    entries = run.ledger.table(matched, "concepts", ["entry"])["entry"].to_pylist()
    named: dict[str, list[int]] = {name: [] for name in names}
    for row in run.ledger.table(matched, "matches").to_pylist():
        for entry in row["entries"] if row["uid"] in pictures else ():
            if entries[entry] in named:
                named[entries[entry]].append(places[pictures[row["uid"]]])
    return [np.array(named[name], np.int64) for name in names]


def _unit(rows: Floats) -> Floats:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@dataclass(frozen=True, kw_only=True)
class UnseenMeasures:
    """AUC: the chance that an object that is not there has more pictures nearer to it than one that is there.

    precision: share of flagged objects that are not there; recall: share of those not there that are flagged;
    false_alarms: share of those that are there.
    """

    there: int
    absent: int
    auc: Interval
    precision: Interval
    recall: Interval
    false_alarms: Interval


def measure_unseen(objects: Sequence[NamedObject]) -> UnseenMeasures:
    """The measures of objects, with 95 % intervals over groups of pictures."""
    there, absent = ([one for one in objects if one.is_there is side] for side in (True, False))

    def share(of: Sequence[NamedObject], counted: Sequence[bool]) -> Interval:
        return ratio_interval(np.array([counted, [True] * len(of)], np.float64).T, [one.group for one in of])

    flagged = [one for one in objects if one.is_flagged]
    return UnseenMeasures(
        there=len(there),
        absent=len(absent),
        auc=auc_interval(
            [one.nearer for one in absent],
            [one.nearer for one in there],
            [one.group for one in absent],
            [one.group for one in there],
        ),
        precision=share(flagged, [not one.is_there for one in flagged]),
        recall=share(absent, [one.is_flagged for one in absent]),
        false_alarms=share(there, [one.is_flagged for one in there]),
    )
