"""What the report shows of an evaluation beside accuracies."""

import re
from datetime import UTC, datetime
from functools import partial
from html.parser import HTMLParser

import pyarrow as pa
import pytest

from evenly.adapters.evaluation.tables import better_and_worse, by_adapter, notes_of, plain_rows, unseen_of
from evenly.audit.report import render_report
from evenly.audit.report.classes import read_details
from evenly.audit.report.plots.classes import MOST_NAMES, frequency_plot
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.storage.workspace import Workspace
from tests.audit.conftest import STARTED, Little, publish

NOW = datetime(2026, 11, 24, tzinfo=UTC)
EVIL = "<script>alert('x')</script>"
NAN = float("nan")
RESULTS = [
    {"name": "gda", "texts": "names", "accuracy": 0.7, "low": 0.6, "high": 0.8, "validation_accuracy": 0.8}
    | {"calibration_error": 0.2, "temperature": 3.0, "calibrated_error": 0.05, "n": 40, "groups": 20},
    {"name": "zero_shot", "texts": EVIL, "accuracy": 0.4, "low": 0.3, "high": 0.5, "validation_accuracy": 0.4}
    | {"calibration_error": 0.5, "temperature": 2.0, "calibrated_error": 0.1, "n": 40, "groups": 20},
]
HEAD_TAIL = [
    {"part": part, "classes": classes, "without_rows": 0, "n": 20, "accuracy": accuracy, "low": NAN, "high": 0.9}
    | {"rule": "lowest_fifth", "name": row["name"], "texts": row["texts"]}
    for row in RESULTS
    for part, classes, accuracy in (("head", 4, 0.6), ("tail", 1, 0.25), ("gap", 5, 0.35))
]
FREQUENCIES = [
    {"class": name, "captions": captions, "tail": name == "otter"}
    for name, captions in {f"cat {EVIL}": 900, "dog": 12, "owl": 0, "elk": 1, "otter": 0}.items()
]
RELIABILITY = [
    {
        "name": "gda",
        "texts": "names",
        "state": state,
        "lower": 0.9,
        "upper": 1.0,
        "n": n,
        "confidence": c,
        "accuracy": a,
    }
    for state in ("as fitted", "at temperature")
    for n, c, a in ((40, 0.95, 0.7), (0, NAN, NAN))
]


DIFFERENCE = {"auroc_difference": 0.02, "auroc_difference_low": -0.01, "auroc_difference_high": 0.05}


def ood_row(
    score: str, kind: str, name: str, auroc: float, *, note: str = "", skipped: str = "", difference: dict = DIFFERENCE
) -> dict:
    ends = {"auroc_low": auroc, "auroc_high": auroc, "fpr95": 0.3, "fpr95_low": 0.1, "fpr95_high": 0.6}
    row = {"score": score, "kind": kind, "set": name, "n_id": 40, "n_ood": 9, "auroc": auroc} | ends | difference
    return row | {"note": note, "skipped": skipped, "name": "gda", "texts": "names"}


OOD = [
    *(ood_row("msp", kind, name, 0.75) for kind, name in (("near", "near"), ("far", EVIL), ("near", "mean"))),
    ood_row("msp", "mean", "mean", 0.75),
    *(ood_row("energy", kind, name, 0.75) for kind, name in (("near", "near"), ("far", EVIL))),
    ood_row("clipn_ctw", "near", "near", 0.6, note="plain-CLIP negations"),
    ood_row("clipn_ctw", "far", EVIL, 0.6, note="plain-CLIP negations"),
    ood_row("near_miss", None, None, NAN, skipped="rejection_prototypes"),
]
SHARES = {"closed": 0.5, "closed_low": 0.4, "closed_high": 0.6, "opened": 0.6, "opened_low": 0.5, "opened_high": 0.7}
OPEN_SET = [
    {"score": score, "set": name, "threshold": 0.5, "h_chosen": 0.6, "n_known": 40, "n_unknown": 18, **SHARES}
    | {"h": 0.545, "h_low": 0.44, "h_high": 0.65, "chosen": score == "msp", "name": "gda", "texts": "names"}
    for score in ("msp", "energy")
    for name in ("near", EVIL, "all")
]
PAIRS = [
    {"a": "gda names", "b": f"zero_shot {EVIL}", "n": 40, "groups": 20, "only_a": 14, "only_b": 2}
    | {"difference": -0.3, "low": -0.4, "high": -0.2, "p_value": 0.001, "p_holm": 0.001}
]
TABLES = {"results": RESULTS, "head_tail": HEAD_TAIL, "frequencies": FREQUENCIES, "reliability": RELIABILITY}
ENSEMBLES = [
    {"part": part, "accuracy": 0.5, "low": 0.4, "high": 0.6, "kind": kind, "set": name, "auroc": 0.81}
    | {"auroc_low": 0.7, "auroc_high": 0.9, "name": "cooked", "texts": EVIL}
    for part in ("zero-shot", "all")
    for kind, name in (("near", "near"), ("far", EVIL), ("mean", "mean"))
]
TABLES |= {"ood": OOD, "pairs": PAIRS, "ensembles": ENSEMBLES, "open_set": OPEN_SET}


class Text(HTMLParser):
    """The text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.feed(page)
        self.all = " ".join(" ".join(self.pieces).split())

    def handle_data(self, data):
        self.pieces.append(data)


def evaluated(workspace, *names: str):
    spec = StepSpec(name="evaluate_adapters", version=1, rule={"list": f"things {EVIL}"}, inputs={})
    tables = {name: pa.Table.from_pylist(TABLES[name]) for name in names}
    return Ledger(workspace).commit(spec, StepOutput(tables=tables, notes={"notes": []}), uids=None, started=NOW)


@pytest.fixture
def commit(workspace):
    return partial(evaluated, workspace)


@pytest.fixture(scope="module")
def page(tmp_path_factory, read_all) -> str:
    workspace = Workspace.at(tmp_path_factory.mktemp("page"))
    manifest = publish(workspace, Little(), STARTED)
    return render_report(workspace, manifest, evaluations=[evaluated(workspace, *TABLES)], read_bytes=read_all)


def test_every_part_stands_on_the_page_and_no_field_of_it_can_act(page):
    text = Text(page).all
    for words in ("Head and tail", "How well confidence holds", "Pictures of none of the classes", "pairs of adapters"):
        assert words in text
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert") >= 6
    assert not re.search(r"\bnan\b", text)


def test_head_and_tail_come_with_the_gap_and_the_rule(page):
    text = Text(page).all
    assert "The tail is the rarest fifth: 1 classes with 20 test pictures; the head, 4 classes with 20." in text
    assert "2 of 5 classes are named by no caption" in text
    assert "gda (names) 60.0 % \u2013 to 90.0 % 25.0 % \u2013 to 90.0 % +35.0" in text


def test_confidence_is_that_of_the_adapter_that_validation_chose(page):
    text = Text(page).all
    assert "gda (names), chosen on validation: the calibration error (15 bins) is 0.200 as fitted and 0.050 at" in text
    assert "at temperature 3" in text


def test_where_validation_chose_nothing_confidence_is_that_of_zero_shot(workspace, monkeypatch, commit):
    rows = [row | {"name": "zero_shot", "texts": "names"} for row in RELIABILITY]
    monkeypatch.setitem(TABLES, "reliability", rows)
    results = [RESULTS[0], RESULTS[1] | {"texts": "names"}]
    confidence = read_details(Ledger(workspace), commit("reliability"), results, None)["confidence"]
    assert (confidence["label"], confidence["is_chosen"]) == ("zero shot (names)", False)


def test_open_set_accuracy_stands_on_the_page_with_its_plot(page):
    text = Text(page).all
    assert "Open-set accuracy of gda (names)" in text
    assert "Known is the share of 40 test pictures told right and not rejected, unknown the share of 18" in text
    assert "msp, chosen 0.500 0.40 to 0.60 0.600 0.50 to 0.70 0.545 0.44 to 0.65" in text
    assert "energy 0.500" in text
    assert 'aria-label="Open-set H, things' in page


def test_scores_of_unseen_pictures_come_with_notes_and_with_what_was_left_out(page):
    text = Text(page).all
    assert "logits of gda (names): 40 test pictures against 9 near, 9 <script>" in text
    assert "zero-shot by the same texts: 40 test pictures against 9 near" in text
    assert "AUROC against msp FPR95" in text
    assert "energy 0.750 0.75 to 0.75 +2.0 \u22121.0 to +5.0" in text
    assert "* clipn ctw: plain-CLIP negations." in text
    assert (
        "Left out: near miss, which needs rejection_prototypes: write `rejections: [NAME, NAME]`, of what is no class,"
        " with the class list in the recipe, and rebuild."
    ) in text


def test_the_square_of_pairs_is_row_minus_column(page):
    text = Text(page).all
    assert "pairs of adapters: 1 of 1 differ" in text
    assert "1 gda (names) \u2013 +30.0" in text
    assert f"2 zero shot ({EVIL}) \u221230.0 \u2013" in text
    assert 'title="+20.0 to +40.0"' in page
    assert 'title="\u221240.0 to \u221220.0"' in page


def test_the_classifiers_of_an_ensemble_stand_beside_the_whole(page):
    text = Text(page).all
    assert f"What cooked {EVIL} is the mean of" in text
    assert (
        f"AUROC, near AUROC, {EVIL} zero-shot 50.0 % 40.0 % to 60.0 % 0.810 0.70 to 0.90 0.810 0.70 to 0.90 all" in text
    )


def test_parts_without_a_table_are_left_out(workspace, commit):
    record = commit("results")
    details = read_details(Ledger(workspace), record, RESULTS, RESULTS[0])
    nothing = dict.fromkeys(("head_tail", "confidence", "unseen", "open_set", "pairs"))
    assert details == nothing | {"ensembles": {}}


def test_of_equals_on_validation_the_first_is_chosen_whatever_it_scores_on_test(
    workspace, build, monkeypatch, commit, read_all
):
    tied = [RESULTS[1] | {"validation_accuracy": 0.8, "texts": "names"}, RESULTS[0]]
    monkeypatch.setitem(TABLES, "results", tied)
    page = render_report(workspace, build(), evaluations=[commit("results")], read_bytes=read_all)
    assert "Validation chose zero shot (names)" in Text(page).all


def test_scores_are_gathered_by_set_with_the_mean_of_means():
    found = unseen_of(plain_rows(pa.Table.from_pylist(OOD)))
    table = found.tables[0]
    assert [one["name"] for one in table.sets] == ["near", EVIL]
    assert table.scores[0]["mean"]["auroc"] == 0.75
    assert table.scores[0]["by_set"]["near"]["fpr95"] == 0.3
    assert notes_of(found) == {"plain-CLIP negations": ["clipn_ctw"]}
    assert [one["score"] for one in found.skipped] == ["near_miss"]


def test_scores_of_different_classifiers_or_on_different_pictures_stand_in_no_table_together():
    names = ("msp", "energy", "zero_shot_msp", "clipn_ctw", "cooked_msp", "near_miss")
    rows = [ood_row(name, "near", "near", 0.6) for name in names]
    rows[-1] |= {"n_ood": 3}
    tables = unseen_of(rows).tables
    assert [[score["score"] for score in table.scores] for table in tables] == [
        *(["msp", "energy"], ["zero_shot_msp", "clipn_ctw"], ["cooked_msp"], ["near_miss"])
    ]
    assert [table.classifier for table in tables[:3]] == [
        *("logits of gda (names)", "zero-shot by the same texts", "COOkeD's ensemble")
    ]
    assert [table.is_compared for table in tables] == [True, True, False, False]
    of_earlier_version = unseen_of([ood_row(name, "near", "near", 0.6, difference={}) for name in ("msp", "energy")])
    assert not of_earlier_version.tables[0].is_compared


def test_without_a_measured_score_nothing_is_gathered():
    assert unseen_of([]) is None
    assert unseen_of([ood_row("msp", None, None, NAN, skipped="logits")]) is None


def test_better_and_worse_name_the_pairs_below_alpha_only():
    close = PAIRS[0] | {"p_holm": 0.2}
    other = PAIRS[0] | {"a": "linear none", "b": "gda names", "difference": 0.2}
    assert better_and_worse([PAIRS[0], close, other]) == [
        ("gda names", f"zero_shot {EVIL}"),
        ("gda names", "linear"),
    ]


def test_parts_are_gathered_by_adapter_in_their_order():
    found = by_adapter(HEAD_TAIL)
    assert [row["name"] for row in found] == ["gda", "zero_shot"]
    assert found[0]["gap"]["accuracy"] == 0.35


@pytest.mark.parametrize("n", [1, 5, MOST_NAMES + 1])
def test_frequencies_are_drawn_for_any_number_of_classes(n):
    rows = [{"class": f"class {place}", "captions": place**2, "tail": place < n // 5} for place in range(n)]
    drawn = str(frequency_plot(rows))
    assert drawn.startswith("<svg")
    assert ("class 0" in drawn) == (n <= MOST_NAMES)
