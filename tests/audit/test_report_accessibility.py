"""The report in a browser, by axe-core and by hand: on the light and the dark page, on a phone, and printed."""

import base64
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from evenly.audit.report import render_report
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from tests.browser import AXE, CHROMIUM, browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: tests/install_services.sh installs it by npm"),
]
PHONE = 390
OPEN = "document.querySelectorAll('details').forEach(one => { one.open = true })"
HEIGHT = "document.documentElement.scrollHeight"
HIDDEN = """[...document.querySelectorAll('details > :not(summary), details > :not(summary) *')]
    .filter(one => !one.closest('svg') && !one.checkVisibility({contentVisibilityAuto: true})).length"""
NOW = datetime(2026, 11, 24, tzinfo=UTC)
TRUTH = [{"fault": "dead_link", "injected": 4, "judged": 4, "found": 3, "recall": 0.75, "precision": 1.0, "auc": 0.6}]
EVALUATED = [
    {"name": name, "texts": "names", "accuracy": accuracy, "low": 0.3, "high": 0.8, "validation_accuracy": accuracy}
    | {
        "difference": 0.1,
        "difference_low": -0.1,
        "difference_high": 0.2,
        "verdict": "spans zero",
        "n": 9,
        "chosen": "x",
    }
    for name, accuracy in (("zero_shot", 0.4), ("linear", 0.7))
]
DESCRIBED = [
    {"class": name, "method": "differential", "text": f"{name}, with a long {'word' * 30}", "other": "kite"}
    | {"verdict": verdict, "reason": reason, "request_id": "ab"}
    for name in ("tiger", "violin")
    for verdict, reason in (("accepted", ""), ("rejected", "unfinished"))
]


@pytest.fixture
def page(build, workspace, read_all, tmp_path):
    """The report of a small build with each of its sections but probes."""

    def commit(name, table, rows):
        spec = StepSpec(name=name, version=1, rule={"list": "things", "model": "m"}, inputs={})
        return Ledger(workspace).commit(
            spec, StepOutput(tables={table: pa.Table.from_pylist(rows)}), uids=None, started=NOW
        )

    path = tmp_path / "report.html"
    report = render_report(
        workspace,
        build(),
        evaluations=[commit("evaluate_adapters", "results", EVALUATED)],
        descriptions=[commit("describe", "descriptions", DESCRIBED)],
        truth=TRUTH,
        read_bytes=read_all,
    )
    path.write_text(report, encoding="utf-8")
    return path


@pytest.fixture
def chromium(tmp_path):
    with browser(tmp_path / "profile") as tab:
        yield tab


def test_axe_has_nothing_to_say_against_the_report(chromium, page):
    for width, dark in ((1280, False), (1280, True), (PHONE, False), (PHONE, True)):
        chromium.show(page, width=width, dark=dark)
        assert chromium.findings() == [], (width, dark, "folded")
        chromium.evaluate(OPEN)
        assert chromium.findings() == [], (width, dark)


def test_axe_is_heard(chromium, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><title>x</title><p style='color:#aaa;background:#fff'>pale</p><img src='data:,'>")
    chromium.show(bad)
    assert {"color-contrast", "image-alt"} <= {one["id"] for one in chromium.findings()}


def test_on_a_phone_the_page_does_not_scroll_sideways_and_shows_the_reasons_of_the_funnel(chromium, page):
    chromium.show(page, width=PHONE)
    assert chromium.evaluate("document.documentElement.scrollWidth") <= PHONE
    reasons = "[...document.querySelectorAll('.funnel .reasons span')].map(one => one.getBoundingClientRect())"
    edges = chromium.evaluate(f"{reasons}.map(one => [one.left, one.right, one.height])")
    assert len(edges) > 3
    assert all(left >= 0 and right <= PHONE and height > 0 for left, right, height in edges)
    chromium.show(page)
    assert chromium.evaluate("getComputedStyle(document.querySelector('.funnel tr')).display") == "table-row"


def test_what_scrolls_can_be_reached_by_the_keyboard(chromium, page):
    chromium.show(page, width=PHONE)
    chromium.evaluate(OPEN)
    unreachable = """[...document.querySelectorAll('body *')].filter(one =>
        ['auto', 'scroll'].includes(getComputedStyle(one).overflowX) && one.scrollWidth > one.clientWidth
        && one.tabIndex < 0 && !one.querySelector('a')).map(one => one.outerHTML.slice(0, 80))"""
    assert chromium.evaluate(unreachable) == []
    assert chromium.evaluate("document.querySelectorAll('.scroll').length") > 8


def test_pictures_are_there_when_the_page_is_printed_without_scrolling(chromium, page):
    chromium.show(page, media="print")
    loaded = "[...document.images].map(one => one.complete && one.naturalWidth > 0)"
    pictures = chromium.evaluate(loaded)
    assert len(pictures) > 5
    assert all(pictures)


@pytest.mark.parametrize("is_open", [False, True], ids=["folded", "opened"])
def test_on_a_phone_nothing_is_cut(chromium, page, is_open):
    """Text lies within the window, or in a box of its own that scrolls; no box hides a part of what it holds."""
    chromium.show(page, width=PHONE)
    if is_open:
        chromium.evaluate(OPEN)
    outside = f"""[...document.querySelectorAll('body *')].filter(one => one.checkVisibility()
        && !one.closest('svg') && !(one.closest('.scroll, pre') && one !== one.closest('.scroll, pre'))
        && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim())
        && (one.getBoundingClientRect().left < 0 || one.getBoundingClientRect().right > {PHONE}))
        .map(one => one.outerHTML.slice(0, 80))"""
    assert chromium.evaluate(outside) == []
    hiding = """[...document.querySelectorAll('body *')].filter(one => one.checkVisibility() && !one.closest('svg')
        && getComputedStyle(one).overflowX === 'hidden' && one.scrollWidth > one.clientWidth + 1)
        .map(one => one.outerHTML.slice(0, 80))"""
    assert chromium.evaluate(hiding) == []
    assert chromium.evaluate("document.documentElement.scrollWidth") <= PHONE


def test_what_is_folded_is_opened_by_a_link_into_it_and_by_the_keyboard(chromium, page):
    chromium.show(page)
    balance = "document.querySelector('#balance').closest('details').open"
    assert chromium.evaluate(balance) is False
    chromium.evaluate("document.querySelector('nav a[href=\"#balance\"]').click()")
    assert chromium.evaluate(f"new Promise(done => setTimeout(() => done({balance}), 200))") is True
    summary = "document.querySelector('#captions').closest('details').querySelector('summary')"
    chromium.evaluate(f"{summary}.focus()")
    for kind in ("rawKeyDown", "char", "keyUp"):
        chromium.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13
        )
    assert chromium.evaluate("document.querySelector('#captions').closest('details').open") is True


def test_the_page_is_folded_on_the_screen_and_printed_whole(chromium, page):
    chromium.show(page)
    assert chromium.evaluate(HIDDEN) > 100
    assert chromium.evaluate(HEIGHT) < 8000
    folded = pages(chromium)
    chromium.evaluate(OPEN)
    assert chromium.evaluate(HEIGHT) > 8000
    assert pages(chromium) == folded > 5
    chromium.show(page, media="print")
    assert chromium.evaluate(HIDDEN) == 0


def pages(chromium) -> int:
    """The number of pages of the PDF that the page is printed to."""
    chromium.call("Emulation.setEmulatedMedia", media="")  # that of the printer
    return base64.b64decode(chromium.call("Page.printToPDF")["data"]).count(b"/Type /Page\n")
