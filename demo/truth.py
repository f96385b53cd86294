"""Comparison with the truth file, after the event: how well the pipeline's verdicts found the injected faults.

Rules, per fault (demo/faults.py names the step that can find it and the reasons that are right):
- injected: all pairs of the truth with this fault. judged: those which reached the step that can find it; a duplicate
  counts as judged only if a row of its twin reached that step too, else there was nothing to be a duplicate of.
- found: judged pairs with a right reason. A duplicate is found if it ends in one component with its twin (by following
  `into` over all merges) and a merge of that picture within the component bears a right reason: which of the two was
  kept is the pipeline's affair.
- recall = found / judged. precision = right / claimed, where claimed are all rows to which the step gave one of the
  fault's reasons. A claim is right if the reason is right for the row's own fault; a merge is right if both rows show
  the same picture by the truth's transitive closure (injected twins and pictures that OpenMoji draws alike).
- wrong captions: also the area under the ROC curve of the align score of the original caption, right captions against
  wrong ones, over all scored rows and over those whose caption's head noun is an object.
- odd_but_fine: no fault, but a server that redirects, is busy once, slow or says no to others; found are those kept.
Where nothing was judged or claimed, recall or precision is None.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evenly.demo.errors import ComparisonError
from evenly.demo.faults import DUPLICATES, FAULTS, Fault

STEPS: Mapping[str, Collection[str]] = {
    "text": ("check_texts",),
    "download": ("download",),
    "image": ("check_images",),
    "deduplicate": ("deduplicate_exact", "deduplicate_perceptual", "deduplicate_semantic"),
    "align": ("align",),
}
"""Which steps' verdicts are looked at for each stage that demo/faults.py names."""

_VERDICT_COLUMNS = ("uid", "url", "caption", "step", "verdict", "reason", "into")


def compare_with_truth(
    verdicts: pa.Table, scores: pa.Table, truth: pa.Table, *, steps: Mapping[str, Collection[str]] = STEPS
) -> list[dict[str, Any]]:
    """One dict per fault: fault, injected, judged, found, recall, precision; auc, auc_object for wrong captions.

    verdicts: one row per pair and step (uid, url, original caption, step, verdict, reason, into). scores: uid and the
    align score of the original caption. truth: as `make_demo` wrote it.
    """
    _require(verdicts, "verdicts", _VERDICT_COLUMNS)
    _require(scores, "scores", ("uid", "score"))
    _require(truth, "truth", ("url", "alt", "fault", "detail", "twin_url", "is_object", "picture"))
    rows = verdicts.select(list(_VERDICT_COLUMNS)).to_pandas()
    pairs = _joined(rows, truth)
    stages = {stage: _last_decisions(rows[rows["step"].isin(list(names))]) for stage, names in steps.items()}
    results = []
    for name, fault in FAULTS.items():
        judged_by = _compare_duplicates if name in DUPLICATES else _compare_reasons
        results.append({"fault": name, **judged_by(pairs, stages[fault.stage], name, fault)})
        if name == "wrong_caption":
            results[-1] |= _separation(pairs, scores)
    results.append({"fault": "odd_but_fine", **_compare_odd(pairs, stages["download"])})
    return results


def area_under_curve(right: pd.Series, wrong: pd.Series) -> float | None:
    """The chance that a right pair scores above a wrong one, ties counting half; None where either is missing."""
    if right.empty or wrong.empty:
        return None
    from sklearn.metrics import roc_auc_score

    is_right = np.repeat([True, False], [len(right), len(wrong)])
    return float(roc_auc_score(is_right, pd.concat([right, wrong])))


def _joined(rows: pd.DataFrame, truth: pa.Table) -> pd.DataFrame:
    """The truth with uids, indexed by uid; pairs that the pipeline never saw have a made-up one."""
    uids = rows.drop_duplicates("uid")[["uid", "url", "caption"]]
    pairs = truth.to_pandas().merge(uids, how="left", left_on=["url", "alt"], right_on=["url", "caption"])
    if pairs.duplicated(["url", "alt"]).any():
        raise ComparisonError(
            "`truth` and `verdicts` must hold a pair once; got one twice. Pass one row per uid and step."
        )
    pairs["uid"] = pairs["uid"].where(pairs["uid"].notna(), "unseen " + pairs.index.astype(str))
    return pd.DataFrame(pairs.set_index("uid"))


def _last_decisions(rows: pd.DataFrame) -> pd.DataFrame:
    """verdict, reason and into per uid; of a stage's several steps the first that did not keep the row decides."""
    removed = rows[rows["verdict"] != "kept"]
    return pd.concat([removed, rows]).drop_duplicates("uid").set_index("uid")


def _compare_reasons(pairs: pd.DataFrame, stage: pd.DataFrame, name: str, fault: Fault) -> dict[str, Any]:
    injected = pairs[pairs["fault"] == name]
    judged = injected.join(stage[["reason"]], how="inner")
    n_found = sum(
        reason in fault.expected(detail) for reason, detail in zip(judged["reason"], judged["detail"], strict=True)
    )
    claimed = stage[stage["reason"].isin(list(fault.claimed()))].join(pairs[["fault", "detail"]], how="left")
    right = sum(
        claimed_fault in FAULTS and reason in FAULTS[claimed_fault].expected(detail)
        for claimed_fault, detail, reason in zip(claimed["fault"], claimed["detail"], claimed["reason"], strict=True)
    )
    return _figures(len(injected), len(judged), n_found, right, len(claimed))


def _compare_duplicates(pairs: pd.DataFrame, stage: pd.DataFrame, name: str, fault: Fault) -> dict[str, Any]:
    injected = pairs[pairs["fault"] == name]
    reached = pairs.join(stage[["reason", "into"]], how="inner")
    reached["component"] = _components(stage)
    fit = list(fault.expected(""))
    bearing = reached[reached["reason"].isin(fit)]
    proven = set(zip(bearing["component"], bearing["picture"], strict=True))
    by_url = reached.groupby("url").groups
    by_picture = reached.groupby("picture").groups
    judged = n_found = 0
    for uid, row in reached[reached["fault"] == name].iterrows():
        alike = by_picture[row["picture"]] if name == "natural_duplicate" else by_url.get(row["twin_url"], pd.Index([]))
        twins = reached.loc[[alike_uid for alike_uid in alike if alike_uid != uid]]
        judged += not twins.empty
        n_found += bool((twins["component"] == row["component"]).any()) and (row["component"], row["picture"]) in proven
    claimed = stage[stage["reason"].isin(list(fault.claimed()))]
    pictures = pairs["picture"]
    same_picture = pictures.reindex(claimed.index).to_numpy() == pictures.reindex(claimed["into"]).to_numpy()
    return _figures(len(injected), judged, n_found, int(same_picture.sum()), len(claimed))


def _components(stage: pd.DataFrame) -> pd.Series:
    """The uid that `into` leads to in the end, per uid."""
    targets = stage["into"].dropna().to_dict()

    def end(uid: str) -> str:
        passed = set()
        while uid in targets and uid not in passed:
            passed.add(uid)
            uid = targets[uid]
        return uid

    return pd.Series({uid: end(uid) for uid in stage.index}, dtype=object)


def _separation(pairs: pd.DataFrame, scores: pa.Table) -> dict[str, Any]:
    scored = pairs.join(scores.select(["uid", "score"]).to_pandas().dropna().set_index("uid"), how="inner")
    wrong = scored["fault"] == "wrong_caption"
    thing = scored["is_object"]
    return {
        "auc": area_under_curve(scored.loc[~wrong, "score"], scored.loc[wrong, "score"]),
        "auc_object": area_under_curve(scored.loc[~wrong & thing, "score"], scored.loc[wrong & thing, "score"]),
        "scored": len(scored),
        "scored_wrong": int(wrong.sum()),
        "scored_object": int(thing.sum()),
        "scored_wrong_object": int((wrong & thing).sum()),
    }


def _compare_odd(pairs: pd.DataFrame, stage: pd.DataFrame) -> dict[str, Any]:
    odd = pairs[(pairs["fault"] == "") & (pairs["detail"] != "")]
    judged = odd.join(stage[["verdict"]], how="inner")
    return _figures(len(odd), len(judged), int((judged["verdict"] == "kept").sum()), 0, 0)


def _figures(injected: int, judged: int, n_found: int, right: int, claimed: int) -> dict[str, Any]:
    return {
        "injected": injected,
        "judged": judged,
        "found": n_found,
        "recall": n_found / judged if judged else None,
        "claimed": claimed,
        "precision": right / claimed if claimed else None,
    }


def _require(table: pa.Table, name: str, columns: Collection[str]) -> None:
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise ComparisonError(f"`{name}` must have the column {missing[0]!r}; got {table.column_names}. Add it.")
