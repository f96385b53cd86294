"""Choose the cosine from which records are linked, on half of the pairs with a known record; judge it on the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.adapters.splits import joined_groups, unit_hash
from evenly.curation.duplicates.linkage_threshold import agreement_curve, best_threshold, find_links, judge_records
from evenly.curation.duplicates.record_linkage import mix
from evenly.curation.errors import RuleError
from evenly.storage.builds import Builds, encoder_of
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput
from evenly.storage.samples import BuildSamples
from evenly.tasks.encoders import step_encoder, text_rows
from evenly.tasks.labelled_rows import check_encoder
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import inputs_of_build
from evenly.tasks.step import Step

CHOOSES, JUDGED = "chooses", "judged"


@dataclass(frozen=True, kw_only=True)
class LinkRule:
    """The column `truth` of a `build` that names the true record, the `weights` to try, and the least cosine."""

    build: str
    truth: str
    weights: tuple[float, ...]
    floor: float


def choose_link(run: Run, _upstream: Records, rule: LinkRule) -> StepOutput:
    """Tables `curve` (weight, min_cosine, ari, on the half that chooses) and `records` (uid, truth, part, record).

    Pairs are those of the build that have a picture with features and a value in the column `truth`, whatever became of
    them. Groups, joined with those of equal truth, are dealt into two halves by hash. Notes: `weight` and `min_cosine`,
    chosen on one half by ARI; `chosen_ari`; on the other `ari`, `low`, `high`, `precision`, `recall`; counts.
    """
    manifest = Builds(run.workspace).read(rule.build)
    check_encoder(run, manifest)
    pairs, missing = _pairs(run, manifest, rule.truth)
    truth = pairs["truth"].to_pylist()
    groups = _groups(pairs)
    chooses = np.array([unit_hash(run.seed, "link", group) < 0.5 for group in groups], dtype=np.bool_)
    for part, mask in ((CHOOSES, chooses), (JUDGED, ~chooses)):
        labelled = [record for record, in_half in zip(truth, mask, strict=True) if in_half]
        if len(set(labelled)) < 2 or len(set(labelled)) == len(labelled):
            raise RuleError(
                f"`truth` must name at least 2 records, one of them twice, in the half that {part}; got "
                f"{len(set(labelled))} records of {len(labelled)} pairs. Label more pairs."
            )
    images = FeatureStore(run.workspace, encoder_of(manifest), "images").read(pairs["image_id"].to_pylist())
    texts = text_rows(run, pairs["caption"].to_pylist())
    tried: list[dict[str, Any]] = []
    mixed = {weight: mix(images[0], texts, weight=weight) for weight in rule.weights}
    truth_of_choosing = [record for record, in_half in zip(truth, chooses, strict=True) if in_half]
    for weight, rows in mixed.items():
        curve = agreement_curve(find_links(rows[chooses], floor=rule.floor), truth_of_choosing)
        tried += [{"weight": weight, "min_cosine": cosine, "ari": ari} for cosine, ari in curve]
    best = {weight: best_threshold([(row["min_cosine"], row["ari"]) for row in tried if row["weight"] == weight])
            for weight in mixed}  # fmt: skip
    weight = max(mixed, key=lambda candidate: best[candidate][1])
    min_cosine, chosen_ari = best[weight]
    records = np.full(len(truth), -1)
    for mask in (chooses, ~chooses):
        records[mask] = find_links(mixed[weight][mask], floor=rule.floor).records(min_cosine)
    judged = np.flatnonzero(~chooses)
    agreement = judge_records(records[judged], [truth[place] for place in judged], [groups[place] for place in judged])
    counts = {"pairs": len(truth), "without_features": missing, "truth_records": len(set(truth))}
    notes = {"weight": weight, "min_cosine": min_cosine, "chosen_ari": chosen_ari, **vars(agreement), **counts}
    notes |= {f"pairs_{part}": int(mask.sum()) for part, mask in ((CHOOSES, chooses), (JUDGED, ~chooses))}
    table = pa.table(
        {
            "uid": pairs["uid"],
            "truth": pairs["truth"],
            "part": [CHOOSES if is_choosing else JUDGED for is_choosing in chooses],
            "record": records,
        }
    )
    return StepOutput(tables={"curve": pa.Table.from_pylist(tried), "records": table}, notes=notes)


def _pairs(run: Run, manifest: Mapping[str, Any], column: str) -> tuple[pa.Table, int]:
    """The pairs to link with their own caption and truth as text; how many had no features."""
    samples = BuildSamples(run.workspace, manifest)
    if column not in samples.columns:
        raise RuleError(
            f"`truth` must be a column of the sample table; got `{column}`. Choose one of these: "
            f"{', '.join(samples.columns)}."
        )
    table = samples.read(list(dict.fromkeys(["uid", "image_id", "caption", "group", column])))
    truth = pa.array([None if value is None else str(value) for value in table[column].to_pylist()], pa.string())
    pairs = table.select(["uid", "image_id", "caption", "group"]).append_column("truth", truth)
    pairs = pairs.filter(pc.and_(pc.is_valid(pairs["truth"]), pc.is_valid(pairs["caption"])))
    ids = pc.unique(pairs["image_id"].drop_null()).to_pylist()
    missing = set(FeatureStore(run.workspace, encoder_of(manifest), "images").missing(ids))
    has_features = pc.is_in(pairs["image_id"], pa.array(sorted(set(ids) - missing), pa.string()))
    return pairs.filter(has_features).sort_by("uid"), len(pairs) - int(pc.sum(has_features).as_py() or 0)


def _groups(pairs: pa.Table) -> list[str]:
    """The group of each pair, joined with those of pairs of the same true record."""
    first: dict[str, str] = {}
    uids, truth = pairs["uid"].to_pylist(), pairs["truth"].to_pylist()
    edges = [(uid, first.setdefault(record, uid)) for uid, record in zip(uids, truth, strict=True)]
    return [
        str(group)
        for group in joined_groups(uids, pairs["group"].to_pylist(), [edge for edge in edges if edge[0] != edge[1]])
    ]


LINK_RECORDS = Step(
    name="link_records", rule=LinkRule, judge=choose_link, inputs=inputs_of_build, model=step_encoder, seeded=True
)
