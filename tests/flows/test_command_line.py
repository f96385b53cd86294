"""The command as people run it: exit status 0, 1 or 2, one clear line per error, facts as JSON."""

import json
from pathlib import Path

import pytest
import typer
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from evenly.flows.cli import app
from tests.reported import report_errors

COMMANDS = [
    *("demo", "init", "check", "plan", "rebuild", "builds", "promote", "describe", "extract"),
    *(
        "fit",
        "evaluate",
        "predict",
        "leaderboard",
        "probe",
        "export-adapter",
        "base-to-new",
        "sessions",
        "why",
        "diff",
        "verify",
        "report",
        "export",
        "serve",
        "deploy",
    ),
]


@pytest.fixture
def evenly(monkeypatch, capsys):
    """Run the command in this process: (exit status, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["evenly", *arguments])
        status = report_errors(app)
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(evenly, command):
    status, out, _ = evenly(command, "--help")
    assert status == 0
    assert "Example:" in out


def test_every_command_that_prints_facts_has_json(evenly):
    for command in set(COMMANDS) - {"init", "serve", "deploy"}:
        assert "--json" in evenly(command, "--help")[1]


@pytest.mark.parametrize("chosen", [(), ("--text",)])
def test_init_writes_a_recipe_that_check_accepts_and_does_not_overwrite(evenly, tmp_path, chosen):
    path = tmp_path / "r.yaml"
    assert evenly("init", str(path), *chosen)[0] == 0
    (tmp_path / "pool").mkdir()
    write_pool(tmp_path / "pool", "a.parquet", {"url": ["https://a.test/1.png"], "text": ["a dog"]})
    status, out, _ = evenly("check", str(path), "--json")
    assert (status, json.loads(out)["valid"]) == (0, True)
    status, _, err = evenly("init", str(path))
    assert status == 2
    assert "--force" in err


@pytest.mark.parametrize(
    ("arguments", "old", "new"),
    [
        (("rebuild", "r.yaml", "--processes", "2"), "--processes", "--workers"),
        (("leaderboard", "r.yaml", "--processes=2"), "--processes", "--workers"),
        (("concepts", "a.txt", "--pool-caption", "text"), "--pool-caption", "--caption"),
        (("describe", "a.txt", "--methods", "description"), "--methods", "--method"),
        (("descriptions", "export", "birds", "--format", "csv", "--out", "b.csv"), "--format", "--to"),
        (("balance", "m.parquet", "--explain", "7"), "--explain", "--replay"),
    ],
)
def test_an_option_by_its_old_name_is_refused_with_the_new_one(evenly, arguments, old, new):
    status, out, err = evenly(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"evenly: `{old}` is called `{new}` now; got `{old}")


def test_a_command_keeps_an_option_that_is_the_old_name_of_another(evenly, tmp_path):
    _, _, err = evenly("predict", "card.json", "pictures", "--root", str(tmp_path), "--explain")
    assert "is called" not in err


@pytest.mark.parametrize(("name", "default"), [("workers", None), ("caption", "caption"), ("memory", None)])
def test_an_option_has_one_default_in_all_commands(name, default):
    commands = typer.main.get_command(app).commands.values()
    every = [command for top in commands for command in (getattr(top, "commands", None) or {"": top}).values()]
    defaults = [option.default for command in every for option in command.params if option.name == name]
    assert len(defaults) > 3
    assert {*defaults} - {None} <= {default}  # None of `retrieve` is the .txt beside a picture, else this key


def bad_recipe(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("name: X Y\nseed: -3\n")
    return path


def test_a_bad_recipe_is_a_usage_error_with_a_line_per_problem(evenly, tmp_path):
    status, _, err = evenly("rebuild", str(bad_recipe(tmp_path)), "--root", str(tmp_path / "w"))
    assert status == 2
    assert all(line.startswith("evenly: `") for line in err.splitlines())
    assert {"`name`", "`seed`", "`sources`", "`curate`"} <= {line.split()[1] for line in err.splitlines()}
    assert not (tmp_path / "w").exists()


def test_check_prints_problems_as_json(evenly, tmp_path):
    status, out, err = evenly("check", str(bad_recipe(tmp_path)), "--json")
    assert (status, err) == (2, "")
    checked = json.loads(out)
    assert checked["valid"] is False
    assert [line.split()[0] for line in checked["problems"]] == ["`name`", "`seed`", "`sources`", "`curate`"]


def recipe_on(tmp_path, pool: str, **source: str) -> str:
    import yaml

    path = tmp_path / "r.yaml"
    recipe = {
        "name": "x",
        "seed": 1,
        "sources": [{"kind": "parquet", "path": str(tmp_path / pool)} | source],
        "curate": {"match": {}, "download": {}, "deduplicate": {}, "balance": {"t": 5}},
    }
    path.write_text(yaml.safe_dump(recipe))
    return str(path)


def write_pool(tmp_path, name: str, columns: dict[str, list]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns, schema=pa.schema([(column, pa.string()) for column in columns])), tmp_path / name)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _path: None, "must"),
        (lambda path: (path / "pool.parquet").write_bytes(b"PAR1 not really"), "pool.parquet"),
        (lambda path: write_pool(path, "pool.parquet", {"link": ["http://a.test/1"], "caption": ["a"]}), "link"),
        (lambda path: write_pool(path, "pool.parquet", {"url": [], "caption": []}), "at least one row"),
    ],
    ids=["no file", "not Parquet", "no url column", "no rows"],
)
def test_a_pool_that_cannot_be_read_is_a_usage_error_in_one_line(evenly, tmp_path, make, words):
    make(tmp_path)
    status, _, err = evenly("rebuild", recipe_on(tmp_path, "pool.parquet"), "--root", str(tmp_path / "w"))
    lines = [line for line in err.splitlines() if line.startswith("evenly:")]
    assert status == 2
    assert len(lines) == 1
    assert words in lines[0]
    assert not (tmp_path / "w" / "builds").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [("cat\ncat\n", "line 2"), ("cat\n\ndog\n", "line 2"), ("", "at least one class"), ("a\tb\tc\n", "one tab")],
    ids=["duplicate", "blank line", "empty", "two tabs"],
)
def test_a_bad_class_list_is_a_usage_error(evenly, tmp_path, text, words):
    path = tmp_path / "classes.txt"
    path.write_text(text)
    status, _, err = evenly("describe", str(path), "--root", str(tmp_path / "w"))
    assert status == 2
    assert words in err


def test_an_unknown_description_method_lists_the_known_ones(evenly, tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("cat\n")
    status, _, err = evenly("describe", str(path), "--method", "poem", "--root", str(tmp_path / "w"))
    assert status == 2
    assert "synonyms" in err


@pytest.mark.embedded
def test_an_endpoint_that_refuses_is_one_line_and_exit_status_1(evenly, tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("cat\n")
    arguments = ["--method", "description", "--base-url", "http://127.0.0.1:9/v1", "--model", "m"]
    status, _, err = evenly("describe", str(path), *arguments, "--root", str(tmp_path / "w"))
    assert status == 1
    assert "127.0.0.1:9" in err


def test_an_unknown_model_names_near_ones(evenly, tmp_path):
    import yaml

    write_pool(tmp_path, "pool.parquet", {"url": ["http://a.invalid/1"], "caption": ["a red apple"]})
    path = Path(recipe_on(tmp_path, "pool.parquet"))
    recipe = yaml.safe_load(path.read_text()) | {"features": {"model": "ViT-B-23", "pretrained": "openai"}}
    path.write_text(yaml.safe_dump(recipe))
    status, _, err = evenly("rebuild", str(path), "--root", str(tmp_path / "w"))
    assert status == 2
    assert "ViT-B-32" in err


def test_a_full_disk_is_one_line(capsys):
    def full() -> None:
        raise OSError(28, "No space left on device", "steps/x.json")

    assert report_errors(full) == 1
    assert "No space left on device at `steps/x.json`" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("verify",), ("report",), ("why", "0" * 32), ("diff", "a", "b"), ("promote", "a")])
def test_without_a_build_commands_say_so(evenly, tmp_path, command):
    status, _, err = evenly(*command, "--root", str(tmp_path))
    assert status == 1
    assert "no build" in err


def test_an_unknown_export_format_lists_the_known_ones(evenly, tmp_path):
    status, _, err = evenly("export", "latest", "--to", "tfrecord", "--root", str(tmp_path))
    assert status == 2
    assert "webdataset" in err


@pytest.mark.parametrize("command", ["serve", "deploy"])
def test_a_deployment_needs_a_server(evenly, monkeypatch, command):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):  # other tests of this process may have a server
        status, _, err = evenly(command)
    assert status == 2
    assert "PREFECT_API_URL" in err


@pytest.mark.parametrize("command", ["fit", "evaluate"])
def test_a_recipe_without_class_lists_has_nothing_to_fit(evenly, tmp_path, command):
    recipe = {"name": "none", "seed": 1, "sources": [{"kind": "csv", "path": "pool.csv"}], "curate": {"download": {}}}
    (tmp_path / "none.yaml").write_text(yaml.safe_dump(recipe))
    status, _, err = evenly(command, str(tmp_path / "none.yaml"), "--root", str(tmp_path / "w"))
    assert status == 2
    assert "`classes` must name a class list" in err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(5, "Input/output error", "a.lance"), "evenly: Input/output error at `a.lance`. "),
        (OSError(24, "Too many open files"), "evenly: Too many open files. "),
        (OSError(27, "File too large"), "evenly: File too large. "),
        (MemoryError(), "evenly: Cannot allocate memory. "),
    ],
)
def test_what_the_machine_refuses_is_one_line(capsys, error, line):
    def refused() -> None:
        raise error

    assert report_errors(refused) == 1
    written = capsys.readouterr().err
    assert written.startswith(f"{line}Nothing was half-published, and what is finished is kept: ")
    assert written.count("\n") == 1
