"""Rebuilds into a store that is slow, fails, hangs up or loses its answers: in the end the build of a folder."""

import json
import random
import threading

import pytest
import yaml

from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.steps import content_of, steps_of
from evenly.flows.runs import open_run
from evenly.storage.builds import Builds
from evenly.storage.errors import StoreError
from evenly.storage.stores.object_path import path_at
from evenly.storage.workspace import Workspace, writing
from evenly.tasks.rebuild.publish import publish_build
from evenly.tasks.stage import run_step
from tests.chaos.faults.stores import LOST
from tests.chaos.store import StoreRelay, Trouble
from tests.object_store_server import make_bucket, reaching

NOUNS = ("dog", "cat", "tree", "house", "car", "flower", "bird", "fish", "boat", "apple")
MOST_TRIES = 6


def slow(_luck):
    return lambda _method, _path: Trouble(delay_s=0.02)


def errors(luck):
    return lambda _method, _path: Trouble(status=503) if luck.random() < 0.2 else None


def resets(luck):
    return lambda _method, _path: Trouble(reset=True, late=luck.random() < 0.5) if luck.random() < 0.1 else None


def answers_lost(luck):
    met = set()

    def trouble(method, path):
        is_first = method in ("PUT", "POST", "DELETE") and (method, path) not in met
        met.add((method, path))
        return luck.choice(LOST) if is_first else None

    return trouble


def busy_for_a_while(_luck):
    """After some requests each of the next is refused."""
    counted = []

    def trouble(_method, _path):
        counted.append(1)
        return Trouble(status=503) if 60 <= len(counted) < 75 else None

    return trouble


@pytest.fixture
def recipe(tmp_path):
    """A recipe of captions in a folder."""
    rows = [{"id": str(n), "text": f"a photograph of a {NOUNS[n % 10]} in front of house {n}"} for n in range(60)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "concepts.txt").write_text("\n".join(NOUNS))
    source = {"kind": "jsonl", "path": str(tmp_path / "p.jsonl"), "caption": "text", "url": None, "id": "id"}
    curate = {"match": {"metadata": str(tmp_path / "concepts.txt")}, "balance": {"t": 3}}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"name": "captions", "seed": 7, "sources": [source], "curate": curate}))
    return path


def rebuild(path, root):
    recipe = read_recipe(path)
    with writing(Workspace.at(root), recipe.name), open_run(recipe, root=root, quiet=True) as run:
        records = ()
        for step, rule in steps_of(recipe):
            records = (*records, run_step(run, step, records, rule))
        return publish_build(run, records, name=recipe.name, recipe=content_of(recipe), limit=None, max_change=1.0)


@pytest.mark.parametrize(
    "disturb",
    [errors, busy_for_a_while, *(pytest.param(one, marks=pytest.mark.slow) for one in (slow, resets, answers_lost))],
)
def test_a_store_in_trouble_gives_the_build_of_a_folder_or_says_in_one_line_what_is_wrong(
    disturb, recipe, s3_server, tmp_path
):
    name = f"trouble-{disturb.__name__.replace('_', '-')}"
    make_bucket(s3_server, name)
    relay = StoreRelay(s3_server)
    relay.come()
    root = f"s3://{name}/w"
    said = []
    with reaching(relay.address):
        relay.trouble = disturb(random.Random(1))  # noqa: S311 - the same each time
        for _ in range(MOST_TRIES):
            try:
                stored = rebuild(recipe, root)
                break
            except StoreError as error:
                said.append(str(error))
        else:
            relay.mend()
            stored = rebuild(recipe, root)
        assert relay.troubled
        relay.mend()
        assert all("\n" not in line and "must answer" in line for line in said)
        assert stored["content_hash"] == rebuild(recipe, tmp_path / "w")["content_hash"]
        assert Builds(Workspace.at(root)).names() == [stored["build"]]
        names = [key for key, _ in path_at(root).objects()]
        assert not [key for key in names if "locks/" in key or ".probe-" in key or ".clock-" in key]
    relay.go()
    print(f"{disturb.__name__}: {relay.troubled} of {relay.requests} requests; refused {len(said)} times")  # noqa: T201


def test_two_rebuilds_into_a_store_at_once_are_done_one_after_the_other(recipe, bucket):
    root, made, said = f"{bucket}/w", [], []
    first_writes, first_ends = threading.Event(), threading.Event()

    def first():
        with writing(Workspace.at(root), "captions"):
            first_writes.set()
            first_ends.wait(60)
            made.append("first")

    def say(text):
        said.append(text)
        first_ends.set()

    thread = threading.Thread(target=first)
    thread.start()
    first_writes.wait(60)
    with writing(Workspace.at(root), "captions", wait_s=60, say=say):
        made.append("second")
    thread.join()
    assert made == ["first", "second"]
    assert said[0].startswith("for `captions`, at most 60 s")
    assert rebuild(recipe, root)["build"]
