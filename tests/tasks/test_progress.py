"""Progress goes to stderr, acts on no terminal, and is silent where it should be."""

import sys

import pytest

from evenly.storage.workspace import Workspace
from evenly.tasks.engine import InProcess
from evenly.tasks.progress import Progress
from evenly.tasks.run import Run


def test_a_line_goes_to_stderr_as_it_is_never_as_markup(capsys):
    Progress().say("[bold]download[/bold] 3 of 4 \x1b[31mred\x1b[0m\nnext")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "[bold]download[/bold] 3 of 4 \\x1b[31mred\\x1b[0m\\nnext\n"


def test_a_long_line_is_not_wrapped(capsys):
    Progress().say("x" * 400)
    assert capsys.readouterr().err == "x" * 400 + "\n"


def test_quiet_says_nothing(capsys):
    quiet = Progress(quiet=True)
    quiet.say("anything")
    with quiet.bar("work", 3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_there_is_no_bar_where_nobody_watches(capsys):
    with Progress().bar("work", 3) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("total", [4, None])
def test_a_bar_on_a_terminal_counts_and_shows_markup_of_a_file_name_as_text(capsys, monkeypatch, total):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress().bar("reading [red]pool[/red]\x1b]0;title\x07", total) as advance:
        advance(3)
        advance(1)
    err = capsys.readouterr().err
    assert "[red]pool[/red]\\x1b]0;title\\x07" in err
    assert "\x1b]0;title" not in err


def test_an_error_inside_a_bar_comes_through(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(ZeroDivisionError), Progress().bar("work", 1):
        _ = 1 / 0


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_where_nobody_watches_a_line_says_now_and_then_how_far_a_long_stage_is(capsys):
    clock = Clock()
    with Progress(clock=clock).bar("collect, check_texts", 64, pairs=6_400_000) as advance:
        for seconds in (5, 15, 21, 30, 600):
            clock.now = seconds
            advance(8)
        clock.now = 900
        advance(24)
    assert capsys.readouterr().err.splitlines() == [
        "collect, check_texts: 24 of 64, about 2,400,000 of 6,400,000 pairs, 114,286 pairs/s, 35 s left",
        "collect, check_texts: 40 of 64, about 4,000,000 of 6,400,000 pairs, 6,667 pairs/s, 6.0 min left",
    ]


def test_a_stage_of_unknown_size_says_what_is_done(capsys):
    clock = Clock()
    with Progress(clock=clock).bar("reading csv", None) as advance:
        clock.now = 40
        advance(8192)
    assert capsys.readouterr().err == "reading csv: 8,192\n"


def test_a_bar_over_all_partitions_shows_pairs_in_a_second(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    clock = Clock()
    with Progress(clock=clock).bar("matching", 4, pairs=1000) as advance:
        clock.now = 10
        advance(2)
    assert "50 pairs/s" in capsys.readouterr().err


@pytest.mark.parametrize("bits", [1, 3])
def test_a_stage_counts_the_pairs_of_all_partitions_on_one_bar(tmp_path, capsys, bits):
    clock = Clock()

    def work(run):
        clock.now += 100
        return run.part.number

    run = Run(workspace=Workspace.at(tmp_path), seed=1, bits=bits, pairs=800, progress=Progress(clock=clock))
    assert InProcess(run=run).partitions("matching", work) == list(range(1 << bits))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (1 << bits) - 1
    assert lines[0].startswith(f"matching: 1 of {1 << bits}, about {800 >> bits} of 800 pairs, ")
