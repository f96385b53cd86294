"""What commands print for people: the page of help, tables whose words are whole, single results as name and value."""

import pytest

from evenly.flows.cli import FIRST_STEPS, MODULES, SUBJECTS, app, command_line, summary
from evenly.flows.cli.classes.describe import print_described
from evenly.flows.cli.output import print_facts, print_rows

PATH = "/data/pools/workspace/exports/photos-4a309b690845/parquet"
HASH = "458b247912f5d22f68ac2523030964595fd5a343538c01a2e2a29653361e3812"


def test_help_has_every_command_once_by_subject_with_its_whole_summary(evenly):
    names = [command.name for command in app.registered_commands] + [group.name for group in app.registered_groups]
    assert sorted(name for commands in SUBJECTS.values() for name in commands) == sorted(names)
    status, out, _ = evenly("--help")
    assert status == 0
    assert "..." not in out.replace("[ARGS]...", "")
    assert [line[:-1] for line in out.splitlines() if line in {f"{subject}:" for subject in SUBJECTS}] == [*SUBJECTS]
    assert all(f"\n  {line}\n" in out for line in FIRST_STEPS.splitlines())


@pytest.mark.parametrize("module", MODULES)
def test_a_command_is_found_with_its_module_alone(module):
    names = MODULES[module].split()
    alone = command_line(names[0])
    found = [one.name for one in (*alone.registered_commands, *alone.registered_groups)]
    assert sorted(found) == sorted(names)
    assert {one.name for one in (*app.registered_commands, *app.registered_groups)} >= {*names}


@pytest.mark.parametrize("group", ["descriptions", "metadata"])
def test_help_of_a_group_has_whole_summaries(evenly, group):
    out = evenly(group, "--help")[1]
    assert "..." not in out.replace("[ARGS]...", "")
    assert not any(line in out for line in FIRST_STEPS.splitlines())


def test_a_summary_is_the_first_sentence():
    assert summary("Say why\nit is in. Unknown: exit status 1.\n\nExample: x") == "Say why it is in."


def printed(capsys, monkeypatch, rows, width=80):
    monkeypatch.setenv("COLUMNS", str(width))
    print_rows("results", rows)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 200])
def test_no_word_is_cut_whatever_the_width(capsys, monkeypatch, width):
    rows = [{"build": f"photos-{place}", "folder": PATH, "hash": HASH, "rows": 12_000} for place in range(2)]
    out = printed(capsys, monkeypatch, rows, width)
    assert out.count(PATH) == out.count(HASH) == 2
    assert out.count("12,000") == 2
    assert ("│" in out) == (width == 200)


def test_a_long_text_is_folded_between_words_and_nothing_else_is(capsys, monkeypatch):
    out = printed(capsys, monkeypatch, [{"step": "deduplicate_perceptual", "kept": 1_234, "reasons": "word " * 40}])
    lines = [line for line in out.splitlines() if line.startswith("│")]
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) == 5
    assert sum(line.count("word") for line in lines) == 40


def test_a_name_in_a_text_is_folded_before_a_table_is_given_up(capsys, monkeypatch):
    why = "depends on what `deduplicate_perceptual` gives"
    row = {"step": "deduplicate_perceptual", "action": "unknown", "rows": "~6,067", "takes": "0.1 s, 9 kB (typical)"}
    out = printed(capsys, monkeypatch, [row | {"why": why}])
    assert "│ deduplicate_perceptual │" in out


def test_a_text_without_spaces_in_another_script_is_folded(capsys, monkeypatch):
    assert "│" in printed(capsys, monkeypatch, [{"step": "check_texts", "text": "狐" * 100}])


def test_a_single_result_is_lines_of_name_and_value(capsys):
    print_facts({"build": "b-1", "content_hash": HASH, "counts": {"rows": 4_000, "columns": 31}, "notes": ["a", "b"]})
    assert capsys.readouterr().out.splitlines() == [
        "build           b-1",
        f"content hash    {HASH}",
        "counts rows     4,000",
        "counts columns  31",
        "notes           a, b",
    ]


def test_a_described_list_is_a_row_per_class_with_refusals_by_reason_and_texts_on_request(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    texts = [("cat", "accepted", ""), ("cat", "rejected", "too_long"), ("cat", "rejected", "too_long")]
    rows = [
        {"class": name, "method": "description", "text": f"text {place}", "other": None, "verdict": verdict}
        | {"reason": reason}
        for place, (name, verdict, reason) in enumerate([*texts, ("dog", "failed", "http_500")])
    ]
    facts = dict.fromkeys(("accepted", "classes", "requests_sent", "cache_hits", "prompt_tokens"), 1)
    facts |= dict.fromkeys(("account", "lost_attempts", "completion_tokens"), 0) | {"cost_usd": 0.0}
    facts |= {name: {} for name in ("rejected", "failed", "unanswered")}
    facts |= dict.fromkeys(("ungrounded", "undescribed"), ())
    facts |= {"class_list": "pets", "step": "s", "descriptions": rows, "account": None}
    print_described(facts)
    out = capsys.readouterr().out
    cat, dog = (line.split("│")[1:-1] for line in out.splitlines() if "│" in line)
    assert [cell.strip() for cell in cat] == ["cat", "1", "description 1", "2", "too_long 2"]
    assert [cell.strip() for cell in dog] == ["dog", "0", "", "1", "http_500 1"]
    assert "text 0" not in out
    print_described(facts, verbose=True)
    assert "text 0" in capsys.readouterr().out
