"""Take-downs in a workspace with builds of two recipes, adapters, a refined encoder, an index, reports and exports.

python -m tests.chaos.forgetting FOLDER [--kills 8] [--store] [--server] [--only WORD]

Of each thing (a caption, a picture with 12 twins, a domain, a pattern) it prints what `tests.decoded_search`, which
shares no code with evenly, finds before and after; and that the rebuild then equals one of a pool that never had it.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests import decoded_search
from tests.chat_server import tiny_server
from tests.object_store_server import make_bucket, object_store, reaching
from tests.picture_pool import picture
from tests.prefect_server import started_server
from tests.tiny_encoders import write_clip

COLOURS = {"red": (240, 90, 80), "green": (90, 240, 100), "blue": (80, 90, 240)}
TWINS = 12
SECRET = "a red fox whose face must be seen by nobody"  # noqa: S105 - no password
PATTERN = "caption:private garden"


@dataclass(frozen=True)
class Row:
    """A pair of the pool, and the bytes that its URL gives."""

    url: str
    caption: str
    label: str
    content: bytes


def rows(count: int = 270) -> list[Row]:
    """Pairs of three sites; one picture stands at 13 addresses: as it is, and written anew at other qualities."""
    made = []
    for number in range(count):
        colour = list(COLOURS)[number % 3]
        host = "bad.test" if number % 10 == 9 else "www.good.test"
        caption = f"a {colour} fox with the number {number:03d} on its back"
        if number % 12 == 5:
            caption = f"a {colour} fox in the private garden of house {number:03d}"
        made.append(Row(f"http://{host}/{number}.png", caption, colour, picture(COLOURS[colour], pattern=number)))
    made.append(Row("http://www.good.test/secret.png", SECRET, "red", picture(COLOURS["red"], pattern=700)))
    twin = {"pattern": 900, "size": (96, 96)}
    for number in range(TWINS + 1):
        kind = {"kind": "PNG"} if number < 5 else {"kind": "JPEG", "quality": 80 + number}
        content = picture(COLOURS["green"], **twin, **kind)
        made.append(Row(f"http://mirror{number}.test/face.img", f"a green fox seen as copy {number}", "green", content))
    return made


THINGS = {
    "a caption": ("caption:^" + SECRET + "$",),
    "a picture with 12 twins": ("http://mirror0.test/face.img", "--with-twins"),
    "a domain": ("bad.test",),
    "a pattern": (PATTERN,),
}


def gone(name: str, row: Row) -> bool:
    """Whether a row of the pool is one of a thing, by hand."""
    return {
        "a caption": row.caption == SECRET,
        "a picture with 12 twins": "mirror" in row.url,
        "a domain": "//bad.test/" in row.url,
        "a pattern": "private garden" in row.caption,
    }[name]


@dataclass
class World:
    """Recipes and their pool in a folder, and the environment in which the web is reached."""

    folder: Path
    environment: dict[str, str]
    recipes: list[Path] = field(default_factory=list)

    def evenly(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command in a process of its own."""
        command = [sys.executable, "-m", "evenly.flows", *map(str, words)]
        done = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise RuntimeError(
                f"{words[0]} must work; got {done.returncode}: {done.stdout[-800:]}{done.stderr[-1500:]}"
            )
        return done

    def facts(self, *words: object) -> dict[str, Any]:
        """What a command prints with --json."""
        facts: dict[str, Any] = json.loads(self.evenly(*words, "--json").stdout)
        return facts


@contextmanager
def open_world(folder: Path, pool: list[Row]) -> Iterator[World]:
    """Write two recipes of a pool, and serve its pictures and a chat model while the context lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {row.url.partition("://")[2]: row.content for row in pool}
    with ExitStack() as stack:
        port = stack.enter_context(_served(contents))
        chat = stack.enter_context(tiny_server())
        hosts = sorted({address.partition("/")[0] for address in contents})
        connect = ",".join(f"{host}=127.0.0.1:{port}" for host in hosts)
        write_pool(folder, pool)
        model = folder / "model"
        name = f"local-dir:{model if model.exists() else write_clip(model)}"
        world = World(folder, {"EVENLY_CONNECT": connect, "EVENLY_CACHE": str(folder / "cache")})
        world.recipes = [_recipe(folder, number, name, chat.url) for number in ("one", "two")]
        yield world


def write_pool(folder: Path, pool: list[Row]) -> None:
    """Write the pool that the recipes name."""
    lines = (json.dumps({"url": row.url, "text": row.caption, "species": row.label}) for row in pool)
    (folder / "pool.jsonl").write_text("\n".join(lines))


def _recipe(folder: Path, name: str, model: str, chat: str) -> Path:
    (folder / "concepts.txt").write_text("fox\nnumber\nback\ngarden\ncopy\nface\n")
    (folder / "classes.txt").write_text("".join(f"{colour}\n" for colour in COLOURS))
    curate: dict[str, Any] = {
        "text": {"caption_length": {"min_words": 2, "max_words": 40}},
        "match": {"metadata": str(folder / "concepts.txt")},
        "download": {"respect": []},
        "deduplicate": {"exact": True, "perceptual": 12},
        "align": {"keep_top": 1.0},
        "balance": {"t": 500},
    }
    if name == "two":
        learning = {"method": "cosegment", "options": {"compare": "cells", "retrieved": 5}, "learn": 200}
        curate |= {
            "recaption": {"captioners": [{"kind": "retrieved"}], "choose": {"margin": 0.1}},
            "regions": {"texts": str(folder / "classes.txt"), "dense": "stored", **learning},
        }
    recipe = {
        "name": name,
        "seed": 5,
        "sources": [{"kind": "jsonl", "path": str(folder / "pool.jsonl"), "caption": "text", "url": "url"}],
        "labels": {"column": "species", "group": None},
        "curate": curate,
        "features": {"model": model, "batch_size": 16},
    }
    if name == "one":
        listing = {"list": "classes.txt", "methods": ["description"], "adapters": ["gda", "tip"]}
        recipe |= {"classes": [listing], "llm": {"base_url": chat, "model": "tiny"}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@contextmanager
def _served(contents: Mapping[str, bytes]) -> Iterator[int]:
    """A web of pictures on loopback; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = contents.get(f"{self.headers['Host'].partition(':')[0]}{self.path}")
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def build_all(world: World, root: object) -> None:
    """Builds of both recipes, adapters, a refined encoder, an index, reports and two exports."""
    for recipe in world.recipes:
        world.evenly("rebuild", recipe, "--root", root, "--workers", 1)
    refine = ("--rank", 8, "--batch-size", 16, "--epochs", 1, "--out", "mine")
    world.evenly("refine", world.recipes[0], *refine, "--root", root)
    world.evenly("index", "one-latest", "--kind", "binary", "--root", root)
    for build, form in (("one-latest", "webdataset"), ("two-latest", "parquet")):
        world.evenly("export", build, "--to", form, "--root", root)


def needles_of(world: World, root: object, name: str, pool: list[Row]) -> list[Any]:
    """What is to be found of a thing: uids, URLs, captions, hashes of bytes; perceptual hashes that nobody else has."""
    import hashlib

    from evenly.audit.published import PublishedBuild
    from evenly.storage.builds import open_build

    chosen = [row for row in pool if gone(name, row)]
    captions = {row.caption for row in chosen} - {row.caption for row in pool if not gone(name, row)}
    uids, looks, others = list[str](), set[int](), set[int]()
    with _environment(world):
        samples = PublishedBuild(*open_build("one-latest", root=str(root))).samples(["uid", "url", "phash"])
    for pair in samples.to_pylist():
        is_chosen = pair["url"] in {row.url for row in chosen}
        uids += [pair["uid"]] if is_chosen else []
        (looks if is_chosen else others).add(pair.get("phash"))
    assert len(uids) == len(chosen)
    hashes = {hashlib.sha256(row.content).hexdigest() for row in chosen}
    return [*uids, *(row.url for row in chosen), *captions, *hashes, *(looks - others - {None})]


@contextmanager
def _environment(world: World) -> Iterator[None]:
    kept = dict(os.environ)
    os.environ.update(world.environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def hits(root: object, needles: list[Any]) -> tuple[int, int, dict[str, list[str]]]:
    """How many files hold a needle, how many needles they hold in all, and which."""
    with tempfile.TemporaryDirectory() as copy:
        folder = Path(str(root))
        if "://" in str(root):
            _fetch(str(root), Path(copy))
            folder = Path(copy)
        where = decoded_search.search(folder, needles)
    return len(where), sum(map(len, where.values())), where


def _fetch(url: str, folder: Path) -> None:
    """Copy a workspace out of a store."""
    from evenly.storage.stores.object_path import path_at

    place = path_at(url)
    for path in place.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(place)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())


def copy_of(root: str, name: str) -> str:
    """A copy of a workspace beside it, in a folder or a store."""
    other = f"{root}-{name.replace(' ', '-')}"
    if "://" not in root:
        shutil.copytree(root, other)
        return other
    from evenly.storage.stores.object_path import path_at

    with tempfile.TemporaryDirectory() as copy:
        _fetch(root, Path(copy))
        for path in sorted(Path(copy).rglob("*"), key=lambda path: path.suffix != ".tar"):
            if path.is_file():
                (path_at(other).joinpath(*path.relative_to(copy).parts)).write_bytes(path.read_bytes())
    return other


def kills(world: World, words: list[object], number: int, luck: random.Random, longest_s: float) -> tuple[int, int]:
    """Kill -9 a command at drawn moments so often, beginning it again each time; how many kills met it at work."""
    met = 0
    for _ in range(number):
        command = [sys.executable, "-m", "evenly.flows", *map(str, words)]
        process = subprocess.Popen(
            command, env=os.environ | world.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        time.sleep(0.3 + luck.random() * longest_s)
        met += process.poll() is None
        if process.poll() is None:
            os.killpg(process.pid, 9)
        process.wait()
    return number, met


def facts_without_list(world: World, root: str) -> dict[str, Any]:
    """Of the latest build of each recipe: kept uids, and the hashes of the tables of its steps after the first."""
    from evenly.audit.published import PublishedBuild
    from evenly.storage.builds import open_build

    facts = {}
    with _environment(world):
        for name in ("one", "two"):
            build = PublishedBuild(*open_build(name, root=root))
            last = build.manifest["samples"]["last"]
            kept = build.samples(["uid", f"{last}_verdict"], f"{last}_verdict = 'kept'")["uid"].to_pylist()
            tables = {record.name: dict(record.hashes) for record in build.records[1:]}
            facts[name] = {"kept": kept, "tables": tables, "decisions": build.records[0].hashes["decisions"]}
    return facts


def trial(world: World, root: str, name: str, pool: list[Row], *, killed: int, luck: random.Random) -> bool:
    """Take a thing down in a copy of the workspace, and print what the two searches find."""
    place = copy_of(root, name)
    needles = needles_of(world, place, name, pool)
    before = hits(place, needles)
    thing, *options = THINGS[name]
    words = ["forget", thing, *options, "--yes", "--root", place]
    started, met = time.monotonic(), (0, 0)
    if killed:
        met = kills(world, words, killed, luck, 9.0)
    done = world.evenly(*words, check=False)
    seconds = time.monotonic() - started
    after = hits(place, needles)
    proof = world.facts("forget", "--prove", "--root", place)
    verified = [
        world.evenly("verify", f"{recipe}-latest", "--every-image", "--root", place, check=False)
        for recipe in ("one", "two")
    ]
    again = world.evenly(*words, check=False)
    say(
        f"{name}: {len(needles)} needles; second search before {before[1]} in {before[0]} files, after {after[1]} in "
        f"{after[0]}; own proof {proof['hits']} hits in {proof['files']} files; exit {done.returncode}, again "
        f"{again.returncode}; verify {[end.returncode for end in verified]}; {seconds:.0f} s; kills {met}"
    )
    if after[1]:
        say(json.dumps(after[2], indent=1)[:3000])
    for end in (done, *verified):
        if end.returncode:
            say(end.stdout[-1500:] + end.stderr[-1500:])
    never = copy_pool(world, name, pool)
    for recipe in world.recipes:
        world.evenly("rebuild", recipe, "--root", place, "--workers", 1)
    same = facts_without_list(world, place) == never
    say(f"{name}: the rebuild equals that of a pool without it: {same}")
    return (
        not after[1] and not proof["hits"] and not done.returncode and same and not any(e.returncode for e in verified)
    )


def copy_pool(world: World, name: str, pool: list[Row]) -> dict[str, Any]:
    """The builds of a pool that never had a thing, in a new workspace."""
    other = str(world.folder / f"never-{name.replace(' ', '-')}")
    write_pool(world.folder, [row for row in pool if not gone(name, row)])
    try:
        if not Path(other).exists():
            for recipe in world.recipes:
                world.evenly("rebuild", recipe, "--root", other, "--workers", 1)
        return facts_without_list(world, other)
    finally:
        write_pool(world.folder, pool)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=0, help="so many for each thing")
    parser.add_argument("--only", default="", help="things whose name holds this")
    parser.add_argument("--store", action="store_true", help="the workspace in an S3 store")
    parser.add_argument("--server", action="store_true", help="with a Prefect server")
    options = parser.parse_args()
    pool, luck = rows(), random.Random(5)  # noqa: S311 - moments
    with ExitStack() as stack:
        world = stack.enter_context(open_world(options.folder, pool))
        root = str(options.folder / "w")
        if options.server:
            home = {"PREFECT_HOME": str(options.folder / "prefect")}
            world.environment |= home | {"PREFECT_API_URL": stack.enter_context(started_server(home))}
        if options.store:
            address = stack.enter_context(object_store(options.folder))
            make_bucket(address, "forgetting")
            stack.enter_context(reaching(address))
            root = "s3://forgetting/team/w"
        if options.store or not Path(root).exists():
            build_all(world, root)
        names = [name for name in THINGS if options.only in name]
        fine = [trial(world, root, name, pool, killed=options.kills, luck=luck) for name in names]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
