"""Limits made at a real Prefect server, kept by downloads in several processes and by requests to an endpoint."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from evenly.curation.reservations.rule import DownloadRule
from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.flows.describe_classes import describe_classes
from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.storage.chat.requests import Requests
from evenly.storage.errors import LimitError
from evenly.storage.web.download import DownloadWorkers, FailureRule
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress
from evenly.tasks.server import limits as module
from evenly.tasks.server.limits import HostLimit, SharedLimits, limits_of
from tests.chat_server import tiny_server
from tests.storage.web.fetched import download_images

HOST = "pictures.example.org"


@flow(persist_result=False)
def limits_in_a_run(kind: str) -> SharedLimits | None:
    return limits_of(kind, Progress(quiet=True))  # type: ignore[arg-type]


@pytest.fixture
def limit(prefect_server: None) -> Iterator[Callable[..., None]]:  # noqa: ARG001 - it is there while this lasts
    """Makes a limit by its name; all are gone afterwards."""
    names = []
    with get_client(sync_client=True) as client:

        def make(name: str, places: int, **more: float) -> None:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=places, **more))
            names.append(name)

        yield make
        for name in names:
            with suppress(ObjectNotFound):
                client.delete_global_concurrency_limit_by_name(name)


class Site:
    """A web site that notes how many requests are under way at a time."""

    def __init__(self) -> None:
        self.lock, self.running, self.most, self.count = threading.Lock(), 0, 0, 0

    @contextmanager
    def served(self) -> Iterator[str]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with site.lock:
                    site.running, site.count = site.running + 1, site.count + 1
                    site.most = max(site.most, site.running)
                time.sleep(0.05)
                with site.lock:
                    site.running -= 1
                self.send_error(404)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            yield f"127.0.0.1:{server.server_port}"
            server.shutdown()


def fetch(address: str, folder: Path, limits: SharedLimits | None) -> None:
    urls = [f"http://{HOST}/{number}.jpg" for number in range(200)]
    workers = DownloadWorkers(processes=2, threads=8, limits=limits)
    rule = DownloadRule(respect=(), retries=0)
    failures = FailureRule(tolerate={"http_404"})
    download_images(urls, rule, folder=folder, connect={HOST: address}, workers=workers, failures=failures)


@pytest.mark.slow
@pytest.mark.usefixtures("watched")
def test_all_processes_of_a_download_keep_the_limit_of_a_host(limit, tmp_path):
    limit(f"evenly-web:{HOST}", 2)
    site = Site()
    with site.served() as address:
        fetch(address, tmp_path / "limited", limits_in_a_run("web"))
        assert site.count == 200
        assert site.most <= 2
        fetch(address, tmp_path / "free", None)
        assert site.most > 2
    with get_client(sync_client=True) as client:
        assert client.read_global_concurrency_limit_by_name(f"evenly-web:{HOST}").active_slots == 0


@pytest.mark.usefixtures("watched")
def test_two_clients_of_an_endpoint_keep_its_limit_together(limit, tmp_path):
    with tiny_server() as server:
        server.answer = lambda _request, _before: replace(server.good(), delay_s=0.05)
        limit(f"evenly-chat:{server.endpoint.host}", 2)
        limits = limits_in_a_run("chat")
        store = Requests(Workspace.at(tmp_path))
        clients = [ChatClient(server.endpoint, store=store, concurrency=4, limits=limits) for _ in range(2)]

        async def ask(client: ChatClient, name: str) -> None:
            async with client:
                questions = [f"{name} {number}" for number in range(10)]
                await asyncio.gather(
                    *(client.ask(ChatRequest(messages=(Message(role="user", content=text),))) for text in questions)
                )

        async def both() -> None:
            await asyncio.gather(*(ask(client, name) for client, name in zip(clients, "ab", strict=True)))

        asyncio.run(both())
        assert len(server.requests) == 20
        assert server.most_running <= 2
        with get_client(sync_client=True) as client:
            assert client.read_global_concurrency_limit_by_name(f"evenly-chat:{server.endpoint.host}").active_slots == 0


@pytest.mark.slow
@pytest.mark.usefixtures("watched")
def test_the_download_of_a_rebuild_keeps_the_limit(limit, recipe, tmp_path, monkeypatch):
    limit(f"evenly-web:{HOST}", 1)
    rows = {"url": [f"http://{HOST}/{number}.jpg" for number in range(12)], "text": ["a bird"] * 12}
    pq.write_table(pa.table(rows), tmp_path / "urls.parquet")
    sources = [{"kind": "parquet", "path": str(tmp_path / "urls.parquet"), "caption": "text"}]
    curate = {"download": {"respect": [], "retries": 0}, "deduplicate": {}}
    site = Site()
    with site.served() as address:
        monkeypatch.setenv("EVENLY_CONNECT", f"{HOST}={address}")
        path = recipe(1, sources=sources, curate=curate)
        state = rebuild_dataset(recipe=path, root=str(tmp_path / "w"), quiet=True, return_state=True)
    assert "must keep at least one pair" in state.message
    assert (site.count, site.most) == (12, 1)


@pytest.mark.usefixtures("watched")
def test_the_description_of_a_list_keeps_the_limit(limit, tmp_path):
    with tiny_server() as server:
        server.answer = lambda _request, _before: replace(server.good(), delay_s=0.05)
        limit(f"evenly-chat:{server.endpoint.host}", 1)
        describe_classes(
            name="cats", text="lion\ntiger\nlynx\n", methods=["description"], base_url=server.url, model="tiny",
            root=str(tmp_path / "w"), quiet=True,
        )  # fmt: skip
        assert len(server.requests) > 2
        assert server.most_running == 1


@pytest.mark.usefixtures("watched")
def test_a_limit_with_a_decay_says_how_many_leave_in_a_second(limit):
    limit("evenly-web:slow.example.org", 2, slot_decay_per_second=2.0)
    limits = limits_in_a_run("web")
    started, left = time.monotonic(), 0
    while left < 5:
        answer = limits.ask("slow.example.org")
        if callable(answer):
            answer()
            left += 1
        else:
            time.sleep(answer)
    assert time.monotonic() - started > 1.0


@pytest.mark.usefixtures("watched")
def test_without_a_limit_of_a_host_the_server_is_not_asked(limit):
    assert limits_in_a_run("web") is None
    limit("evenly-web:other.example.org", 1)
    limit("evenly-web:off.example.org", 1, active=False)
    limits = limits_in_a_run("web")
    assert set(limits.hosts) == {"other.example.org"}
    asked = SharedLimits(url="http://127.0.0.1:9/api", hosts=limits.hosts)
    assert callable(asked.ask("pictures.example.org"))
    assert limits_in_a_run("chat") is None


@pytest.mark.usefixtures("prefect_server")
def test_a_temporary_server_limits_nothing(limit):
    limit("evenly-web:other.example.org", 1)
    assert limits_in_a_run("web") is None
    assert limits_of("web", Progress(quiet=True)) is None


def test_a_server_that_went_away_is_asked_again_and_then_ends_the_run_in_one_line(monkeypatch):
    limits = SharedLimits(url="http://127.0.0.1:9/api", hosts={HOST: HostLimit(f"evenly-web:{HOST}", 1, 0.0)})
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        assert limits.ask(HOST) == 5.0
        monkeypatch.setattr(module, "_PATIENCE_S", -1.0)
        monkeypatch.setattr(module, "_TROUBLED_POLL_S", 0.0)
        module._tally_of(limits.url, f"evenly-web:{HOST}").closed_until = 0.0
        for _ in range(2):  # a place that was not had is not counted
            with pytest.raises(LimitError, match=r"must answer for its limit `evenly-web:pictures.example.org`"):
                limits.ask(HOST)
