import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.demo.errors import ComparisonError
from evenly.demo.faults import DUPLICATES, FAULTS
from evenly.demo.truth import area_under_curve, compare_with_truth

ORDER = ("check_texts", "download", "check_images", "deduplicate_exact", "deduplicate_perceptual", "align")
STEP_OF = {"text": "check_texts", "download": "download", "image": "check_images", "align": "align"}


def uid_of(row):
    return hashlib.sha256(f"{row['url']} {row['alt']}".encode()).hexdigest()[:32]


def perfect_reason(row, step):
    """What a faultless pipeline says of a row; duplicates are decided apart."""
    fault = FAULTS.get(row["fault"])
    if fault is None or row["fault"] in DUPLICATES or STEP_OF[fault.stage] != step:
        return ""
    return fault.expected(row["detail"])[0]


def perfect_merges(rows):
    """uid -> (step, reason, into): every further row of a picture into its first sound one."""
    first, merges = {}, {}
    order = {
        "": 0,
        "natural_duplicate": 1,
        "exact_duplicate": 2,
        "same_url": 3,
        "wrong_caption": 4,
        "near_duplicate": 5,
    }
    for row in sorted(
        (row for row in rows if row["fault"] in order), key=lambda row: (order[row["fault"]], row["url"])
    ):
        into = first.setdefault(row["picture"], uid_of(row))
        if into != uid_of(row):
            exact = row["fault"] in {"exact_duplicate", "same_url"}
            reason = "exact_duplicate" if exact else "near_duplicate"
            merges[uid_of(row)] = ("deduplicate_exact" if exact else "deduplicate_perceptual", reason, into)
    return merges


def run(rows, change=lambda row, step, decision: decision):  # noqa: ARG005 - the plain case changes nothing
    """The verdicts of a pipeline that is right about all rows but those that `change` alters."""
    merges, verdicts = perfect_merges(rows), []
    for row in rows:
        for step in ORDER:
            merged = merges.get(uid_of(row), ("", "", None))
            decision = merged[1:] if merged[0] == step else (perfect_reason(row, step), None)
            reason, into = change(row, step, decision)
            verdict = "merged" if into else "dropped" if reason else "kept"
            verdicts.append((uid_of(row), row["url"], row["alt"], step, verdict, reason, into))
            if reason:
                break
    columns = ("uid", "url", "caption", "step", "verdict", "reason", "into")
    arrays = [pa.array(values, pa.string()) for values in zip(*verdicts, strict=True)]
    return pa.table(arrays, names=columns)


def scores_of(rows):
    values = [0.1 if row["fault"] == "wrong_caption" else 0.9 for row in rows]
    return pa.table({"uid": [uid_of(row) for row in rows], "score": values})


@pytest.fixture(scope="module")
def table(web_folder):
    return pq.read_table(web_folder / "truth.parquet")


def compared(rows, table, **how):
    return {result["fault"]: result for result in compare_with_truth(run(rows, **how), scores_of(rows), table)}


def test_a_faultless_pipeline_finds_everything(truth, table):
    results = compared(truth, table)
    assert set(results) == {*FAULTS, "odd_but_fine"}
    for name, result in results.items():
        assert result["injected"] >= 1, name
        assert result["judged"] >= 1, name
        assert result["recall"] == 1.0, name
        assert result["precision"] in {1.0, None}, name
    assert results["wrong_caption"]["auc"] == 1.0


def test_all_injected_faults_are_counted_even_if_nothing_was_judged(truth, table):
    verdicts = run(truth).slice(0, 0)
    results = {result["fault"]: result for result in compare_with_truth(verdicts, scores_of([]), table)}
    for name in FAULTS:
        assert results[name]["injected"] == sum(row["fault"] == name for row in truth)
        assert (results[name]["judged"], results[name]["recall"], results[name]["precision"]) == (0, None, None)
    assert results["wrong_caption"]["auc"] is None


def test_a_wrong_reason_is_not_found(truth, table):
    def change(row, step, decision):
        return ("timeout", None) if row["detail"] == "http_410" and step == "download" else decision

    result = compared(truth, table, change=change)["dead_link"]
    assert result["found"] == result["judged"] - 1
    assert result["precision"] == 1.0


def test_a_good_pair_dropped_costs_precision(truth, table):
    good = next(row for row in truth if row["fault"] == "" and row["detail"] == "")

    def change(row, step, decision):
        return ("http_404", None) if row is good and step == "download" else decision

    result = compared(truth, table, change=change)["dead_link"]
    assert result["recall"] == 1.0
    assert result["precision"] == (result["claimed"] - 1) / result["claimed"]


def test_a_near_duplicate_left_alone_is_missed(truth, table):
    near = next(row for row in truth if row["fault"] == "near_duplicate")

    def change(row, step, decision):
        return ("", None) if row is near and step.startswith("deduplicate") else decision

    result = compared(truth, table, change=change)["near_duplicate"]
    assert result["found"] == result["judged"] - 1
    assert result["precision"] == 1.0


def test_a_merge_of_other_pictures_costs_precision_and_finds_nothing(truth, table):
    near = next(row for row in truth if row["fault"] == "near_duplicate")
    other = next(row for row in truth if row["fault"] == "" and row["picture"] != near["picture"])

    def change(row, step, decision):
        return (decision[0], uid_of(other)) if row is near and step == "deduplicate_perceptual" else decision

    result = compared(truth, table, change=change)["near_duplicate"]
    assert result["found"] == result["judged"] - 1
    assert result["precision"] < 1.0


def test_it_does_not_matter_which_of_two_duplicates_was_kept(truth, table):
    exact = next(row for row in truth if row["fault"] == "exact_duplicate")

    def change(row, step, decision):
        if row is exact and step.startswith("deduplicate"):
            return ("", None)
        if row["url"] == exact["twin_url"] and step == "deduplicate_exact":
            return ("exact_duplicate", uid_of(exact))
        return decision

    result = compared(truth, table, change=change)["exact_duplicate"]
    assert (result["recall"], result["precision"]) == (1.0, 1.0)


def test_a_duplicate_whose_twin_never_came_is_not_judged(truth, table):
    exact = next(row for row in truth if row["fault"] == "exact_duplicate")

    def change(row, step, decision):
        return ("http_500", None) if row["url"] == exact["twin_url"] and step == "download" else decision

    result = compared(truth, table, change=change)["exact_duplicate"]
    assert result["judged"] < result["injected"]
    assert result["recall"] == 1.0


def test_an_odd_server_that_was_given_up_is_missed(truth, table):
    def change(row, step, decision):
        return ("http_429", None) if row["detail"] == "busy_once" and step == "download" else decision

    result = compared(truth, table, change=change)["odd_but_fine"]
    assert result["found"] == result["judged"] - 1


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [([3, 4], [1, 2], 1.0), ([1, 2], [3, 4], 0.0), ([1, 1], [1, 1], 0.5), ([2, 4], [1, 3], 0.75), ([], [1], None)],
)
def test_area_under_curve(right, wrong, expected):
    import pandas as pd

    assert area_under_curve(pd.Series(right, dtype=float), pd.Series(wrong, dtype=float)) == expected


def test_a_missing_column_is_named(truth, table):
    with pytest.raises(ComparisonError, match="`verdicts` must have the column 'into'"):
        compare_with_truth(run(truth).drop_columns(["into"]), scores_of(truth), table)
