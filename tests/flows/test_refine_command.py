"""`evenly refine` with pictures: towers and heads, broken off and gone on with, by other threads, in a store."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageDraw

from evenly.flows.cli.encoders.refine import print_refined
from evenly.flows.process.interruption import INTERRUPTED
from evenly.storage.artifacts.kinds import refined_encoders_of
from evenly.storage.artifacts.store import object_path
from evenly.storage.builds import Builds, encoder_of
from evenly.storage.errors import DamagedError
from evenly.storage.workspace import Workspace
from tests.interrupted import signalled
from tests.tiny_encoders import write_clip

pytestmark = pytest.mark.timeout(900)
PAIRS = 240
COLOURS = ("red", "green", "blue", "yellow", "black", "white")
KINDS = {
    "heads": ("--rank", 8),
    "experts": ("--rank", 8, "--experts", 4, "--objective", "mlcd"),
    "towers": ("--towers", 1, "--learning-rate", 0.001),
}
TUNED = {
    "towers": "towers 1",
    "singular": "towers 2 singular text",
    "deep_prompts": "towers 2 deep_prompts",
}
OPTIONS = KINDS | {
    "singular": ("--towers", 2, "--tune", "singular", "--side", "text", "--learning-rate", 0.01, "--hold", 0),
    "deep_prompts": ("--towers", 2, "--tune", "deep_prompts", "--hold", 0),
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    """A recipe of PAIRS pictures in a folder, each another, and an encoder of two blocks in each tower."""
    folder = tmp_path_factory.mktemp("pool")
    for number in range(PAIRS):
        colour = COLOURS[number % len(COLOURS)]
        image = Image.new("RGB", (48, 48), (number, 255 - number, 60))
        ImageDraw.Draw(image).rectangle((8, 8, 20 + number % 25, 40 - number % 11), fill=colour)
        place = folder / "pictures" / colour / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        image.save(place)
        place.with_suffix(".txt").write_text(f"a {colour} fox of number {number}")
    (folder / "colours.txt").write_text("".join(f"{colour}\n" for colour in COLOURS))
    content = {
        "name": "pairs",
        "seed": 5,
        "sources": [{"kind": "folder", "path": str(folder / "pictures")}],
        "labels": {"column": "folder", "group": None},
        "curate": {"download": {}, "align": {"keep_top": 1.0}},
        "features": {"model": f"local-dir:{write_clip(folder / 'model', layers=2)}", "batch_size": 4},
    }
    (folder / "pairs.yaml").write_text(yaml.safe_dump(content))
    return folder / "pairs.yaml"


def words(recipe, root, kind, *, epochs=3) -> list[str]:
    given = ("--batch-size", 32, "--epochs", epochs, *OPTIONS[kind], "--out", kind, "--root", root, "--json")
    return ["refine", str(recipe), *map(str, given)]


def command(*arguments, **environment) -> dict:
    program = [sys.executable, "-m", "evenly.flows", *map(str, arguments)]
    done = subprocess.run(
        program, capture_output=True, text=True, check=False, timeout=600, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def built(recipe, tmp_path_factory) -> Path:
    """A workspace with a build of the recipe."""
    root = tmp_path_factory.mktemp("built") / "w"
    command("rebuild", recipe, "--root", root, "--workers", 1, "--json")
    return root


@pytest.fixture
def workspace_of(built, tmp_path):
    """A copy of it, by a name."""
    return lambda name: Path(shutil.copytree(built, tmp_path / name))


def read_heads(root: Path, name: str) -> bytes:
    return refined_encoders_of(Workspace.at(root)).read(name)[1]


def states(root: Path) -> list[Path]:
    return sorted((root / "refined" / "running").rglob("[0-9]*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", TUNED)
def test_towers_are_an_encoder_that_recipes_take_and_that_is_not_refined_again(
    recipe, workspace_of, evenly, tmp_path, kind
):
    root = workspace_of("w")
    status, out, err = evenly(*words(recipe, root, kind))
    assert status == 0, err
    result = json.loads(out)
    assert result["train_pairs"] + result["val_pairs"] + result["test_pairs"] == PAIRS
    assert {row["epoch"] for row in result["choice"]} == {0, 1, 2, 3}
    assert not states(root)
    _, out, _ = evenly("encoders", "--root", root, "--json")
    (card,) = json.loads(out)["refined"]
    assert (card["name"], card["build"]) == (kind, result["build"])
    assert ("tune" in card["rule"]) == (kind != "towers")  # cards from before it stay comparable
    _, out, _ = evenly("encoders", "--root", root)
    assert TUNED[kind] in out

    content = yaml.safe_load(recipe.read_text())
    refined = tmp_path / "refined.yaml"
    refined.write_text(yaml.safe_dump(content | {"features": content["features"] | {"refine": kind}}))
    status, out, err = evenly("rebuild", refined, "--root", root, "--json")
    assert status == 0, err
    builds = Builds(Workspace.at(root))
    frozen, again = (encoder_of(builds.read(name)) for name in (result["build"], json.loads(out)["build"]))
    assert again != frozen
    assert (root / "features" / again[:32]).is_dir()
    status, _, err = evenly("refine", refined, "--out", "twice", "--root", root)
    assert status in {1, 2}
    assert "`build` must be of an encoder that is not refined" in err
    assert f"`refine: {kind}`" in err


@pytest.mark.slow
def test_a_name_that_is_taken_is_replaced_by_force_alone(recipe, workspace_of, evenly):
    root = workspace_of("w")
    given = ("--batch-size", 32, "--rank", 8, "--out", "mine", "--root", root, "--json")
    for _ in range(2):
        assert evenly("refine", recipe, "--epochs", 1, *given)[0] == 0
    before = read_heads(root, "mine")
    status, out, err = evenly("refine", recipe, "--epochs", 2, *given)
    assert (status, out) == (2, "")
    assert [line for line in err.splitlines() if line.startswith("evenly: ")] == err.splitlines()[-1:]
    assert "mine`, a refined encoder made of another rule and step. Choose another, or replace it: --force" in err
    assert read_heads(root, "mine") == before
    assert evenly("refine", recipe, "--epochs", 2, *given, "--force")[0] == 0
    assert read_heads(root, "mine") != before


@pytest.mark.slow
def test_what_towers_cannot_do_is_refused_with_its_reason(recipe, workspace_of, evenly):
    root = workspace_of("w")
    status, _, err = evenly("refine", recipe, "--towers", 3, "--out", "deep", "--root", root)
    assert status in {1, 2}
    assert "got 3, of 2 in visual.transformer.resblocks" in err
    for options in (("--towers", 1, "--experts", 2), ("--experts", 9, "--rank", 8), ("--tune", "singular")):
        assert evenly("refine", recipe, *options, "--out", "both", "--root", root)[0] == 2
    for shard in (root / "downloads").rglob("*.tar"):
        shard.unlink()
    status, _, err = evenly("refine", recipe, "--towers", 1, "--out", "gone", "--root", root)
    assert status in {1, 2}
    assert "must be readable" in err


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_training_that_is_ended_goes_on_where_it_was_and_ends_with_the_same_bits(
    recipe, workspace_of, tmp_path, number, kind
):
    ended, undisturbed = workspace_of("ended"), workspace_of("undisturbed")
    epochs = 6 if kind == "towers" else 60
    end = signalled(
        words(recipe, ended, kind, epochs=epochs),
        {},
        folder=tmp_path,
        moment_s=0.01,
        number=number,
        group=number == signal.SIGINT,
        after=lambda _mark: len(states(ended)) > 1,
    )
    assert (end.status, end.left) == (130 if number == signal.SIGINT else -number, ())
    if number == signal.SIGINT:
        assert end.err.splitlines()[-1] == f"evenly: {INTERRUPTED}"
        assert end.seconds < 5
    half = {path.name: path.stat().st_mtime_ns for path in states(ended)}
    assert 1 < len(half) < epochs
    results = [command(*words(recipe, root, kind, epochs=epochs)) for root in (ended, undisturbed)]
    assert results[0] == results[1]
    first, second = (read_heads(root, kind) for root in (ended, undisturbed))
    assert first == second
    assert not states(ended)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_other_numbers_of_threads_change_no_bit(recipe, workspace_of, kind):
    results = []
    for count in ("1", "2", "5"):
        root = workspace_of(f"threads-{count}")
        variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        results.append(command(*words(recipe, root, kind), **dict.fromkeys(variables, count)))
    assert results[0] == results[1] == results[2]


@pytest.mark.slow
def test_heads_and_towers_in_a_workspace_in_an_object_store(recipe, bucket, evenly, workspace_of):
    root, kinds = f"{bucket}/w", ("heads", "towers", *TUNED)
    status, _, err = evenly("rebuild", recipe, "--root", root, "--json")
    assert status == 0, err
    local = workspace_of("w")
    for kind in dict.fromkeys(kinds):
        status, out, err = evenly(*words(recipe, root, kind, epochs=2))
        assert status == 0, err
        assert evenly(*words(recipe, root, kind, epochs=2))[1] == out
        assert evenly(*words(recipe, local, kind, epochs=2))[1] == out
        assert read_heads(root, kind) == read_heads(local, kind)
    cards = json.loads(evenly("encoders", "--root", root, "--json")[1])["refined"]
    assert [card["name"] for card in cards] == sorted(dict.fromkeys(kinds))
    encoders = ("--encoder", f"local-dir:{recipe.parent / 'model'} batch_size=4 refine=towers")
    status, out, err = evenly("leaderboard", recipe, *encoders, "--root", root, "--json")
    assert status == 0, err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["singular", "deep_prompts"])
def test_a_bit_that_flipped_in_what_was_trained_is_noticed_and_the_same_command_mends_it(
    recipe, workspace_of, evenly, kind
):
    root = workspace_of("w")
    status, out, err = evenly(*words(recipe, root, kind, epochs=1))
    assert status == 0, err
    before, path = read_heads(root, kind), object_path(root / "objects", json.loads(out)["heads"])
    flipped = bytearray(before)
    flipped[-5] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(DamagedError, match=f"must hold the heads of refined encoder `{kind}`"):
        read_heads(root, kind)  # as each command reads them
    assert evenly(*words(recipe, root, kind, epochs=1))[0] == 0
    assert read_heads(root, kind) == before


@pytest.mark.slow
def test_nola_labels_pictures_and_teaches_the_picture_tower_by_them(recipe, bucket, evenly, workspace_of, tmp_path):
    """Its three stages: texts, a network on the second backbone, tokens and LayerNorms; in a folder and in a store."""
    content = yaml.safe_load(recipe.read_text())
    content["features"]["second"] = {"model": f"local-dir:{write_clip(tmp_path / 'second', seed=2)}"}
    content["classes"] = [{"list": str(recipe.parent / "colours.txt"), "methods": [], "adapters": ["nola"]}]
    taught = tmp_path / "taught.yaml"
    taught.write_text(yaml.safe_dump(content))
    given = ("--towers", 1, "--tune", "prompts_and_norms", "--side", "image", "--objective", "pseudo_labelled")
    given += ("--teacher", "colours/nola-names", "--hold", 0, "--epochs", 2, "--out", "nola", "--json")
    results = []
    for root in (workspace_of("w"), f"{bucket}/w"):
        assert evenly("rebuild", taught, "--root", root, "--json")[0] == 0
        status, _, err = evenly("fit", taught, "--root", root)
        assert status == 0, err
        status, out, err = evenly("refine", taught, *given, "--root", root)
        assert status == 0, err
        results.append((json.loads(out), read_heads(root, "nola")))
    assert results[0] == results[1]
    assert ("zero-shot against logistic regression", "colours") in {
        (row["measure"], row["of"]) for row in results[0][0]["measures"]
    }
    status, _, err = evenly("refine", taught, "--objective", "pseudo_labelled", "--out", "bare", "--root", root)
    assert status == 2
    assert "`--teacher` must be a fitted adapter, LIST/NAME, where" in err


def test_every_measure_stands_in_one_line(capsys):
    values = {"before": 0.2591, "after": 0.67, "difference": 0.116, "difference_low": 0.0624, "difference_high": 0.179}
    pairs = [("right caption before wrong", "two colours swapped"), ("text to picture R@10", "all pairs")]
    pairs += [("mean average precision of labels", "pictures object-photographs"), ("modality gap", "all pairs")]
    rows = [{"measure": measure, "of": of, **values} for measure, of in pairs]
    rows[-1]["difference_low"] = None
    sizes = {f"{part}_pairs": 1000 for part in ("train", "val", "test")}
    print_refined({"name": "r", "build": "demo-26526241dd03", "measures": rows, "strength": 0.0} | sizes)
    lines = capsys.readouterr().out.splitlines()[:-1]
    assert max(map(len, lines)) <= 90
    assert lines[1:3] == [
        "two colours swapped",
        f"  {'right caption before wrong':<32}    .259   .670  +.116 [+.062, +.179]",
    ]
    assert [line for line in lines if not line.startswith(" ")][1:4] == [*dict.fromkeys(of for _, of in pairs)]


def test_what_no_table_shows_to_gain_is_said_with_how_far_rows_moved(capsys):
    result = {"name": "r", "build": "demo-26526241dd03", "measures": [], "strength": 0.75, "epoch": 3, "gains": False}
    result |= {"noun_shift": 0.0088, "picture_shift": 0.0061, "hold_weight": 19.27}
    print_refined(result | {f"{part}_pairs": 1000 for part in ("train", "val", "test")})
    assert capsys.readouterr().out.splitlines()[2:4] == [
        "frozen rows moved by .009 (nouns) and .006 (pictures), mean 1 - cosine; held by weight 19.3",
        "no table of docs/refining.md shows what this does better than `contrastive` with one head",
    ]
