"""What the report shows of probes: diversity given the captions, and robustness per training source."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from evenly.audit.report import render_report
from evenly.audit.report.probes import read_probes
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from tests.audit.test_report_details import Text

NOW = datetime(2026, 11, 24, tzinfo=UTC)
EVIL = "<script>alert('x')</script>"
DIVERSITY = {"pairs": 2500, "n": 2000, "sigma": 1.3, "frequencies": 100, "given_texts": 3.327, "by_texts": 2.056}
DIVERSITY |= {"unexplained": 0.263, "dealt_given_texts": 4.414, "dealt_by_texts": 1.34, "dealt_unexplained": 0.344}


def measured(clean, corrupted):
    values = {"clean": clean, "corrupted": corrupted, "relative_drop": 0.1}
    return values | {f"{name}{end}": value for name, value in values.items() for end in ("_low", "_high")}


SOURCES = [
    {"source": source, "share": share, "rows": 40, "expected": 0.4, "residual": 0.1, "state": ""}
    | {"effective_robustness": 0.05}
    | measured(0.6, 0.45)
    for source in (EVIL, "all sources")
    for share in (0.5, 1.0)
]
LINES = [
    {"source": source, "models": 2, "slope": 0.87, "intercept": 0.0, "r_squared": 1.0, "effective_robustness": beyond}
    for source, beyond in ((EVIL, 0.05), ("all sources", float("nan")))
]


TOPS = ("r_at_1", "r_at_5", "r_at_10", "auc")
RETRIEVAL = {"direction": "text to picture", "queries": 812, "gallery": 1812, "median_rank": 31.0}
RETRIEVAL |= {f"{name}{end}": 0.25 for name in TOPS for end in ("", "_low", "_high")}
CHANCE = RETRIEVAL | {"direction": EVIL} | dict.fromkeys(("r_at_1_low", "r_at_1_high", "median_rank"))
ABOUT = {"pairs": 2000, "of": 2500, "matched_cosine": 0.301, "modality_gap": 0.812}


@pytest.fixture
def commit(workspace):
    def make(name, notes=None, **tables):
        spec = StepSpec(
            name=name, version=1, rule={"build": "b", "list": "things"}, inputs={"tables": str(sorted(tables))}
        )
        output = StepOutput(tables={key: pa.Table.from_pylist(rows) for key, rows in tables.items()}, notes=notes or {})
        return Ledger(workspace).commit(spec, output, uids=None, started=NOW)

    return make


def test_diversity_and_sources_stand_on_the_page_and_no_field_of_them_can_act(workspace, build, commit, read_all):
    records = [commit("measure_diversity", diversity=[DIVERSITY])]
    records.append(commit("corrupt_pictures", sources=SOURCES, source_lines=LINES))
    page = render_report(workspace, build(), probes=records, read_bytes=read_all)
    text = Text(page).all
    assert (
        "Schur complement entropy of 2,000 of 2,500 kept pairs (Gaussian kernel of width 1.3, 100 frequencies)" in text
    )
    assert "diversity given the captions 3.327 4.414 diversity that captions explain 2.056 1.340" in text
    assert "through all 4 models" in text
    assert f"{EVIL} 40 60.0 % 60.0 % to 60.0 % 45.0 % 45.0 % to 45.0 % 0.87 +5.0 all sources" in text
    assert "<script" not in page
    assert '<a href="#probes">' in page


def test_retrieval_stands_on_the_page_with_its_chance_and_no_field_of_it_can_act(workspace, build, commit, read_all):
    records = [commit("measure_retrieval", ABOUT, retrieval=[RETRIEVAL, CHANCE])]
    page = render_report(workspace, build(), probes=records, read_bytes=read_all)
    text = Text(page).all
    assert "2,000 of 2,500 kept pairs" in text
    assert "text to picture 812 1,812 25.0 % 25.0 % to 25.0 %" in text
    assert f"{EVIL} 812 1,812 25.0 % 25.0 % 25.0 % to 25.0 %" in text
    assert "<script" not in page


@pytest.mark.slow
def test_without_probes_there_is_no_section(workspace, build, commit, read_all):
    assert read_probes(Ledger(workspace), [commit("corrupt_pictures", models=[{"name": "gda"}])]) is None
    assert 'id="probes"' not in render_report(workspace, build(), read_bytes=read_all)
