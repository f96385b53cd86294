"""The leaderboard and the curves as pictures and as a table: what they show, and that no text in them acts."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from evenly.audit.report.plots.curves import corruption_plot, reliability_plot
from evenly.audit.report.plots.figures import COLOURS, SERIES, Line, _spaced_places, limits, standing_alone
from evenly.audit.report.plots.leaderboard import FAMILIES, draw_leaderboard, leaderboard_plot

EVIL = "<script>alert(1)</script> $x^2$ \x1b[31m\u202e 漢字 |"
NAMES = ["zero_shot", *(name for members in FAMILIES.values() for name in members)]


def row(name, shots, accuracy, *, texts="names", **more):
    half = {"low": (accuracy or 0) - 0.02, "high": (accuracy or 0) + 0.02}
    half |= {"difference_low": 0.01, "difference_high": 0.05}
    return {"name": name, "texts": texts, "shots": shots, "accuracy": accuracy, "validation_margin": 0.0} | half | more


@pytest.fixture
def rows():
    return [
        row(name, shots, 0.6 + 0.01 * place + 0.02 * step)
        for place, name in enumerate(NAMES)
        for step, shots in enumerate((1, 2, 4))
    ]


def parsed(svg):
    return ET.fromstring(svg)  # noqa: S314 - our own output


def texts_of(svg):
    return ["".join(one.itertext()) for one in parsed(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_every_adapter_is_named_beside_its_line_and_every_family_has_a_panel(rows):
    shown = texts_of(leaderboard_plot(rows))
    for name in NAMES[1:]:
        assert name.replace("_", " ") in shown
    assert shown.count("zero-shot") == len(FAMILIES)
    assert set(FAMILIES) <= set(shown)
    assert shown.count("16") == 0
    assert shown.count("4") == len(FAMILIES)  # the ticks are the shots


def test_only_the_chosen_texts_and_adapters_without_texts_are_drawn(rows):
    more = [row("gda", 1, 0.99, texts="descriptions"), row("linear", 1, 0.7, texts="none")]
    found = texts_of(leaderboard_plot([*rows[:3], *more]))
    assert "texts: names" in found
    assert "linear" in found
    assert "gda" not in found
    assert "gda" in texts_of(leaderboard_plot([*rows[:3], *more], texts="descriptions"))


def test_an_unknown_adapter_gets_a_panel_of_its_own():
    found = texts_of(leaderboard_plot([row(f"own_{i}", 1, 0.5) for i in range(7)]))
    assert {"further adapters", "further adapters 2", "own 0", "own 6"} <= set(found)


@pytest.mark.parametrize(
    "found",
    [
        [],
        [row("zero_shot", 4, 0.5)],
        [row("zero_shot", 4, 0.5), row("gda", 4, 0.7)],
        [row("gda", shots, 0.5, low=None, high=None) for shots in (1, 2)],
        [row("gda", 1, None), row("gda", 2, float("nan")), row("gda", 4, 0.5)],
    ],
    ids=["nothing", "only zero-shot", "one number of shots", "no intervals", "missing accuracies"],
)  # fmt: skip
def test_little_or_broken_data_is_drawn_as_far_as_it_goes(found):
    parsed(leaderboard_plot(found))


def test_no_text_in_a_plot_acts(rows):
    evil = [{**one, "texts": EVIL, "name": one["name"] + EVIL} for one in rows[:3]]
    corruptions = [{"corruption": EVIL, "family": EVIL, "strength": 1, "accuracy": 0.5, "low": 0.4, "high": 0.6}]
    bins = [{"confidence": 0.5, "accuracy": 0.5, "n": 3}]
    plots = [
        leaderboard_plot(evil, title=EVIL),
        corruption_plot(corruptions, title=EVIL),
        reliability_plot({EVIL: bins}, title=EVIL),
    ]
    for plot in plots:
        root = parsed(plot)
        assert not [one for one in root.iter() if one.tag.endswith("script")]
        assert any("<script>alert(1)</script> $x^2$ \\x1b[31m\\u202e 漢字 |" in text for text in texts_of(plot))
        assert "\x1b" not in plot
        assert "\u202e" not in plot


def test_a_plot_follows_the_page_and_a_file_stands_alone(rows):
    rows = rows[:6]
    plot = leaderboard_plot(rows)
    assert "var(--ink)" in plot
    alone = draw_leaderboard(pd.DataFrame(rows), title="digits")
    assert "var(" not in alone
    assert "digits, texts: names" in texts_of(alone)
    for svg in (plot, alone):
        assert not re.search("|".join(COLOURS.values()), svg)
        assert not re.search(r"href=\"(?!#)", svg)
        assert draw_leaderboard(pd.DataFrame(rows), title="digits") == alone  # the same picture each time
    assert standing_alone(plot).count("<rect width") == 1


def test_plots_of_one_page_share_no_id(rows):
    plots = [leaderboard_plot(rows[:6], texts=texts) for texts in ("names", "none")]
    plots.append(corruption_plot([{"corruption": "fog", "strength": 1, "accuracy": 0.5, "low": 0.4, "high": 0.6}]))
    plots.append(reliability_plot({"a": [{"confidence": 0.5, "accuracy": 0.5, "n": 3}]}))
    ids = [name for plot in plots for name in set(re.findall(r' id="([^"]+)"', plot))]
    assert len(ids) == len(set(ids))


def luminance(colour):
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("colour", [one for one in SERIES if one not in COLOURS.values()])
@pytest.mark.parametrize("ground", ["#ffffff", "#faf9f6", "#171614"])
def test_line_colours_stand_out_on_light_and_dark_pages(colour, ground):
    light, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


def test_labels_keep_their_order_and_do_not_overlap():
    ends = np.array([0.5, 0.5, 0.49, 0.95, 0.98, 0.1])
    places = _spaced_places(ends)
    assert np.array_equal(np.argsort(places, kind="stable"), np.argsort(ends, kind="stable"))
    assert (np.diff(np.sort(places)) > 0.067).all()
    assert places.max() <= 1.001
    np.testing.assert_allclose(_spaced_places(np.array([0.2, 0.8])), [0.2, 0.8])
    assert _spaced_places(np.empty(0)).shape == (0,)


def test_limits_hold_points_and_intervals():
    line = Line(np.arange(2), np.array([0.5, 0.6]), np.array([0.4, np.nan]), np.array([0.6, np.nan]))
    low, high = limits([line])
    assert low < 0.4
    assert high > 0.6
    assert limits([]) == pytest.approx((-0.06, 1.06))


def test_corruptions_are_drawn_by_family_with_the_clean_accuracy():
    rows = [
        {"family": family, "corruption": name, "strength": s, "accuracy": 0.8 - 0.1 * s, "low": None, "high": None}
        for family, name in (("blur", "motion_blur"), ("noise", "shot_noise"), ("noise", "grain"))
        for s in range(1, 6)
    ]
    shown = texts_of(corruption_plot(rows, clean=0.9, title="gda"))
    assert {"blur", "noise", "motion blur", "shot noise", "grain", "gda"} <= set(shown)
    assert shown.count("clean") == 2
    parsed(corruption_plot([], clean=0.9))


def test_a_reliability_diagram_leaves_out_empty_bins():
    bins = [
        {"confidence": float("nan"), "accuracy": float("nan"), "n": 0},
        {"confidence": 0.7, "accuracy": 0.6, "n": 9},
    ]
    shown = texts_of(reliability_plot({"as fitted": bins, "at temperature 2": bins}, title="gda"))
    assert {"as fitted", "at temperature 2", "confidence", "rows", "gda"} <= set(shown)
    parsed(reliability_plot({}))
