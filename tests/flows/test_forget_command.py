"""`evenly forget`: a plan first; then no byte of what was named is left, and builds that held it have successors."""

import json
import random
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

import evenly
from evenly.audit.published import PublishedBuild
from evenly.storage.builds import Builds, open_build
from evenly.storage.records import read_record, replace_record
from evenly.storage.removal.forget import read_forgotten
from evenly.storage.removal.leftovers import list_files
from evenly.storage.stores.object_path import path_at
from evenly.storage.workspace import Workspace
from evenly.tasks import takedown
from tests.chaos.forgetting import build_all, open_world, rows, trial
from tests.decoded_search import search

NOUNS = ("dog", "cat", "tree", "house", "car", "flower")
PLACES = ("in a green garden", "near the old harbour", "under a bridge")
SECRET = "a photograph of a dog that bit somebody in Rome"  # noqa: S105 - no password
ROWS = [
    (
        f"https://{'img.bad.test' if noun == 'car' else 'good.test'}/{noun}/{place}.jpg",
        f"a photograph of a {noun} {text}",
    )
    for noun in NOUNS
    for place, text in enumerate(PLACES)
]
ROWS += [(ROWS[0][0], SECRET)]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Two recipes of one pool, and a workspace with a build of each and an export."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "pool.jsonl").write_text("\n".join(json.dumps({"url": url, "text": text}) for url, text in ROWS))
    (folder / "concepts.txt").write_text("\n".join(NOUNS))
    source = {"kind": "jsonl", "path": "pool.jsonl", "caption": "text", "url": "url"}
    for name, t in (("one", 2), ("two", 9)):
        curate = {"text": {"caption_length": {"min_words": 3}}, "match": {"metadata": "concepts.txt"}}
        recipe = {"name": name, "seed": 7, "sources": [source], "curate": curate | {"balance": {"t": t}}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENLY_CACHE", str(folder / "cache"))
        builds = [evenly.rebuild(folder / f"{name}.yaml", root=folder / "w", quiet=True) for name in ("one", "two")]
        builds[0].export("parquet")
    return folder


@dataclass(frozen=True)
class Forgetful:
    """A workspace with builds of both recipes and an export; uids: of captions. run: a command, for its facts."""

    root: str
    recipes: Mapping[str, Path]
    run: Callable[..., Any]
    builds: Sequence[str] = ()
    uids: Mapping[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> Workspace:
        return Workspace.at(self.root)


@pytest.fixture(params=["folder", pytest.param("store", marks=pytest.mark.slow)])
def built(request, tmp_path, monkeypatch, evenly, made) -> Forgetful:
    """A copy of what was made, in a folder or an object store."""
    monkeypatch.setenv("EVENLY_CACHE", str(tmp_path / "cache"))
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    root = str(tmp_path / "w")
    for path in Path(root, "runs").rglob("*.json"):
        record = read_record(path)
        replace_record(path, record | {"file": str(tmp_path / Path(record["file"]).name)})
    if request.param == "store":
        root = f"{request.getfixturevalue('bucket')}/team/w"
        for file in (file for file in list_files(tmp_path / "w") if file.kind != "locks"):
            path_at(f"{root}/{file.name}").write_bytes(file.path.read_bytes())

    def run(*words, status=0):
        ended, out, err = evenly(*words, "--root", root, "--json")
        assert ended == status, err + out
        return json.loads(out[out.index("{") :]) if "{" in out else err

    builds = [f"{build['build']}" for build in run("builds")["builds"]]
    samples = PublishedBuild(*open_build(builds[0], root=root)).samples(["uid", "caption"])
    uids = dict(zip(samples["caption"].to_pylist(), samples["uid"].to_pylist(), strict=True))
    return Forgetful(root, {name: tmp_path / f"{name}.yaml" for name in ("one", "two")}, run, builds, uids)


def _slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def copied(root, folder: Path) -> Path:
    """The workspace in a folder of this machine."""
    place = path_at(root)
    for file in list_files(place):
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.path.read_bytes())
    return folder


def names(root):
    return {file.name: file.size for file in list_files(path_at(root)) if not file.name.startswith("locks/")}


def kept(root, recipe):
    return PublishedBuild(*open_build(recipe, root=root)).samples(["url", "caption"]).to_pylist()


def test_a_plan_says_where_it_is_held_and_changes_nothing(built):
    builds, uids, run, root = built.builds, built.uids, built.run, built.root
    before = names(root)
    plan = run("forget", uids[SECRET])
    assert names(root) == before
    assert (plan["done"], plan["pairs"], plan["entries"]) == (False, 1, 1)
    assert {row["build"] for row in plan["builds"]} == set(builds)
    assert all(row["latest"] and Path(row["file"]).is_file() and not row["changed"] for row in plan["builds"])
    assert {row["kind"] for row in plan["held"]} >= {"ledger tables", "sample tables", "exports"}
    assert {(row["kind"], row["build"]) for row in plan["exports"]} >= {("parquet", builds[0])}


@pytest.mark.parametrize(
    ("thing", "needles", "stays"),
    [
        ("uid", [SECRET], [ROWS[0][0]]),
        ("bad.test", ["img.bad.test", "of a car"], ["of a cat"]),
        _slow("img.bad.test", ["img.bad.test", "of a car"], ["of a cat"]),
        _slow(ROWS[0][0], [ROWS[0][0], ROWS[0][1], SECRET], [ROWS[1][0]]),
        _slow("caption:flower (in|near)", ["flower in a", "flower near"], ["flower under a bridge"]),
    ],
)
def test_nothing_of_it_is_left_in_decoded_content_and_builds_have_successors(built, tmp_path, thing, needles, stays):
    builds, uids, run, root = built.builds, built.uids, built.run, built.root
    uids_gone = [uid for caption, uid in uids.items() if any(needle in caption for needle in needles)]
    held = search(copied(root, tmp_path / "before"), [*uids_gone, *needles])
    receipt = run("forget", uids[SECRET] if thing == "uid" else thing, "--yes")
    after = copied(root, tmp_path / "after")
    assert search(after, [*uids_gone, *needles]) == {}
    assert {name.split("/")[0] for name in held} >= {"ledger", "samples", "exports"}
    assert {needle for names in search(after, stays).values() for needle in names} == set(stays)
    assert receipt["left"] == []
    assert set(receipt["builds"]) == set(builds)
    for build, successor in receipt["builds"].items():
        assert run("verify", successor)["ok"]
        assert Builds(Workspace.at(root)).latest_of(successor.rpartition("-")[0]) == successor
        assert successor in run("report", build, status=1)
        assert successor in run("trace", build, status=1)
    assert {stone["build"] for stone in run("builds")["taken_down"]} == set(builds)
    assert run("forget", "--prove")["hits"] == 0
    assert not any(word in json.dumps(receipt) for word in [*uids_gone, *needles])


def test_it_is_refused_later_and_the_same_call_changes_nothing(built, tmp_path):
    run, root, recipes = built.run, built.root, built.recipes
    receipt = run("forget", "bad.test", "--yes")
    before = names(root)
    assert run("forget", "bad.test", "--yes")["listed"]
    assert names(root) == before
    lines = (tmp_path / "pool.jsonl").read_text()
    new = [{"url": "http://www.bad.test/new.jpg", "text": "a photograph of a house by night"}]
    (tmp_path / "pool.jsonl").write_text("\n".join([lines, *map(json.dumps, new)]))
    build = run("rebuild", recipes["one"])["build"]
    assert not [row for row in kept(root, build) if "bad.test" in row["url"]]
    assert read_forgotten(built.workspace).digest == receipt["list"]


@pytest.mark.parametrize(
    "place",
    ["bury", *map(_slow, ["samples", "create_entries", "clean_workspace", "purge", "write_receipt", "rebuild"])],
)
def test_what_was_broken_off_is_finished_by_the_same_call(built, tmp_path, place, monkeypatch):
    builds, uids, run, root = built.builds, built.uids, built.run, built.root
    with monkeypatch.context() as patch:
        _interrupting(patch, place)
        run("forget", uids[SECRET], "--yes", status=130)
    if place != "create_entries":
        assert "forget --resume" in run("forget", "good.test", "--yes", status=2)
    receipt = run("forget", uids[SECRET], "--yes")
    assert search(copied(root, tmp_path / "after"), [SECRET, uids[SECRET]]) == {}
    assert set(receipt["builds"]) == set(builds)
    assert all(run("verify", successor)["ok"] for successor in receipt["builds"].values())
    assert run("forget", "--resume")["unfinished"] is False


def _interrupting(patch, place):
    """Have a part of the take-down end as Ctrl-C ends it: before it, or at its third step."""

    def interrupted(*_args, **_values):
        raise KeyboardInterrupt

    if place == "bury":
        patch.setattr(
            Builds,
            "_path",
            lambda self, build: (
                interrupted() if (self._tombstones / f"{build}.json").exists() else self.folder / f"{build}.json"
            ),
        )
    elif place == "samples":
        from evenly.storage.removal import purge

        patch.setattr(purge, "_purge_samples", interrupted)
    elif place == "rebuild":
        patch.setattr(
            takedown,
            "_with_successors",
            lambda _workspace, take, rebuild: (rebuild(next(iter(take.recipes.values()))), interrupted()),
        )
    else:
        patch.setattr(takedown, place, interrupted)


@pytest.mark.slow
def test_builds_without_a_recipe_end_only_where_that_is_asked(built):
    run, recipes = built.run, built.recipes
    for path in recipes.values():
        path.rename(path.with_suffix(".moved"))
    assert "--recipe" in run("forget", "bad.test", "--yes", status=2)
    receipt = run("forget", "bad.test", "--yes", "--without-successors")
    assert set(receipt["builds"].values()) == {None}
    assert run("builds")["builds"] == []
    assert "no successor" in run("why", "x", "--build", built.builds[0], status=1)
    assert run("forget", "--prove")["hits"] == 0


@pytest.mark.slow
def test_a_recipe_that_was_moved_can_be_named(built):
    run, recipes = built.run, built.recipes
    recipes["one"].rename(moved := recipes["one"].with_name("moved.yaml"))
    receipt = run("forget", "bad.test", "--yes", "--recipe", moved)
    assert all(receipt["builds"].values())


def test_a_receipt_that_was_changed_or_no_longer_holds_is_a_finding(built):
    run = built.run
    receipt = run("forget", "bad.test", "--yes")
    workspace = built.workspace
    path = workspace.forget / "receipts" / f"{receipt['receipt']}.json"
    stored = read_record(path)
    replace_record(path, stored | {"pairs": 0})
    (finding,) = run("verify", "one", status=1)["findings"]
    assert (finding["check"], finding["where"]) == ("receipts", receipt["receipt"])
    replace_record(path, stored)
    assert run("verify", "one")["ok"]
    next((workspace.forget / "entries").glob("*.json")).unlink()
    assert "not on the forget list" in str(run("verify", "one", status=1)["findings"])


def test_a_file_names_many_and_its_lines_are_not_shown(built, tmp_path):
    run = built.run
    things = tmp_path / "things.txt"
    things.write_text(f"# asked for by mail\nbad.test\n{ROWS[0][0]}\ncaption:flower in\n")
    assert run("forget", things)["pairs"] == 6
    things.write_text(f"bad.test\n{SECRET}\n")
    message = run("forget", things, status=2)
    assert "number 2 is none" in message
    assert SECRET not in message


@pytest.mark.slow
def test_the_whole_pool_can_be_taken_down(built):
    run = built.run
    receipt = run("forget", "caption:.", "--yes")
    assert receipt["builds"] == dict.fromkeys(built.builds)
    assert set(receipt["without_successor"].values()) == {takedown.NOTHING_LEFT}


@pytest.mark.slow
def test_secrets_of_an_unfinished_take_down_lie_beside_the_key(built, monkeypatch):
    run, root = built.run, built.root
    if "://" in root:
        pytest.skip("an object has no mode")
    with monkeypatch.context() as patch:
        _interrupting(patch, "purge")
        run("forget", "caption:Rome", "--yes", status=130)
    secret = built.workspace.forget / "secret"
    assert secret.stat().st_mode & 0o77 == 0
    assert SECRET in (secret / "unfinished.json").read_text()
    run("forget", "--resume")
    assert not (secret / "unfinished.json").exists()
    assert not [path for path in Path(root).rglob("*") if re.search(r"\.tmp$|partial", path.name)]
    shutil.rmtree(secret)


@pytest.mark.slow
def test_a_picture_and_its_twins_go_out_of_all_that_was_made_of_them(tmp_path):
    name, pool = "a picture with 12 twins", rows()
    with open_world(tmp_path, pool) as world:
        build_all(world, tmp_path / "w")
        assert trial(world, str(tmp_path / "w"), name, pool, killed=0, luck=random.Random(1))  # noqa: S311 - moments
