"""The report in a real browser: nothing on the console, nothing asked of any host, captions as text."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from evenly.audit.report import render_report
from tests.browser import CHROMIUM

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")]
QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
EVIL = "<script>fetch('http://evil.test/')</script><img src='http://evil.test/x.png'>"


def visit(page: Path, folder: Path) -> tuple[str, list[str], list[str]]:
    """The document after loading, lines on the console, and URLs that the page itself asked for."""
    log = folder / "net.json"
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *QUIET, f"--user-data-dir={folder / 'profile'}",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", f"--log-net-log={log}", "--dump-dom",
        "--virtual-time-budget=3000", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    events = json.loads(log.read_text())["events"]
    asked = [
        event["params"]["url"]
        for event in events
        if event.get("params", {}).get("initiator", "not an origin") != "not an origin"  # the browser's own have none
    ]
    return done.stdout, console, [url for url in asked if not url.startswith(("data:", "file:"))]


def test_the_report_asks_nobody_and_its_captions_are_text(build, workspace, little, read_all, tmp_path):
    pool = tuple(replace(row, caption=f"{EVIL} {row.caption}") for row in little.pool)
    page = tmp_path / "report.html"
    page.write_text(render_report(workspace, build(pool=pool), read_bytes=read_all), encoding="utf-8")
    document, console, asked = visit(page, tmp_path)
    assert console == []
    assert asked == []
    assert "&lt;script&gt;fetch(" in document
    assert "<script" not in document


def test_a_page_that_does_ask_is_caught(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<!doctype html><img src='http://evil.test/x.png'><script>console.error('boo')</script>")
    _, console, asked = visit(page, tmp_path)
    assert any("boo" in line for line in console)
    assert asked == ["http://evil.test/x.png"]
