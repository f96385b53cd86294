import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pyarrow as pa
import pytest

from evenly.audit.published import PublishedBuild
from evenly.audit.report import render_report
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from tests.audit.outcomes import outcomes

NOW = datetime(2026, 11, 24, tzinfo=UTC)
EVIL = "<script>alert('x')</script> <img src=x onerror=y> \x1b[31m\u202e"
SHOWN = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &lt;img src=x onerror=y&gt; \\x1b[31m\\u202e"


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page(published, read_all) -> str:
    return render_report(*published, read_bytes=read_all)


@pytest.fixture
def evaluation(workspace):
    zero = {"difference": 0.0, "difference_low": 0.0, "difference_high": 0.0, "verdict": "same predictions"}
    better = {"difference": 0.3, "difference_low": 0.2, "difference_high": 0.4, "verdict": "better: excludes zero"}
    unclear = {"difference": 0.02, "difference_low": -0.1, "difference_high": 0.1, "verdict": "spans zero"}
    common = {"n": 100, "chosen": "alpha=1", "own_column": 7}
    rows = [
        {"name": "zero_shot", "texts": "names", "accuracy": 0.4, "low": 0.3, "high": 0.5, "validation_accuracy": 0.4},
        {"name": "zero_shot", "texts": EVIL, "accuracy": 0.42, "low": 0.3, "high": 0.5, "validation_accuracy": 0.4},
        {"name": "linear", "texts": "none", "accuracy": 0.7, "low": 0.6, "high": 0.8, "validation_accuracy": 0.8},
    ]
    rows = [row | how | common for row, how in zip(rows, (zero, unclear, better), strict=True)]
    spec = StepSpec(name="evaluate_adapters", version=1, rule={"list": EVIL}, inputs={})
    output = StepOutput(tables={"results": pa.Table.from_pylist(rows)}, notes={"notes": [f"a note {EVIL}"]})
    return Ledger(workspace).commit(spec, output, uids=None, started=NOW)


@pytest.fixture
def description(workspace):
    verdicts = [("accepted", ""), ("rejected", "names_another_class"), ("failed", "timeout")]
    rows = [
        {"class": name, "method": "description", "text": f"{name} {verdict} {EVIL}", "request_id": "ab"}
        | {"verdict": verdict, "reason": reason}
        for name in ("tiger", "violin", "teapot", "bicycle", "kite")
        for verdict, reason in verdicts
    ]
    spec = StepSpec(name="describe", version=1, rule={"list": "things", "model": EVIL}, inputs={})
    return Ledger(workspace).commit(
        spec, StepOutput(tables={"descriptions": pa.Table.from_pylist(rows)}), uids=None, started=NOW
    )


def test_the_page_is_whole_in_itself_and_runs_nothing(page):
    parsed = Page(page)
    assert "script" not in parsed.tags
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    links = [value for name, value in parsed.attributes if name in ("src", "href", "xlink:href", "srcset", "action")]
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "@import" not in page
    assert "url(http" not in page
    policy = next(value for name, value in parsed.attributes if value.startswith("default-src"))
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_the_page_is_small_and_the_same_each_time(page, published, read_all):
    assert len(page.encode()) < 3_000_000
    assert render_report(*published, read_bytes=read_all) == page


def test_key_figures_and_funnel_are_those_of_the_ledger(page, published):
    text = Page(page).text
    build = PublishedBuild(*published)
    kept = build.records[-1].counts["kept"]
    assert f"Of {build.records[0].rows_in} rows, {kept} are kept" in text
    assert published[1]["content_hash"] in text
    for record in build.deciding:
        name = record.name.replace("_", " ")
        assert name in text
        for reason, count in record.reasons.items():
            assert f"{reason.replace('_', ' ')} {count}" in text


def test_the_gallery_shows_every_reason_with_the_command_to_ask_why(page, published):
    text = Page(page).text
    build = PublishedBuild(*published)
    fates = outcomes(build)
    for reason in {row["reason"] for row in fates if row["reason"]}:
        uids = {row["uid"] for row in fates if row["reason"] == reason}
        assert any(f"evenly why {uid}" in text for uid in uids), reason
    assert sum(f"evenly why {row['uid']}" in text for row in fates if not row["reason"]) >= 10


def test_captions_cannot_act_on_the_page(build, workspace, little, read_all):
    pool = tuple(replace(row, caption=f"{EVIL} {row.caption}") for row in little.pool)
    page = render_report(workspace, build(pool=pool), read_bytes=read_all)
    assert SHOWN in page
    assert "<script" not in page
    assert "onerror=y>" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_no_field_of_any_section_can_act_on_the_page(build, workspace, evaluation, description, read_all):
    manifest = build()
    manifest["recipe"] |= {"note": EVIL}
    truth = [{"fault": EVIL, "injected": 1, "judged": 1, "found": 1, "precision": 1.0, "recall": 1.0, EVIL: EVIL}]
    page = render_report(
        workspace, manifest, evaluations=[evaluation], descriptions=[description], truth=truth, read_bytes=read_all
    )
    assert page.count("&lt;script&gt;") >= 8
    assert "<script" not in page
    assert not {"\x1b", "\u202e"} & set(page)


def test_adapters_come_with_intervals_and_what_spans_zero(workspace, build, evaluation, read_all):
    text = Page(render_report(workspace, build(), evaluations=[evaluation], read_bytes=read_all)).text
    assert "The interval of the difference excludes zero for linear." in text
    assert "lost against zero-shot on test: none." in text
    assert "The interval of the difference spans zero for zero shot (<script>" in text
    assert "Validation chose linear" in text
    assert "60.0 % to 80.0 %" in text
    assert "\u221210.0 to +10.0" in text
    assert "own column" in text


def test_descriptions_are_counted_by_reason_and_three_classes_shown_in_full(build, workspace, description, read_all):
    text = Page(render_report(workspace, build(), descriptions=[description], read_bytes=read_all)).text
    assert "rejected: names another class 5" in text
    assert "failed: timeout 5" in text
    shown = [name for name in ("tiger", "violin", "teapot", "bicycle", "kite") if f"{name} accepted" in text]
    assert shown == ["tiger", "teapot", "kite"]
    assert "tiger rejected" in text
    assert "tiger : 1 texts accepted, 2 not" in text


def test_a_difference_names_the_classes_that_it_is_told_from_once(build, workspace, read_all):
    rows = [
        {"class": "owl", "method": "differential", "text": "owl, with round eyes", "request_id": None}
        | {"verdict": verdict, "reason": "", "other": other}
        for verdict, other in (("accepted", "fox"), ("accepted", EVIL), ("failed", "elk"))
    ]
    spec = StepSpec(name="describe", version=1, rule={"list": "birds", "model": "m"}, inputs={})
    output = StepOutput(tables={"descriptions": pa.Table.from_pylist(rows)})
    record = Ledger(workspace).commit(spec, output, uids=None, started=NOW)
    page = render_report(workspace, build(), descriptions=[record], read_bytes=read_all)
    text = Page(page).text
    assert text.count("owl, with round eyes") == 2
    assert "owl, with round eyes told from fox , <script>" in text
    assert "owl, with round eyes failed told from elk" in text
    assert SHOWN in page


def test_tables_that_may_scroll_are_reached_by_the_keyboard_and_named(page):
    scrolling = [tag for tag in re.findall("<[a-z][^>]*>", page) if 'class="scroll"' in tag or tag.startswith("<pre")]
    assert len(scrolling) >= 8
    labels = [re.search('tabindex="0" role="group" aria-label="([^"]+)"', tag)[1] for tag in scrolling]
    assert len(set(labels)) == len(labels)


def test_pictures_load_at_once_so_that_they_are_there_when_the_page_is_printed(page):
    assert "<img" in page
    assert "loading=" not in page


def test_truth_is_shown_with_what_was_not_judged(published, read_all):
    truth = [
        {"fault": "dead_link", "injected": 4, "judged": 4, "found": 3, "recall": 0.75, "claimed": 3, "precision": 1.0},
        {"fault": "opted_out", "injected": 2, "judged": 0, "found": 0, "recall": None, "claimed": 0, "precision": None},
        {
            "fault": "wrong_caption",
            "injected": 9,
            "judged": 9,
            "found": 1,
            "recall": 0.1,
            "precision": 0.2,
            "auc": 0.66,
        },
    ]
    text = Page(render_report(*published, truth=truth, read_bytes=read_all)).text
    assert "dead link 4 4 3 75.0 % 100.0 %" in text
    assert "opted out 2 0 0 \u2013 \u2013" in text
    assert "area under the curve of 0.660" in text


def test_a_step_that_was_switched_off_leaves_its_section_out(shared_build, shared, page, read_all):
    sections = {
        "recaption": "have another caption than they came with",
        "align": "Do picture and caption belong together? Image-text",
        "balance": "drawn with",
    }
    without = Page(render_report(shared, shared_build(off=tuple(sections)), read_bytes=read_all)).text
    for section in sections.values():
        assert section in Page(page).text
        assert section not in without


def test_the_data_card_is_in_the_page(page):
    text = Page(page).text
    assert "a draw for each concept of a pair, a hash of seed 7" in text
    assert "Of 5 concepts in the list" in text
    assert "sum of min(count, t)" in text
    assert 'aria-label="Share of pairs kept against their chance to stay: preselect, balance"' in page


def test_languages_have_their_thresholds_in_the_page(shared_build, shared, read_all):
    balance = {"language": "group", "reference": "g0", "law": "v2", "texts": "one_per_image"}
    text = Page(render_report(shared, shared_build(balance=balance), read_bytes=read_all)).text
    assert "matches in their language" in text
    assert "one draw for each pair" in text
    assert "Of the texts of a picture one is picked" in text
    assert "language pairs threshold tail before tail after expected kept" in text


def test_a_build_that_keeps_nothing_has_a_report(shared_build, shared, read_all):
    text = Page(render_report(shared, shared_build(min_words=50), read_bytes=read_all)).text
    assert "0 are kept" in text


def test_pictures_that_are_gone_or_broken_are_boxes(published):
    def broken(ids):
        return [b"\x89PNG broken" for _ in ids]

    def gone(_):
        raise OSError("gone")

    for read in (broken, gone):
        page = render_report(*published, read_bytes=read)
        assert "<img" not in page
        assert "picture not held, or not decodable" in page
