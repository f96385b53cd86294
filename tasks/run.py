"""The run, which all its steps share: where things lie, the seed, how progress is reported, work on each partition.

Nothing in here but the seed enters a key: the same recipe gives the same build in another folder, with other workers.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

import pyarrow as pa
from annotated_types import Ge, Le

from evenly.curation.encoder_name import EncoderName
from evenly.descriptions.chat.endpoint import Payment
from evenly.features.encoders.engines import EngineName, check_onnx_fits
from evenly.features.pictures.decoded import Resizer
from evenly.features.pictures.views import ViewRule
from evenly.features.texts.tokens import LongTexts
from evenly.storage.errors import InputError
from evenly.storage.files.code import Code
from evenly.storage.files.identities import default_cache
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.pools.source import LabelFile, PoolSource
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.tables.arrow_files import RecentTables
from evenly.storage.tables.partitions import ALL, Partition
from evenly.storage.web.rule import Retry
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress

CONNECT_VARIABLE = "EVENLY_CONNECT"
EXCHANGE_VARIABLE = "EVENLY_EXCHANGE"
_RAY_ADDRESS = re.compile(r"auto|(ray://)?([\w.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")


def default_connect() -> dict[str, str]:
    """Hosts that are reached elsewhere: EVENLY_CONNECT, as `host=address:port,...`, like curl's --connect-to.

    It is the only way to an address that is not public.
    """
    pairs = (pair.partition("=") for pair in os.environ.get(CONNECT_VARIABLE, "").split(",") if pair.strip())
    return {host.strip(): address.strip() for host, _, address in pairs}


def default_exchange() -> Path | None:
    """The folder of EVENLY_EXCHANGE, for rows on their way to another cut: one that all machines of a run share."""
    folder = os.environ.get(EXCHANGE_VARIABLE)
    return Path(folder).expanduser() if folder else None


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """What works on partitions: worker processes of this machine (`local`), or the workers of a Ray cluster (`ray`).

    address: where the cluster is; None for one that is started here and ends with the run.
    """

    name: Literal["local", "ray"] = "local"
    address: str | None = None

    def __str__(self) -> str:
        return self.name if self.address is None else f"{self.name} at {self.address}"


def read_engine(value: object) -> EngineChoice:
    """The engine that a recipe or an option names, such as `local`, `ray`, `ray://host:port` or `{ray: host:port}`.

    Raises ValueError, whose text begins with what it must be.
    """
    name = value.get("ray") if isinstance(value, Mapping) and set(value) == {"ray"} else value
    if value == "local" or isinstance(value, EngineChoice):
        return value if isinstance(value, EngineChoice) else EngineChoice()
    if name == "ray":
        return EngineChoice(name="ray")
    if isinstance(name, str) and _RAY_ADDRESS.fullmatch(name):
        return EngineChoice(name="ray", address=name)
    raise ValueError(
        f"must be local, ray (a cluster of this machine) or the address of a Ray cluster: auto, HOST:PORT or "
        f"ray://HOST:PORT; got `{name}`"
    )


Precision = Literal["fp32", "bf16", "fp16"]
"""In what numbers a model computes."""


@dataclass(frozen=True, kw_only=True)
class EncoderChoice(EncoderName):
    """An encoder by name, and what else its identity depends on; `threads` and a GPU's number change no bit.

    refine: a refined encoder of the workspace, by name, whose heads are set on this one. Without a `device` it is a GPU
    of CUDA where there is one, else the processor. Without a `batch_size` it is 16 for a convolutional model on a
    processor, else 32. engine: runs the picture tower.
    """

    model: str = "embedded"
    batch_size: Annotated[int, Ge(1), Le(4096)] | None = None
    precision: Precision = "fp32"
    resize: Resizer = "pillow"
    long_texts: LongTexts = "cut"
    refine: str | None = None
    device: str | None = None
    threads: Annotated[int, Ge(1)] | None = None
    engine: EngineName = "torch"

    def __post_init__(self) -> None:
        if self.engine == "onnxruntime":
            check_onnx_fits(precision=self.precision, device=self.device)

    @property
    def numbers(self) -> dict[str, Any]:
        """The fields beside its name, and those of a refinement, that its rows depend on, as cards name them."""
        of_engine = {} if self.engine == "torch" else {"engine": self.engine}
        plain = ("batch_size", "precision", "resize", "long_texts")
        return {**{name: getattr(self, name) for name in plain}, **of_engine}


@dataclass(frozen=True, kw_only=True)
class SecondChoice:
    """An image-only encoder beside the main one: `embedded`, or a model by name."""

    model: str = "embedded"
    pretrained: str | None = None


@dataclass(frozen=True, kw_only=True)
class LabelColumns:
    """Columns of the pool that hold the class of a picture and, where named, its group."""

    label: str
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run in one workspace.

    folder: what relative paths are relative to, that of the recipe; the working folder where there is no recipe.
    retry: the failed downloads that are asked again, by a time that is one for all workers; asked_again: how many were,
    by the reason for which they had failed, counted in the process that runs the steps.
    bits: the number of bits by which tables of pairs are cut into partitions. pairs: about how many all of them hold;
    None: not known. part: the partition whose rows are read.
    encoder_identity: of the encoder, where who gives out the work knows it: features are then looked up without loading
    it. stores_cells: whether rows of cells are stored wherever pictures are encoded. scorers: code of users, by the
    name of its value. only: the uids that a step judges where an earlier run judged the others. recent: what the ledger
    need not read. shared: the folder of rows on their way to another cut, where the machines of a run share no
    workspace folder.
    """

    workspace: Workspace
    seed: int
    folder: Path = Path()
    cache: Path = field(default_factory=default_cache)
    connect: Mapping[str, str] = field(default_factory=default_connect)
    processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    engine: EngineChoice = EngineChoice()
    shared: Path | None = field(default_factory=default_exchange)
    threads: int = 32
    retry: Retry | None = None
    asked_again: Counter[str] = field(default_factory=Counter)
    encoder: EncoderChoice = EncoderChoice()
    encoder_identity: str | None = None
    second: SecondChoice | None = None
    views: ViewRule | None = None
    stores_cells: bool = False
    payment: Payment = field(default_factory=Payment)
    sources: tuple[PoolSource, ...] = ()
    scorers: Mapping[str, Code] = field(default_factory=dict)
    labels: LabelFile | LabelColumns | None = None
    progress: Progress = field(default_factory=Progress)
    bits: int = 0
    pairs: int | None = None
    part: Partition = ALL
    only: pa.Array | None = None
    recent: RecentTables = field(default_factory=RecentTables)

    @property
    def ledger(self) -> Ledger:
        """The ledger of the workspace."""
        return Ledger(self.workspace, only=self.only, recent=self.recent, part=self.part)

    @property
    def exchange(self) -> Path:
        """Rows on their way to another cut: in the workspace, or in the cache where that is in an object store.

        In the folder of EVENLY_EXCHANGE, where that is set.
        """
        if self.shared is not None:
            return self.shared
        is_stored = isinstance(self.workspace.root, ObjectPath)
        return self.cache / "exchange" if is_stored else self.workspace.exchange

    def locate(self, path: str) -> str:
        """A path on this machine, as `expand` gives it. Raises InputError for a URL."""
        if "://" in path:
            raise InputError(
                f"paths in a recipe must be of this machine; got `{path}`. Object stores and web addresses are not "
                "supported: mount it, or copy it here."
            )
        return self.expand(path)

    def expand(self, path: str) -> str:
        """`path`, which may be a URL, with the workspace's folder for `{root}` and the cache's for `{cache}`.

        A relative path is one from `folder`.
        """
        place = path.replace("{root}", str(self.workspace.root)).replace("{cache}", str(self.cache.absolute()))
        return place if "://" in place else str(self.folder / Path(place).expanduser())


Records = Sequence[StepRecord]
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
WorkT = TypeVar("WorkT", bound=Callable[..., Any])


def with_model(function: WorkT) -> WorkT:
    """`function`, marked as one that loads an encoder: where workers have GPUs, it is given one."""
    function.uses_model = True  # type: ignore[attr-defined] # read by uses_model
    return function


def uses_model(function: object) -> bool:
    """Whether a function is marked by `with_model`, or is made by `partial` of one that is, or with one or several."""
    if isinstance(function, partial):
        return any(map(uses_model, (function.func, *function.args, *function.keywords.values())))
    if isinstance(function, list | tuple):
        return any(map(uses_model, function))
    return bool(getattr(function, "uses_model", False))


class Each(Protocol):
    """Runs a function for every partition, where workers are."""

    @property
    def n_workers(self) -> int:
        """The number of workers at a time."""

    def partitions(self, title: str, function: Callable[[Run], ResultT]) -> list[ResultT]:
        """The result of `function` for the run of each partition, in their order."""

    def items(self, title: str, function: Callable[[Run, ItemT], ResultT], items: Sequence[ItemT]) -> Iterator[ResultT]:
        """What `function` gives for each of `items`, with the run of all pairs, in their order."""


@dataclass(frozen=True, kw_only=True)
class EachLedger:
    """Runs a function of ledgers for every partition, where workers are."""

    engine: Each

    def __call__(self, title: str, function: Callable[[Ledger], ResultT]) -> list[ResultT]:
        """What `function` gives of the ledger of each partition, in their order."""
        return self.engine.partitions(title, partial(_of_ledger, function))


def _of_ledger(function: Callable[[Ledger], ResultT], run: Run) -> ResultT:
    return function(run.ledger)


def exchange_of(workspace: Workspace) -> Path:
    """Where rows of runs in this workspace are on their way to another cut."""
    return Run(workspace=workspace, seed=0).exchange
