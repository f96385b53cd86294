"""The page of a what-if: hostile captions are shown, nothing is loaded, and the curve stands in it."""

import pytest

from evenly.audit.published import PublishedBuild
from evenly.audit.report.what_if import curve_plot, what_if_page
from evenly.audit.what_if import SupposedStep, suppose
from evenly.curation.steps import STEPS


@pytest.fixture
def supposed(published):
    """The build of tests with another share of scores."""
    build = PublishedBuild(*published)
    steps = [
        SupposedStep(name=record.name, rule={"keep_top": 0.3} if record.name == "align" else record.rule, seed=0)
        for record in build.records
        if record.name in STEPS
    ]
    return suppose(build, steps)


def gone(image_ids):
    raise FileNotFoundError(image_ids)


def test_the_page_shows_who_leaves_and_nothing_of_it_acts(supposed):
    caption = "a <script>alert(1)</script> \x1b[31m\u202efox"
    shown = supposed.published.samples

    def hostile(columns=None, where=None):
        table = shown(columns, where)
        place = table.column_names.index("caption")
        return table.set_column(place, "caption", [[caption] * len(table)])

    supposed.published.samples = hostile
    page = what_if_page(supposed, gone, field="", curve=[])
    assert supposed.moves("leave")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\x1b[31m\\u202efox" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "low score" in page


def test_the_curve_shows_what_is_kept_and_how_far_that_is_open(supposed):
    rows = [
        {"value": 0.5, "kept": 5, "least": 4, "most": 9, "unknown": 3, "tail_share": 0.2},
        {"value": 1.0, "kept": 8, "least": None, "most": None, "unknown": 3, "tail_share": 0.1},
    ]
    plot = curve_plot("align.keep_top", rows)
    assert "Pairs kept and share of the tail by align.keep_top" in plot
    assert plot in what_if_page(supposed, gone, field="align.keep_top", curve=rows)
    assert "share of the tail" not in curve_plot("t", [{**row, "tail_share": None} for row in rows])
