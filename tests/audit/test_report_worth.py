"""What the report shows of `evenly worth`: a table per judged set, a plot, and nothing in them that acts."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from evenly.audit.report import render_report
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from tests.audit.test_report_details import Text

EVIL = "<script>alert('x')</script>\u202e"


def row(pairs, measure, of, value, ends=(-0.02, 0.01)):
    low, high = ends
    about = {"pairs": pairs, "available": 9 if pairs != "frozen encoder" else 0, "trained": 8}
    values = {"measure": measure, "of": of, "n": 40, "value": value, "difference": value - 0.5}
    return about | values | {"difference_low": low, "difference_high": high}


ROWS = [
    row("the whole pipeline", "text to picture R@10", "all pairs", 0.5),
    row("the whole pipeline", "right caption before wrong", EVIL, 0.5),
    row("the whole pipeline", "zero-shot", EVIL, 0.5),
    row(f"without {EVIL}", "text to picture R@10", "all pairs", 0.4, (-0.2, -0.05)),
    row(f"without {EVIL}", "right caption before wrong", EVIL, 0.45),
    row(f"without {EVIL}", "zero-shot", EVIL, 0.5, (None, None)),
    row("frozen encoder", "text to picture R@10", "all pairs", 0.1, (-0.5, -0.3)),
]


@pytest.fixture
def record(workspace):
    spec = StepSpec(name="measure_worth", version=1, rule={"build": "b", "seeds": 5}, inputs={})
    output = StepOutput(
        tables={"worth": pa.Table.from_pylist(ROWS)}, notes={"trained": 8, "skipped": {EVIL: f"it cannot {EVIL}"}}
    )
    return Ledger(workspace).commit(spec, output, uids=None, started=datetime(2026, 11, 28, tzinfo=UTC))


def test_what_each_step_is_worth_stands_on_the_page_and_no_name_of_it_can_act(workspace, build, record, read_all):
    page = render_report(workspace, build(), worth=[record], read_bytes=read_all)
    text = Text(page).all
    assert "trained on 8 pairs of each, 5 times" in text
    assert "the whole pipeline 9 0.500" in text
    assert "9 0.400 -0.200 to -0.050 frozen encoder 0.100 -0.500 to -0.300" in text
    assert "9 0.450 -0.020 to +0.010" in text
    assert "<b>-0.200 to -0.050</b>" in page
    assert "<b>-0.020" not in page
    assert "not made. it cannot" in text
    assert "<script" not in page
    assert "\u202e" not in page
    assert '<a href="#worth">' in page
    assert page == render_report(workspace, build(), worth=[record], read_bytes=read_all)


@pytest.mark.slow
def test_without_it_there_is_no_section(workspace, build, read_all):
    assert 'id="worth"' not in render_report(workspace, build(), read_bytes=read_all)
