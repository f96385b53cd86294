"""Progress goes to stderr, acts on no terminal, and is silent where it should be."""

import sys

import pytest

from evenly.tasks.progress import Progress


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
