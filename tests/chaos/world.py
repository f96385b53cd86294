"""What the commands of `make chaos` run on: a small web, a chat server, a recipe; and what they make undisturbed."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from evenly.demo.make import make_demo
from evenly.demo.pictures.openmoji import list_codes
from evenly.demo.web import loopback_web
from tests.chaos.command import Command
from tests.chaos.relay import Relay, relay
from tests.chaos.store import Store, chaos_store
from tests.chaos.timeline import Timeline, watch
from tests.chaos.workspace import Names
from tests.chat_server import TinyServer, tiny_server
from tests.flows.conftest import recipe_for

_CLASSES = ("person", "flag", "mammal", "motor vehicle", "electronic device", "musical instrument")
_THINGS = 20  # classes without pictures, which are described only
_PATIENCE_S = 120  # with our own web, so that no download fails for a machine that is busy
_HANGS_AFTER = 5  # times what an undisturbed run takes
_REPLY_S = 0.15  # so that a kill meets requests in flight
_PRICES = {"prompt_usd_per_million": 1.0, "completion_usd_per_million": 4.0, "budget_usd": 5.0}


@dataclass(frozen=True)
class Reference:
    """What an undisturbed run made: its facts, files, size on a disk of 4 KB blocks, and what it asked for."""

    facts: Mapping[str, Any]
    names: Names
    temporary: frozenset[str]
    size: int
    urls: Counter[str]
    requests: int
    timeline: Timeline


@dataclass(frozen=True)
class Way:
    """How the command is run: into the store, cut into partitions of so many pairs, with more options."""

    name: str
    in_store: bool = False
    most_rows: int = 0
    options: tuple[str, ...] = ()


PLAIN = Way("plain")


@dataclass
class World:
    """The recipe, servers and environment that all trials share; one command runs in it at a time."""

    folder: Path
    recipe: Path
    web: Relay
    chat: Relay
    tiny: TinyServer
    environment: dict[str, str]
    stack: ExitStack
    _store: Store | None = None
    _references: dict[str, Reference] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """An object store, started when it is first asked for."""
        if self._store is None:
            self._store = self.stack.enter_context(chaos_store(self.folder / "store"))
        return self._store

    def reference_of(self, way: Way, reference: Reference) -> Reference:
        """What an undisturbed run in another way makes, made once: the facts of `reference`, other files."""
        if way.name not in self._references:
            folder = self.folder / f"reference-{way.name}"
            self.mend()
            made = _undisturbed(self, folder, way)
            if made.facts != reference.facts:
                raise RuntimeError(f"a build of {way.name} must be the plain one; got {made.facts}, {reference.facts}")
            self._references[way.name] = made
        return self._references[way.name]

    def good(self, request: Mapping[str, Any], before: int) -> Any:  # noqa: ANN401 - an Answer
        """What the chat server says on a good day."""
        del request, before
        return replace(TinyServer.good(), delay_s=_REPLY_S)

    def mend(self) -> None:
        """All servers there, quick and well."""
        for server in (self.web, self.chat):
            server.come()
            server.delay_s = 0.0
        if self._store is not None:
            self._store.relay.mend()
        self.tiny.answer = self.good

    def forget(self) -> None:
        """Count from nothing again."""
        self.web.urls.clear()
        self.tiny.requests.clear()
        self.tiny.seen.clear()

    def arguments(self, root: str) -> list[str]:
        """The command that is disturbed: all steps of a rebuild, descriptions and adapters."""
        return ["rebuild", str(self.recipe), "--root", root, "--json"]

    def home(self, folder: Path) -> dict[str, str]:
        """The environment of the commands of one trial: temporary files and Prefect's database are its own."""
        (folder / "tmp").mkdir(parents=True)
        template = self.folder / "prefect"
        if template.exists():
            shutil.copytree(template, folder / "prefect")
        return self.environment | {"TMPDIR": str(folder / "tmp"), "PREFECT_HOME": str(folder / "prefect")}


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    """Make the web and the recipe in `folder`, and serve them while the context lasts."""
    make_demo(folder / "web", codes=list_codes()[::20])
    with ExitStack() as stack:
        connect = stack.enter_context(loopback_web(folder / "web"))
        served = Counter(connect.values()).most_common(1)[0][0]
        web = stack.enter_context(relay(served))
        tiny = stack.enter_context(tiny_server())
        chat = stack.enter_context(relay(tiny.url.removeprefix("http://").removesuffix("/v1")))
        places = {host: f"127.0.0.1:{web.port}" if at == served else at for host, at in connect.items()}
        kept = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        world = World(
            folder=folder,
            recipe=folder / "chaos.yaml",
            web=web,
            chat=chat,
            tiny=tiny,
            environment=kept | {"EVENLY_CONNECT": ",".join(f"{host}={place}" for host, place in places.items())},
            stack=stack,
        )
        world.recipe.write_text(yaml.safe_dump(_recipe(folder, chat.port)))
        world.mend()
        yield world


def _recipe(folder: Path, port: int) -> dict[str, Any]:
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in _CLASSES))
    (folder / "things.txt").write_text("".join(f"thing {number}\n" for number in range(_THINGS)))
    listings = [
        {"list": "classes.txt", "methods": ["description"], "adapters": ["gda", "tip"]},
        {"list": "things.txt", "methods": ["description"], "adapters": []},
    ]
    endpoint = {"base_url": f"http://127.0.0.1:{port}/v1", "model": "tiny", **_PRICES}
    recipe = recipe_for(folder / "web") | {"name": "chaos", "classes": listings, "llm": endpoint}
    recipe["curate"]["download"]["timeout_s"] = _PATIENCE_S
    recipe["curate"]["regions"] = {"texts": "classes.txt", "dense": "stored"}
    return recipe


def make_reference(world: World) -> Reference:
    """Run undisturbed twice, so that models and compiled code are there and it is known which names differ."""
    Command.longest_s = 1800.0  # the first also downloads models and compiles, maybe on a busy machine
    first = _undisturbed(world, world.folder / "warm-up")
    if (home := world.folder / "warm-up" / "prefect").is_dir():  # commands load Prefect only where it is set up
        shutil.copytree(home, world.folder / "prefect")
    second = _undisturbed(world, world.folder / "reference")
    whole_s = sum(phase.seconds for phase in second.timeline.phases)
    Command.longest_s = max(300.0, _HANGS_AFTER * whole_s)
    return replace(second, names=second.names.with_stable(first.names))


def _undisturbed(world: World, folder: Path, way: Way = PLAIN) -> Reference:
    """What a run makes in `folder`."""
    place = world.store.url(folder.name) if way.in_store else str(folder / "root")
    home = world.home(folder) | (world.store.environment if way.in_store else {})
    world.forget()
    command = Command.start([*world.arguments(place), *way.options], home, folder, most_rows=way.most_rows)
    timeline = watch(command)
    end = command.end()
    if end.status != 0 or end.left:
        raise RuntimeError(f"an undisturbed run must end well; got {end.status}, {end.left}:\n{end.err}")
    if way.in_store:
        world.store.copy(folder.name, folder / "root")
    sizes = (path.stat().st_size for path in (folder / "root").rglob("*") if path.is_file())
    return Reference(
        facts=facts_of(end.out, place),
        names=Names.of(folder / "root"),
        temporary=frozenset(Names.of(folder / "tmp").shapes),
        size=sum(-(-size // 4096) * 4096 for size in sizes),
        urls=Counter(world.web.urls),
        requests=len(world.tiny.requests),
        timeline=timeline,
    )


def facts_of(out: str, place: str) -> dict[str, Any]:
    """The facts that a command printed, wherever its workspace lies."""
    facts: dict[str, Any] = json.loads(out.replace(place, "ROOT"))
    return facts
