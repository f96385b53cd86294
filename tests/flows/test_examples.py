"""Examples of the help and of the docs: commands that there are, with options that they take; and they work."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from sklearn.datasets import load_digits

from evenly.adapters.features import unit_rows
from evenly.flows.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?:bash|sh|console|text)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = typer.main.get_command(app)
ELSEWHERE = {
    "demo": "draws and serves its own web; `make demo` runs it",
    "serve": "runs until Ctrl-C; test_deployments.py",
    "deploy": "asks a server of Prefect; test_deployments.py",
    "openai": "asks an endpoint, or downloads weights",
    "pretrained": "downloads weights",
    "differential": "asks the language model for minutes; test_describe_command.py",
    "describe": "asks the language model for minutes; test_describe_command.py",
    "descriptions": "of described lists; test_descriptions_commands.py",
    "batches": "of an endpoint; test_batches_command.py",
    "metadata": "of gigabytes of counts; test_metadata_command.py",
    "match": "by a list that is built so; test_pool_commands.py",
    "balance": "of what is matched so; test_pool_commands.py",
    "link": "a pool with records of products; test_link_command.py",
    "towers": "trains towers on a GPU; tests/features/refining/test_towers.py",
    "photographs": "trains for minutes; test_worth_command.py",
    "bf16": "downloads weights",
    "pool": "pools of other pictures; test_retrieve_pools.py",
    "real_linear": "of a retrieved support set; test_retrieve_command.py",
    "retrieve": "test_retrieve_command.py",
    "refine": "trains for minutes; test_refine_command.py",
    "boxes": "test_encoder_commands.py",
    "ranking": "test_ranking_command.py",
    "probe": "for minutes; tests/tasks/adapters/test_probes.py",
    "predict": "of an adapter that is saved; test_predict_command.py",
    "export-adapter": "of an adapter that is saved; test_adapter_commands.py",
    "leaderboard": "for minutes; test_protocol_commands.py",
    "clusters": "wants 200 pictures; test_clusters_command.py",
    "tune": "measures for minutes; test_encoder_commands.py",
    "concepts": "test_concepts_command.py",
    "index": "wants more pictures; tests/tasks/search/test_index.py",
    "slice": "wants labelled pictures by part; test_evaluation_commands.py",
    "demo-3fa9c2d4e5f6": "a build of the demo",
    "0a1b2c3d4e5f60718293a4b5c6d7e8f9": "a pair of the demo",
    "rebuild": "a workspace without Prefect; tutorials run it",
    "promote": "names a build of the demo",
}
"""Examples with these words are not run here, and why; another test runs such a command."""
TINY = """
name: {name}
seed: 1
sources: [{{kind: folder, path: "{folder}/photos", caption: text}}]
labels: {{column: folder, group: null}}
curate:
  text: {{}}
  match: {{metadata: "{folder}/birds.txt", mode: normalized}}
  download: {{}}
  deduplicate: {{exact: true, perceptual: null, semantic: null}}
  balance: {{t: 40}}
classes: [{{list: demo_classes.txt, adapters: [gda]}}, {{list: demo_objects.txt, adapters: [gda]}}]
"""


def commands(command, words=()):
    """Every command with the words that call it, groups included."""
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*words, name))


def examples_of_help():
    for words, command in commands(COMMAND):
        for line in re.findall(r"Example: (?:[A-Z_]+=\S+ )?(evenly .*)", command.help or ""):
            yield pytest.param(line, id=f"{' '.join(words)}: {line}")


def examples_of_docs():
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                text = re.sub(r"\s+#.*|\s+(>|&&|\|) .*", "", line.strip().removeprefix("$ "))
                if text.startswith("evenly ") and " = " not in text and not text.endswith((".", ",", ":")):
                    yield pytest.param(text, id=f"{page.name}: {text}")


def called(line):
    """The command that a line calls, and its arguments."""
    command, words = COMMAND, shlex.split(line)[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    return command, words


@pytest.mark.parametrize("line", [*examples_of_help(), *examples_of_docs()])
def test_an_example_is_a_command_with_options_that_it_takes(line):
    command, words = called(line)
    assert command is not COMMAND
    command.make_context("evenly", words)


def test_every_command_has_an_example():
    plain = [(words, command) for words, command in commands(COMMAND) if not hasattr(command, "commands")]
    assert [words for words, command in plain if "Example: " not in (command.help or "")] == []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with what the examples name, and for each recipe a workspace with its build."""
    from tests.api.conftest import BIRDS, picture, rebuild_apart

    folder = tmp_path_factory.mktemp("examples")
    (folder / "recipes").mkdir()
    rows = []
    for bird in BIRDS:
        (folder / "photos" / bird).mkdir(parents=True)
        for number in range(12):
            name = f"{bird}/{number or 'a'}.png"
            (folder / "photos" / name).write_bytes(picture(bird, number))
            rows.append(f"{name},a {bird} on twig {number}")
    (folder / "photos" / "captions.csv").write_text("\n".join(["file_name,text", *rows]))
    (folder / "robin.jpg").write_bytes(picture("robin", 1))
    (folder / "a.jpg").write_bytes(picture("robin", 2))
    for place in (folder, folder / "recipes"):
        for name in ("demo_classes", "demo_objects", "birds", "more_birds"):
            (place / f"{name}.txt").write_text("\n".join(BIRDS))
    (folder / "recipes" / "demo.yaml").write_text(TINY.format(name="demo", folder=folder))
    (folder / "birds.yaml").write_text(TINY.format(name="birds", folder=folder))
    raw = load_digits()
    for place in range(80):
        name = folder / "digits" / str(raw.target[place]) / f"{place}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((raw.images[place] * 15).astype(np.uint8)).resize((64, 64)).save(name)
    image, labels = unit_rows(raw.data), raw.target.astype(np.int64)
    names = unit_rows(np.stack([image[labels == label].mean(axis=0) for label in range(10)]))
    parts = {"train": slice(0, 300), "val": slice(300, 500), "test": slice(500, 900)}
    arrays = {"prototypes": names}
    for part, places in parts.items():
        arrays |= {f"{part}_features": image[places], f"{part}_labels": labels[places]}
    for name in ("features", "digits"):
        np.savez(folder / f"{name}.npz", **arrays)
    rebuild_apart(folder / "birds.yaml", folder / "of-birds")
    rebuild_apart(folder / "recipes" / "demo.yaml", folder / ".evenly")
    return folder


def runs_here(line):
    return ELSEWHERE.keys().isdisjoint(word.lstrip("-") for word in re.split(r"[\s,]+", line))


@pytest.mark.slow
@pytest.mark.parametrize("line", [one for one in examples_of_help() if runs_here(one.values[0])])
def test_an_example_of_the_help_works(evenly, prepared, monkeypatch, line):
    monkeypatch.chdir(prepared)
    monkeypatch.setenv("EVENLY_ROOT", "of-birds" if "birds" in line else ".evenly")
    if "init birds.yaml" in line:
        line = line.replace("birds.yaml", "new.yaml")
        (prepared / "new.yaml").unlink(missing_ok=True)
    status, out, err = evenly(*shlex.split(line)[1:])
    assert status == 0, f"{out}\n{err}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extract", "--images", "p", "--out", "rows.txt"], "`--out` must end in .npz; got `rows.txt`"),
        (["encode", "p", "--out", "rows"], "`--out` must end in .npz; got `rows`"),
        (["encode", "p", "--out", "file/rows.npz"], "`--out` must be in a folder; got `file/rows.npz`, where"),
        (["fit", "--arrays", "a.npz", "--adapter", "gda", "--out", "file/o"], "`--out` must be in a folder"),
        (["search", "a bird", "--sheet", "file/s.html"], "`--sheet` must be in a folder"),
        (["concepts", "file", "--plot", "file/s.svg"], "`--plot` must be in a folder"),
        (["metadata", "build", "--out", "file/m.parquet"], "`--out` must be in a folder"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_read(evenly, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: pytest.fail("an encoder was loaded"))
    (tmp_path / "file").write_text("robin\n")
    (tmp_path / "p").mkdir()
    status, _, err = evenly(*arguments)
    assert (status, message in err) == (2, True), err


def test_a_recipe_of_several_lists_says_which_before_a_build_is_opened(evenly, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("demo_classes", "demo_objects"):
        (tmp_path / f"{name}.txt").write_text("robin\nwren\n")
    (tmp_path / "demo.yaml").write_text(TINY.format(name="demo", folder=tmp_path))
    status, _, err = evenly("extract", "demo.yaml", "--out", "pairs.npz")
    assert status == 2
    assert "`--list` must say which class list gives the file its texts; there are demo_classes, demo_objects." in err
    status, _, err = evenly("extract", "demo.yaml", "--list", "birds", "--out", "pairs.npz")
    assert (status, "`--list` must be a class list of the recipe; got `birds`. There: demo_classes" in err) == (2, True)
