"""What a stranger hands in: one clear line and exit status 2, quickly, and nothing that a terminal would obey."""

import json
import time

import numpy as np
import pytest

from evenly.flows.cli import app
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import json_text, print_rows, print_text
from evenly.flows.recipe.untrusted_yaml import MAX_DEPTH, MAX_VALUES, UnreadableYamlError, read_yaml
from evenly.tasks.progress import Progress
from tests.reported import report_errors

ESCAPES = "\x1b]0;gone\x07\x9b2J\u202egnp.exe\ud800\u2028"


@pytest.fixture
def evenly(monkeypatch, capsys):
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["evenly", *arguments])
        status = report_errors(app)
        return status, *capsys.readouterr()

    return run


def bomb(levels: int = 12, width: int = 9) -> str:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines) + f"\nname: [*a{levels - 1}]\n"


def merge_bomb(levels: int = 12, width: int = 9) -> str:
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * width)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


HOSTILE = {
    "alias bomb": (bomb(), "aliases followed"),
    "merge bomb": (merge_bomb(), "aliases followed"),
    "alias in itself": ("name: &a [*a]", "inside its own anchor"),
    "impossible date": ("name: 2020-99-99", "month must be"),
    "no timestamp": ("name: !!timestamp x", "can be read"),
    "no number": ("name: !!int abc", "invalid literal"),
    "no float": ("name: !!float abc", "could not convert"),
    "no truth value": ("name: !!bool abc", "can be read"),
    "5,000 digits": (f"seed: {'9' * 5000}", "4300 digits"),
    "5,000 brackets": (f"name: {'[' * 5000}", "levels of nesting"),
    "5,000 closed brackets": (f"name: {'[' * 5000}{']' * 5000}", "levels of nesting"),
    "5,000 dashes": (f"{'- ' * 5000}x", "levels of nesting"),
    "2 MB": ("name: " + "x" * 2_000_000, "characters"),
    "a tag of Python": ("name: !!python/object/apply:os.system [id]", "could not determine a constructor"),
    "zero byte": ("name: \0", "special characters"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_recipe_is_one_line_and_a_usage_error(evenly, tmp_path, name):
    text, words = HOSTILE[name]
    path = tmp_path / "r.yaml"
    path.write_text(text, encoding="utf-8")
    started = time.process_time()
    status, out, err = evenly("check", str(path))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert time.process_time() - started < 5


def test_ordinary_anchors_work_and_limits_are_inclusive():
    assert read_yaml("a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a, e: 5}")["d"] == {"b": [1, 2], "e": 5}
    assert read_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None
    assert len(read_yaml("\n".join(["- x"] * (MAX_VALUES - 1)))) == MAX_VALUES - 1
    for text in ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "\n".join(["- x"] * MAX_VALUES)):
        with pytest.raises(UnreadableYamlError):
            read_yaml(text)
    assert read_yaml("") is None


def acts(text: str) -> bool:
    return any(not letter.isprintable() for letter in text.replace("\n", ""))


def test_nothing_that_acts_reaches_the_terminal(capsys):
    print_text(f"adapter {ESCAPES}\tkept\n{ESCAPES}")
    print_rows(f"title {ESCAPES} [red]", [{f"column {ESCAPES}": f"value {ESCAPES}", "n": 1}])
    Progress().say(f"step {ESCAPES} [red]")
    out, err = capsys.readouterr()
    assert not acts(out.replace("\t", ""))
    assert not acts(err)
    assert "\\x1b]0;gone\\x07" in out
    assert "[red]" in err


def test_an_error_shows_what_was_named_and_lets_nothing_act(capsys):
    def fail() -> None:
        raise UsageError(f"`adapter` must be known; got `{ESCAPES}`.")

    assert report_errors(fail) == 2
    err = capsys.readouterr().err
    assert not acts(err)
    assert "\\x1b]0;gone" in err


def test_the_name_of_an_adapter_on_the_command_line_is_shown_as_text(evenly, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, prototypes=np.eye(2, dtype=np.float32))
    status, _, err = evenly("fit", "--arrays", str(path), "--adapter", "\x1b[31mred", "--out", str(tmp_path / "o"))
    assert status == 2
    assert not acts(err)
    assert "\\x1b[31mred" in err


@pytest.mark.parametrize(
    "value", [ESCAPES, {"k" + ESCAPES: [ESCAPES, 1.5, None]}, "ein Füchslein, 狐 \U0001f469\u200d\U0001f680"]
)
def test_facts_as_json_are_exact_and_harmless(value):
    text = json_text(value)
    assert json.loads(text) == value
    assert not acts(text.replace("\u200d", ""))


@pytest.mark.parametrize(
    "arguments",
    [
        ("init", "s3://bucket/recipe.yaml"),
        ("extract", "--images", "photos", "--out", "gs://bucket/f.npz"),
        ("fit", "--arrays", "https://example.org/a.npz", "--adapter", "gda"),
        ("export", "latest", "--to", "parquet", "--out", "s3://bucket/x"),
        ("metadata", "build", "--out", "s3://bucket/x.parquet"),
        ("retrieve", "classes.txt", "--out", "s3://b/x"),
    ],
)
def test_a_url_in_place_of_a_path_is_refused_in_one_line_and_makes_no_folder(evenly, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    status, _, err = evenly(*arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert "must be a path of this machine" in err
    assert "://" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("field", "old", "new"),
    [
        ("sources.0.path", 'path: "pool/*.parquet"', "path: https://b.test/p.parquet"),
        ("curate.match.metadata", "metadata: wordnet", "metadata: https://x.test/m.json"),
        ("labels.file", "features: {", "labels: {file: s3://b/l.csv}\nfeatures: {"),
        ("classes.0.list", "features: {", "classes: [{list: s3://b/c.txt}]\nfeatures: {"),
    ],
)
def test_a_url_as_a_path_of_a_recipe_is_refused_before_anything_runs(evenly, tmp_path, field, old, new):
    path = tmp_path / "r.yaml"
    assert evenly("init", str(path))[0] == 0
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    path.write_text("\n".join(lines).replace(old, new, 1), encoding="utf-8")
    status, _, err = evenly("check", str(path))
    assert status == 2
    rule = (
        "be of this machine, or begin with one of s3://" if field == "sources.0.path" else "be a path of this machine"
    )
    assert f"`{field}`: must {rule}" in err.splitlines()[0]


@pytest.mark.parametrize("url", ["ftp://host/x", "s3://bucket/../x", "s3://key:secret@bucket/x"])
@pytest.mark.parametrize("way", ["option", "environment"])
def test_a_workspace_at_a_url_that_is_none_is_refused(evenly, tmp_path, monkeypatch, url, way):
    monkeypatch.chdir(tmp_path)
    if way == "environment":
        monkeypatch.setenv("EVENLY_ROOT", url)
    status, _, err = evenly("builds", *(["--root", url] if way == "option" else []))
    assert (status, err.count("\n")) == (2, 1)
    assert "`url` must" in err
    assert "secret" not in err
    assert not list(tmp_path.iterdir())


def test_text_labels_are_told_a_conversion_that_works(evenly, tmp_path):
    """The advice is followed to the letter: what it says is run, and the file is accepted."""
    classes, labels = ["cat", "dog", "owl"], np.array(["owl", "cat", "dog", "owl"])
    rows = np.eye(4, dtype=np.float32)[:, :3] + 0.1
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    arrays = {"prototypes": np.eye(3, dtype=np.float32), "train_features": rows, "train_labels": labels}
    for given in (labels, labels.astype(object)):
        np.savez(tmp_path / "a.npz", **{**arrays, "train_labels": given})
        status, _, err = evenly(
            "fit", "--arrays", str(tmp_path / "a.npz"), "--adapter", "gda", "--out", str(tmp_path / "o"), "--force"
        )
        assert status == 2
        advice = err.split("Save `")[1].split("`, ")[0]
        converted = eval(advice, {"classes": classes, "train_labels": given})  # noqa: S307 - our own words
        np.savez(tmp_path / "b.npz", **{**arrays, "train_labels": converted})
        assert (
            evenly(
                "fit", "--arrays", str(tmp_path / "b.npz"), "--adapter", "gda", "--out", str(tmp_path / "o"), "--force"
            )[0]
            == 0
        )
