"""Kill every command that writes at random moments, run every two of them at once, and run each again.

Afterwards the same command ends as undisturbed, `verify` finds nothing wrong, `clean` takes all that is left over, and
whatever went wrong was said in one line. The commands are forks of one process, on a workspace of 400 small pictures.

python -m tests.chaos.every_command [--kills 200] [--pairs] [--seed WORD] [--only NAME,NAME] [--minutes N]
"""

import argparse
import itertools
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageDraw

from evenly.flows.process.environment import OF_A_COMMAND
from tests.chaos.forked import Ended, Forks, forks_of
from tests.chaos.workspace import Names
from tests.chat_server import tiny_server
from tests.tiny_encoders import write_clip

PICTURES = 400
COLOURS = ("red", "green", "blue", "yellow", "black", "white")
_TOWERS = ("refine", "{fit}", "--towers", "1", "--objective", "labelled", "--epochs", "4")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "refine": ("refine", "{fit}", "--rank", "8", "--batch-size", "32", "--epochs", "4", "--out", "mine"),
    "singular": (*_TOWERS, "--tune", "singular", "--learning-rate", "0.01", "--out", "values"),
    "deep_prompts": (*_TOWERS, "--tune", "deep_prompts", "--hold", "0", "--out", "tokens"),
    "worth": ("worth", "{build}", "--seeds", "1"),
    "fit": ("fit", "{fit}"),
    "describe": ("describe", "{things}", "--method", "description", "--base-url", "{chat}", "--model", "tiny"),
    "rebuild": ("rebuild", "{recaption}", "--workers", "1"),
    "regions": ("regions", "tiny", "--texts", "{classes}", "--out", "{out}/regions.parquet"),
    "index": ("index", "tiny", "--kind", "binary"),
    "extract": ("extract", "{other}"),
    "export": ("export", "tiny", "--to", "webdataset"),
    "diff": ("diff", "tiny", "tiny", "--html", "{out}/diff.html"),
    "clean": ("clean", "--yes", "--older-than", "0d"),
    "forget": ("forget", "caption:number 7$", "--yes"),
    "collect": ("retrieve", "{classes}", "--pool", "{pictures}", "--model", "{model}", "--out", "{out}/support"),
    "match": ("match", "{pool}", "--metadata", "{classes}", "--caption", "text", "--out", "{out}/m.parquet", "--force"),
    "balance": ("balance", "{matches}", "--t", "5", "--out", "{out}/b.parquet", "--force"),
    "link": ("link", "--truth", "folder", "--build", "tiny"),
    "clusters": ("clusters", "--build", "tiny", "--k", "12", "--iterations", "3"),
    "retrieve": ("retrieve", "{classes}", "--build", "tiny", "--per-class", "5"),
}
"""All that write, `forget` and `clean` included, which want to be alone."""
KILLED = (
    "refine", "singular", "deep_prompts", "worth", "fit", "describe", "rebuild", "regions", "index", "extract",
    "export", "forget",
)  # fmt: skip
FROM_NOTHING = ("rebuild",)
_IN_A_ROW = 4
_MEASURED = ("seconds", "pictures_looked_at", "pictures_per_s", "bytes_of_cells", "query_ms", "recall", "queries")
_OTHER_PLACE = ("clean", "forget")  # whose output says what was there


@dataclass(frozen=True)
class Expected:
    """What a command prints that is the same in each run, and how long it takes from the start."""

    facts: Any
    seconds: float


@dataclass
class World:
    """Recipes and pictures, the process that commands are forked from, and a workspace with a build."""

    folder: Path
    forks: Forks
    places: Mapping[str, str]
    expected: dict[str, Expected] = field(default_factory=dict)

    def words(self, name: str, folder: Path) -> list[str]:
        """The arguments of a command in the workspace of a folder."""
        words = [word.format(**self.places, out=folder / "out") for word in COMMANDS[name]]
        return [*words, "--root", str(folder / "w"), "--json"]

    def run(self, words: list[str], folder: Path) -> Ended:
        """Run a command to its end."""
        return self.forks.start(words, folder).end()

    def copy(self, name: str, *, empty: bool = False) -> Path:
        """A folder of its own for a trial, with a copy of the workspace."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        (folder / "out").mkdir()
        if not empty:
            shutil.copytree(self.folder / "built" / "w", folder / "w")
        return folder


def _recipes(folder: Path, chat: str) -> dict[str, str]:
    for number in range(PICTURES):
        colour = COLOURS[number % len(COLOURS)]
        image = Image.new("RGB", (48, 48), (number % 256, 255 - number % 256, 60 + number // 256))
        ImageDraw.Draw(image).rectangle((8, 8, 20 + number % 25, 40 - number % 11), fill=colour)
        place = folder / "pictures" / colour / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        image.save(place)
        place.with_suffix(".txt").write_text(f"a {colour} fox of number {number}")
    (folder / "classes.txt").write_text("".join(f"{colour}\n" for colour in COLOURS))
    (folder / "things.txt").write_text("".join(f"thing {number}\n" for number in range(6)))
    rows = (json.dumps({"text": f"a {COLOURS[number % 6]} fox of number {number}"}) for number in range(PICTURES))
    (folder / "pool.jsonl").write_text("\n".join(rows))
    model = f"local-dir:{write_clip(folder / 'model')}"
    other = f"local-dir:{write_clip(folder / 'other', seed=2)}"
    base = {
        "name": "tiny",
        "seed": 5,
        "sources": [{"kind": "folder", "path": str(folder / "pictures")}],
        "labels": {"column": "folder", "group": None},
        "curate": {"match": {"metadata": str(folder / "classes.txt")}, "download": {}, "align": {"keep_top": 1.0}},
        "features": {"model": model, "batch_size": 16},
    }
    listing = {"list": "classes.txt", "methods": ["description"], "adapters": ["gda", "tip"]}
    recaption = {"captioners": [{"kind": "retrieved"}], "choose": {"margin": 0.1}}
    learning = {"method": "cosegment", "options": {"compare": "cells", "retrieved": 5}, "learn": 40, "dense": "stored"}
    regions = {"texts": str(folder / "classes.txt"), **learning}
    recipes = {
        "build": base,
        "fit": base | {"classes": [listing | {"adapters": ["gda", "tip", "coop"]}]},
        "other": base | {"features": {"model": other, "batch_size": 16}},
        "recaption": base
        | {
            "name": "recaption",
            "curate": base["curate"] | {"recaption": recaption, "regions": regions},
            "classes": [listing],
            "llm": {"base_url": chat, "model": "tiny"},
        },
    }
    for name, recipe in recipes.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    return {name: str(folder / f"{name}.yaml") for name in recipes} | {
        "classes": str(folder / "classes.txt"),
        "things": str(folder / "things.txt"),
        "pictures": str(folder / "pictures"),
        "pool": str(folder / "pool.jsonl"),
        "matches": str(folder / "matches.parquet"),
        "model": model,
        "chat": chat,
    }


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    """Make the pictures and a workspace with a build of them, and what each command makes undisturbed."""
    given = os.environ | OF_A_COMMAND | {"EVENLY_CACHE": str(folder / "cache"), "PREFECT_HOME": str(folder / "prefect")}
    with tiny_server() as tiny, forks_of(given) as forks:
        places = _recipes(folder, tiny.url)
        world = World(folder, forks, places)
        (folder / "built").mkdir()
        for words in (
            ["rebuild", places["build"], "--workers", "1", "--root", str(folder / "built" / "w")],
            ["match", places["pool"], "--metadata", places["classes"], "--caption", "text", "--out", places["matches"]],
        ):
            _must(world.run(words, folder / "built"))
        yield world


def expect(world: World, name: str) -> Expected:
    """What a command gives undisturbed, twice; what differs between the two says nothing."""
    if name not in world.expected:
        folder = world.copy(f"expected-{name}", empty=name in FROM_NOTHING)
        first = _must(world.run(world.words(name, folder), folder))
        second = _must(world.run(world.words(name, folder), folder))
        facts = _common(_facts(first, folder), _facts(second, folder))
        world.expected[name] = Expected(facts, first.seconds)
        shutil.rmtree(folder)
    return world.expected[name]


def kill_trial(world: World, name: str, luck: random.Random) -> tuple[int, list[str]]:
    """Kill a command some times in a row, and look at what is then; how many kills there were, and what is wrong."""
    try:
        expected = expect(world, name)
    except RuntimeError as error:
        return 0, [str(error)]
    folder, kills = world.copy(name, empty=name in FROM_NOTHING), 0
    for _ in range(_IN_A_ROW):
        kills += world.forks.start(world.words(name, folder), folder).kill_after(luck.random() * expected.seconds)
    problems = [*_again(world, name, folder), *_look(world, folder)]
    if not problems:
        shutil.rmtree(folder)
    return kills, [f"{problem} (kept: {folder})" for problem in problems]


def pair_trial(world: World, names: tuple[str, str]) -> tuple[str, list[str]]:
    """Run two commands at once, and look at what is then; what they ended with, and what is wrong."""
    try:
        for name in names:
            expect(world, name)
    except RuntimeError as error:
        return "", [str(error)]
    folder = world.copy("-".join(names), empty=set(names) <= set(FROM_NOTHING))
    running = [world.forks.start(world.words(name, folder), folder) for name in names]
    ends = [one.end() for one in running]
    problems = [
        f"{name} must work or say in one line why not; got {end.status}: {end.err[-400:]!r}"
        for name, end in zip(names, ends, strict=True)
        if not end.is_plain
    ]
    for name in names:
        problems += _again(world, name, folder, beside=names)
    problems += _look(world, folder)
    if not problems:
        shutil.rmtree(folder)
    refused = [end.lines[0][8:80] for end in ends if end.status and end.lines]
    return "; ".join(refused), [f"{problem} (kept: {folder})" for problem in problems]


def _again(world: World, name: str, folder: Path, *, beside: tuple[str, ...] = ()) -> Iterator[str]:
    end = world.run(world.words(name, folder), folder)
    if end.status:
        yield f"{name} again must work; got {end.status}: {end.err[-500:]!r}"
    elif name not in _OTHER_PLACE and "forget" not in beside:
        expected, facts = expect(world, name).facts, _facts(end, folder)
        if _common(expected, facts) != expected:
            yield f"{name} again must end as undisturbed; got {str(facts)[:300]}, not {str(expected)[:300]}"


def _look(world: World, folder: Path) -> Iterator[str]:
    """What is wrong with a workspace once its commands have ended."""
    root = str(folder / "w")
    verify, clean = ["verify", "tiny", "--root", root], ["clean", "--yes", "--older-than", "0d", "--root", root]
    verify[1] = min(path.stem for path in (folder / "w" / "builds").glob("*.json"))
    for words in (verify, clean, verify):
        end = world.run(words, folder)
        if end.status:
            yield f"{words[0]} must be clean; got {end.status}: {(end.out + end.err)[-500:]!r}"
    files = [name for name in Names.of(folder / "w").shapes if not name.endswith("/")]
    left = [name for name in files if name.endswith((".tmp", ".partial")) or "/running/" in name]
    if left:
        yield f"clean must take what is left over; got {left[:3]}"


def _must(end: Ended) -> Ended:
    if end.status:
        raise RuntimeError(f"an undisturbed command must work; got {end.status}: {end.err[-1500:]}")
    return end


def _facts(end: Ended, folder: Path) -> Any:  # noqa: ANN401 - what a command printed
    start = min((end.out.find(mark) for mark in "{[" if mark in end.out), default=-1)
    return json.loads(end.out[start:].replace(str(folder), "FOLDER")) if start >= 0 else None


def _common(first: Any, second: Any) -> Any:  # noqa: ANN401 - any JSON value
    """What is the same in both; times are not, nor what an index measures by the texts that others have stored."""
    if isinstance(first, dict) and isinstance(second, dict):
        keys = [key for key in first if key in second and key not in _MEASURED]
        return {key: _common(first[key], second[key]) for key in keys}
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return [_common(*both) for both in zip(first, second, strict=True)]
    return first if first == second else "(another each time)"


def main() -> int:
    """Run kills and pairs; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.every_command", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pairs", action="store_true", help="also every two commands at once")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", default="", help="names, with commas")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin nothing more after so long")
    parser.add_argument("--folder")
    options = parser.parse_args()
    names = [name for name in COMMANDS if name in options.only.split(",") or not options.only]
    luck, began = random.Random(options.seed), time.monotonic()  # noqa: S311 - the same for each seed
    folder = Path(tempfile.mkdtemp(prefix="evenly-commands-", dir=options.folder))
    kills, pairs, failures = Counter[str](), 0, 0
    killed = [name for name in KILLED if name in names]

    def has_time() -> bool:
        return time.monotonic() - began < options.minutes * 60

    with open_world(folder) as world:
        for number in itertools.count():
            if kills.total() >= options.kills or not killed or not has_time():
                break
            name = killed[number % len(killed)]
            count, problems = kill_trial(world, name, luck)
            kills[name] += count
            failures += bool(problems)
            if not count and problems:
                killed.remove(name)
            _say(f"{name:<10} {count} kills, {kills.total()} in all  {'; '.join(problems) or 'ok'}")
        every = list(itertools.combinations_with_replacement(names, 2)) if options.pairs else []
        luck.shuffle(every)
        for pair in every:
            if not has_time():
                break
            outcome, problems = pair_trial(world, pair)
            pairs, failures = pairs + 1, failures + bool(problems)
            _say(f"{' + '.join(pair):<22} {'FAILED ' + '; '.join(problems) if problems else 'ok'}  {outcome}")
    _say(f"{kills.total()} kills ({dict(kills)}), {pairs} of {len(every)} pairs, {failures} failures")
    if not failures:
        shutil.rmtree(folder)
    return 1 if failures else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
