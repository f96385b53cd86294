"""What every step of one run shares: where things lie, the seed, how wide to work, how to report progress.

Nothing in here but the seed enters a key: the same recipe gives the same build in another folder, with other workers.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from evenly.storage.errors import InputError
from evenly.storage.ledger import Ledger
from evenly.storage.pools.source import LabelFile, PoolSource
from evenly.storage.tables.recent import RecentTables
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress

CACHE_VARIABLE = "EVENLY_CACHE"
CONNECT_VARIABLE = "EVENLY_CONNECT"


def default_cache() -> Path:
    """Where assembled models and the demo's web lie: EVENLY_CACHE, else `evenly` in XDG_CACHE_HOME or `~/.cache`."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(os.environ.get(CACHE_VARIABLE) or caches / "evenly").expanduser()


def default_connect() -> dict[str, str]:
    """Hosts that are reached elsewhere: EVENLY_CONNECT, as `host=address:port,...`, like curl's --connect-to.

    It is the only way to an address that is not public.
    """
    pairs = (pair.partition("=") for pair in os.environ.get(CONNECT_VARIABLE, "").split(",") if pair.strip())
    return {host.strip(): address.strip() for host, _, address in pairs}


@dataclass(frozen=True, kw_only=True)
class EncoderChoice:
    """An open_clip model by name, or `embedded`, and what else its identity depends on."""

    model: str = "embedded"
    pretrained: str | None = None
    batch_size: int = 32
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class SecondChoice:
    """An image-only encoder beside the main one: `embedded`, or a model by name."""

    model: str = "embedded"
    pretrained: str | None = None


@dataclass(frozen=True, kw_only=True)
class Payment:
    """How requests to a language model are paid: prices in US dollars for a million tokens, and a limit per class list.

    `batch` sends them through the endpoint's Batch API.
    """

    budget_usd: float | None = None
    prompt_usd_per_million: float = 0.0
    completion_usd_per_million: float = 0.0
    batch: bool = False


@dataclass(frozen=True, kw_only=True)
class LabelColumns:
    """Columns of the pool that hold the class of a picture and, where named, its group."""

    label: str
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run in one workspace.

    only: the uids that a step judges where an earlier run judged the others. recent: what the ledger need not read.
    """

    workspace: Workspace
    seed: int
    cache: Path = field(default_factory=default_cache)
    connect: Mapping[str, str] = field(default_factory=default_connect)
    processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    threads: int = 32
    retry_failed: bool = False
    encoder: EncoderChoice = EncoderChoice()
    second: SecondChoice | None = None
    payment: Payment = Payment()
    sources: tuple[PoolSource, ...] = ()
    labels: LabelFile | LabelColumns | None = None
    progress: Progress = field(default_factory=Progress)
    only: pa.Array | None = None
    recent: RecentTables = field(default_factory=RecentTables)

    @property
    def ledger(self) -> Ledger:
        """The ledger of the workspace."""
        return Ledger(self.workspace, only=self.only, recent=self.recent)

    def locate(self, path: str) -> str:
        """A path on this machine, as `expand` gives it. Raises InputError for a URL."""
        if "://" in path:
            raise InputError(
                f"paths in a recipe must be of this machine; got `{path}`. Object stores and web addresses are not "
                "supported: mount it, or copy it here."
            )
        return self.expand(path)

    def expand(self, path: str) -> str:
        """`path`, which may be a URL, with the workspace's folder for `{root}` and the cache's for `{cache}`."""
        return path.replace("{root}", str(self.workspace.root)).replace("{cache}", str(self.cache))
