"""The first screen of a report: what moved, what to look at, figures that say something; and what is folded below."""

import re
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from evenly.audit.diff import diff_builds
from evenly.audit.funnel import largest_losses, read_funnel
from evenly.audit.published import PublishedBuild
from evenly.audit.report import render_report, standing_of
from evenly.audit.report.page import FAILING, GROWTH, LEAST_GROWTH, SHOWN, _grown, page_environment, read_overview
from evenly.storage.builds import Builds
from evenly.storage.journals import RunRecord, write_run
from evenly.storage.records import create_record
from tests.audit.conftest import STARTED
from tests.audit.test_report import EVIL, Page, evaluation  # noqa: F401 - a fixture
from tests.audit.test_report import SHOWN as ESCAPED

NEXT_WEEK = STARTED + timedelta(days=7)


@pytest.fixture
def two(build):
    """Two builds of a recipe, a week apart."""
    return SimpleNamespace(first=build(), second=build(min_words=4, started=NEXT_WEEK))


def first_screen(workspace, manifest) -> str:
    """The first screen of a build's report, without the figures of sections below."""
    build = PublishedBuild(workspace, manifest)
    return shown(overview=read_overview(build), losses=largest_losses(read_funnel(build)), manifest=manifest)


NOTHING = {"rows_in": 9, "kept": 4, "share": 4 / 9, "pictures": 4, "rewritten": 0}
"""Figures of which none but the pairs kept says something."""


def shown(**values) -> str:
    values = {"figures": NOTHING, "balance": None, "adapters": [], "losses": [], **values}
    return page_environment().get_template("overview.html.j2").render(**values)


def text_of(workspace, manifest) -> str:
    return Page(first_screen(workspace, manifest)).text


def test_a_first_build_says_that_it_is_one_and_what_most_rows_went_by(published):
    text = text_of(*published)
    assert "The first build of its recipe here." in text
    assert "Most of the others went by" in text
    assert "evenly diff" not in text


def test_the_first_screen_says_what_moved_since_the_previous_build(two, workspace):
    difference, text = diff_builds(workspace, two.first, two.second), text_of(workspace, two.second)
    entered, left, changed = (
        sum(change.count for change in getattr(difference, kind)) for kind in ("entered", "left", "changed")
    )
    assert left
    assert f"Since {two.first['build']} of 2026-11-24 03:00 UTC" in text
    assert f"{difference.kept_before} pairs kept then, {difference.kept_after} now." in text
    assert f"{entered} entered, {left} left, {changed} changed, {difference.unchanged} are unchanged." in text
    largest = max(difference.left, key=lambda change: change.count)
    assert f"{largest.count} left : {largest.reason.replace('_', ' ')} at {largest.step.replace('_', ' ')}" in text
    assert largest.detail in text
    assert f"evenly diff {two.first['build']} {two.second['build']}" in text


def test_of_many_changes_the_largest_are_shown(two, workspace):
    counts = re.findall(r"(\d+) (?:entered|left|changed)(?: , out before :| :)", text_of(workspace, two.second))
    assert 0 < len(counts) <= SHOWN
    assert [int(count) for count in counts] == sorted(map(int, counts), reverse=True)


def test_a_build_is_compared_with_the_newest_before_it_of_its_recipe_and_limit(build, workspace):
    first, limited = build(), build(limit=20, started=STARTED + timedelta(days=1))
    other = build(name="other", started=STARTED + timedelta(days=2))
    second, third = build(seed=8, started=NEXT_WEEK), build(seed=9, started=NEXT_WEEK + timedelta(days=7))
    previous = [standing_of(workspace, manifest)["previous"] for manifest in (first, limited, other, second, third)]
    assert previous == [None, None, None, first["build"], second["build"]]


def test_a_build_is_compared_with_the_one_that_was_latest_when_it_was_made(build, workspace):
    first, held, third = (build(seed=seed, started=STARTED + timedelta(days=seed)) for seed in (7, 8, 9))
    run = {"recipe": "little", "outcome": "published", "build": third["build"], "run": "a-b"}
    for previous in ("gone-1", first["build"]):
        write_run(workspace, RunRecord(**run, started=third["created"], ended=third["created"], previous=previous))
        expected = held["build"] if previous == "gone-1" else previous
        assert standing_of(workspace, third)["previous"] == expected
    assert standing_of(workspace, held)["previous"] == first["build"]
    Builds(workspace).promote(third["build"], recipe="little")
    assert "A newer build is latest" in text_of(workspace, held)
    run |= {"build": held["build"], "outcome": "held", "run": "a-c"}
    write_run(workspace, RunRecord(**run, started=held["created"], ended=held["created"]))
    assert "It was held back , and a newer build is latest" in text_of(workspace, held)


def test_a_build_that_latest_is_behind_is_not_promoted_and_one_that_it_has_left_names_the_newer(two, workspace):
    builds = Builds(workspace)
    builds.promote(two.first["build"], recipe="little")
    assert "Not promoted" not in text_of(workspace, two.first)
    text = text_of(workspace, two.second)
    assert f"Not promoted : latest is {two.first['build']} , which is older." in text
    assert f"evenly promote {two.second['build']}" in text
    builds.promote(two.second["build"], recipe="little")
    assert "Not promoted" not in text_of(workspace, two.second)
    text = text_of(workspace, two.first)
    assert f"A newer build is latest . evenly report {two.second['build']}" in text


def test_what_was_asked_again_and_runs_that_failed_since_are_said(two, workspace):
    run = {"recipe": "little", "previous": two.first["build"], "outcome": "failed"}
    made = {"outcome": "published", "build": two.second["build"], "asked_again": {"dns": 3, EVIL: 1}}
    for day, more in enumerate(({"error": "early"}, made, {"error": "first"}, {"error": EVIL})):
        moment = (NEXT_WEEK + timedelta(days=day - 1)).isoformat()
        write_run(workspace, RunRecord(**run | {"run": f"a-{day}", "started": moment, "ended": moment} | more))
    page = first_screen(workspace, two.second)
    text = Page(page).text
    assert "4 URLs that had failed were asked again: <script>" in text
    assert " 1, dns 3" in text
    assert "2 later runs failed , the last on 2026-12-03 03:00 UTC: <script>" in text
    assert page.count(ESCAPED) == 2
    assert "Overdue" not in page
    ended = NEXT_WEEK.isoformat()
    create_record(workspace.runs / "little" / "stale" / f"{two.second['build']}.json", {"since": ended})
    assert "no rebuild has ended with it since 2026-12-01 03:00 UTC" in first_screen(workspace, two.second)
    assert "asked again" not in first_screen(workspace, two.first)


def test_held_promotions_are_said_with_their_reason(two, workspace):
    assert "Promotions" not in first_screen(workspace, two.second)
    Builds(workspace).hold("little", EVIL)
    page = first_screen(workspace, two.second)
    assert "Promotions of this recipe are held" in page
    assert ESCAPED in page


def test_a_step_that_fails_much_more_than_before_is_to_be_looked_at(build, workspace, little):
    build()
    dead = tuple(replace(row, picture="http_404") if "waving flag" in row.caption else row for row in little.pool)
    page = first_screen(workspace, build(pool=dead, started=NEXT_WEEK))
    text = Page(page).text
    assert re.search(r"download fails more : [\d.]+ % of its rows, [\d.]+ % before; http 404 grew", text)
    assert 'href="#step-download"' in page


def test_a_first_build_of_which_much_fails_says_so(build, workspace, little):
    dead = tuple(replace(row, picture="http_404") if "waving flag" in row.caption else row for row in little.pool)
    text = text_of(workspace, build(pool=dead))
    share = float(re.search(r"download fails on ([\d.]+) % of its rows", text)[1]) / 100
    assert share >= FAILING


@pytest.mark.parametrize(
    ("earlier", "share", "is_grown"),
    [
        (0.0, LEAST_GROWTH, True),
        (0.0, 0.009, False),
        (0.02, 0.029, False),
        (0.02, 0.031, True),
        (0.4, 0.5, False),
        (0.4, 0.4 * GROWTH, True),
        (0.5, 0.1, False),
    ],
)
def test_a_loss_has_grown_by_points_and_by_times(earlier, share, is_grown):
    grown = _grown({"align": {"": 0.0, "low": earlier}}, {"align": {"": 0.0, "low": share}, "new": {"": 1.0}})
    assert grown == ([{"name": "align", "failed": None, "reasons": {"low": (share, earlier)}}] if is_grown else [])


def test_the_steps_that_grew_most_come_first_and_no_more_than_are_shown():
    before = {f"step{number}": {"": 0.0} for number in range(9)}
    grown = _grown(before, {name: {"": (number + 1) / 10} for number, name in enumerate(before)})
    assert [step["name"] for step in grown] == [f"step{number}" for number in range(8, 8 - SHOWN, -1)]


def test_a_previous_build_that_cannot_be_read_leaves_the_rest_of_the_report(two, workspace):
    key = next(step["key"] for step in two.first["steps"] if step["name"] == "check_texts")
    (workspace.steps / f"{key}.json").unlink()
    text = text_of(workspace, two.second)
    assert f"It cannot be compared with {two.first['build']} : step `check_texts` of build" in text


def test_headline_figures_are_those_that_say_something():
    balance = {"head": 0, "preselected": False, "tail_after": 0.0, "tail_before": 0.0}
    standing = dict.fromkeys(
        ("was_held", "previous", "hold", "latest", "latest_is", "failed", "asked_again", "overdue")
    )
    overview = {"moves": None, "grown": [], "failing": [], "standing": standing}

    def headlines(figures, balance, adapters):
        page = shown(figures=figures, balance=balance, adapters=adapters, overview=overview, manifest={"build": "a-1"})
        return re.findall("<dt>(.*?)</dt>", page)

    assert headlines(NOTHING, balance, []) == ["pairs kept"]
    assert headlines(NOTHING | {"pictures": None, "rewritten": None}, None, [{"best": None}]) == ["pairs kept"]
    best = {"best": {"accuracy": 0.5}, "best_label": "linear", "list": "birds"}
    telling = ["pairs kept", "different pictures", "captions rewritten", "share of the tail", "accuracy on test"]
    assert (
        headlines(NOTHING | {"pictures": 3, "rewritten": 1}, balance | {"head": 2, "tail_after": 0.2}, [best])
        == telling
    )
    assert headlines(NOTHING, balance | {"head": 2}, []) == ["pairs kept"]


def test_no_name_or_reason_on_the_first_screen_can_act(two, workspace, read_all):
    builds = Builds(workspace)
    steps = [dict(step) for step in two.second["steps"]]
    steps[1]["reasons"] = {EVIL: 30}
    builds.publish(two.second | {"build": "evil-1", "steps": steps})
    page = render_report(workspace, builds.read("evil-1"), read_bytes=read_all)
    assert 'id="step-download"' in page
    assert "</b> grew: " in page
    assert ESCAPED in page
    assert "<script" not in page
    assert not {"\x1b", "\u202e"} & set(page)


def test_sections_are_folded_and_adapters_are_a_line_per_class_list(workspace, build, evaluation, read_all):  # noqa: F811
    page = render_report(workspace, build(), evaluations=[evaluation], read_bytes=read_all)
    assert "<details open" not in page
    depth, folded = 0, dict[str, bool]()
    for tag, name in re.findall(r'<(/?details|[a-z]+[^>]* id="([a-z]+)")', page):
        depth += {"details": 1, "/details": -1}.get(tag, 0)
        if name:
            folded[name] = depth > 0
    sections = {"funnel": False, "gallery": False, "adapters": False, "gone": True, "captions": True, "balance": True}
    sections |= {"scores": True, "colophon": True}
    assert {name: folded[name] for name in sections} == sections
    assert depth == 0
    lines = [Page(line).text for line in re.findall("<summary>.*?</summary>", page) if "compared" in line]
    name = "<script>alert('x')</script> <img src=x onerror=y> \\x1b[31m\\u202e"
    assert lines == [f"{name} : linear 70.0 % (60.0 % to 80.0 %), zero-shot 40.0 %; 3 compared"]
