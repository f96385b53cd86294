"""The record of a step in the ledger: its identity, its result, where each of its tables lies, and the code that ran.

The version of the code is never part of a content hash.
"""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.keys import one_array
from evenly.storage.errors import ConservationError
from evenly.storage.records import content_hash
from evenly.storage.tables.hashing import Node

FORMAT = 2  # of the tables: raise it where older ones cannot be read, so that their steps run again
VERDICTS = ("kept", "dropped", "failed", "merged")
PARTIAL = "partial"
"""The name of tables that partitions give to a sum over all."""
DECISION_COLUMNS = ("uid", "verdict", "reason", "value", "into")


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """The identity of a step: everything that its result depends on."""

    name: str
    version: int
    rule: Mapping[str, Any]
    inputs: Mapping[str, str]
    model: str | None = None
    seed: int | None = None

    @property
    def key(self) -> str:
        """SHA-256, in hex, of all fields and FORMAT."""
        return content_hash(asdict(self) | {"format": FORMAT})


@dataclass(frozen=True, kw_only=True)
class StepOutput:
    """The result of a step, for all pairs or for those of one partition.

    `decisions` holds DECISION_COLUMNS and any further columns, sorted by uid, one row per input row; None for a step
    that judges no rows. `judged` replaces it for the count where input rows have no uid yet (collect). `partial` is
    what a partition gives to a sum over all: it is no part of the result.
    """

    decisions: pa.Table | None = None
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    judged: pa.Table | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    partial: pa.Table | None = None

    @property
    def all_tables(self) -> dict[str, pa.Table]:
        """The child tables and the decisions, by name."""
        return dict(self.tables) | ({} if self.decisions is None else {"decisions": self.decisions})


@dataclass(frozen=True, kw_only=True)
class TableLayout:
    """Where the rows of a table lie.

    parts: by number of the partition, the digests that name their files; one where the table is not cut, and none of
    a partition that is not known. content: the hash of the columns that are content, in an order that only these
    decide; "" where it is that of the table itself.
    """

    bits: int
    parts: Mapping[str, str]
    content: str = ""

    def digest(self, number: int) -> str | None:
        """The digest of a partition's rows."""
        return self.parts.get(str(number))


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts and notes of a step's rows as a whole, or of those of one partition; fields as in StepRecord."""

    columns: Sequence[str]
    rows_in: int
    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    notes: Mapping[str, Any]
    work: Mapping[str, int]

    @classmethod
    def of(cls, step: str, output: StepOutput, work: Mapping[str, int] | None) -> "Tally":
        """Count the rows of an output; raises ConservationError for verdicts that are none."""
        judged = output.judged if output.judged is not None else output.decisions
        counts, reasons = _count(step, judged)
        rows = 0 if judged is None else judged.num_rows
        return cls(
            columns=_extra_columns(output.decisions),
            rows_in=rows,
            counts=counts,
            reasons=reasons,
            notes=output.notes,
            work=work or {},
        )

    @classmethod
    def together(cls, tallies: "Sequence[Tally]", notes: Mapping[str, Any]) -> "Tally":
        """The sum over partitions; `notes` are those of the whole step beside the first partition's."""
        return cls(
            columns=tallies[0].columns,
            rows_in=sum(tally.rows_in for tally in tallies),
            counts=_summed([tally.counts for tally in tallies]),
            reasons=dict(sorted(_summed([tally.reasons for tally in tallies]).items())),
            notes=dict(tallies[0].notes) | dict(notes),
            work=_summed([tally.work for tally in tallies]),
        )


@dataclass(frozen=True, kw_only=True)
class StoredTable:
    """The rows of a table in one partition, as they are stored.

    digest: names their file. nodes: the largest of the table's nodes within the partition; content: the same of the
    columns that are content, none where these are all columns in the stored order.
    """

    digest: str
    nodes: Sequence[Node]
    content: Sequence[Node] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StoredTable":
        """Read back what `asdict` gave."""
        nodes, content = ([Node(*item) for item in value[name]] for name in ("nodes", "content"))
        return cls(digest=value["digest"], nodes=nodes, content=content)


@dataclass(frozen=True, kw_only=True)
class StoredPart:
    """The result of a step for one partition.

    partial: names the file of what it gives to a sum over all. seconds: how long it took to make.
    """

    tables: Mapping[str, StoredTable]
    tally: Tally
    partial: str | None = None
    seconds: float = 0.0

    @property
    def files(self) -> list[tuple[str, str]]:
        """The name of each table, and the digest that names its file; of the partial too."""
        partials = [] if self.partial is None else [(PARTIAL, self.partial)]
        return [(name, table.digest) for name, table in self.tables.items()] + partials

    @property
    def output_hash(self) -> str:
        """The hash that a step after it depends on, in this partition."""
        return content_hash({"tables": {name: table.digest for name, table in self.tables.items()}})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StoredPart":
        """Read back what `asdict` gave."""
        tables = {name: StoredTable.from_json(table) for name, table in value["tables"].items()}
        return cls(
            tables=tables, tally=Tally(**value["tally"]), partial=value["partial"], seconds=float(value["seconds"])
        )


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One finished step run, as recorded.

    hashes: of each table, over all partitions. layout: where its rows lie. work: rows `computed` and `reused` where an
    earlier run's were taken over, else empty. seconds: of work on all its rows over all processes, as far as this run
    shows; None: not known. Both are no part of any hash.
    """

    key: str
    name: str
    version: int
    rule: Mapping[str, Any]
    inputs: Mapping[str, str]
    model: str | None
    seed: int | None
    output_hash: str
    hashes: Mapping[str, str]
    columns: Sequence[str]
    rows_in: int
    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    notes: Mapping[str, Any]
    code: Mapping[str, Any]
    started: str
    ended: str
    flow_run_id: str | None
    work: Mapping[str, int]
    layout: Mapping[str, TableLayout]
    seconds: float | None = None

    @property
    def spec(self) -> StepSpec:
        """The inputs of the step, from which its key is made."""
        return StepSpec(**{item.name: getattr(self, item.name) for item in fields(StepSpec)})

    @property
    def bits(self) -> int:
        """The number of bits by which the decisions are cut into partitions."""
        return self.layout["decisions"].bits if "decisions" in self.layout else 0

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StepRecord":
        """Read back what `asdict` gave."""
        layout = {name: TableLayout(**item) for name, item in value["layout"].items()}
        return cls(**{item.name: value[item.name] for item in fields(cls)} | {"layout": layout})


def _extra_columns(decisions: pa.Table | None) -> list[str]:
    """The columns that a step gives beside its verdicts."""
    return [] if decisions is None else [name for name in decisions.column_names if name not in DECISION_COLUMNS]


def check_covers(step: str, decisions: pa.Table | None, uids: pa.Array) -> None:
    """Raise ConservationError for decisions that skip, repeat or invent a row, or are not in uid order."""
    if decisions is None or not one_array(decisions["uid"]).equals(uids):
        actual = "no decisions" if decisions is None else f"{decisions.num_rows} rows"
        raise ConservationError(
            f"step `{step}` must give one verdict for each of its {len(uids)} input rows, in uid order; got {actual}. "
            "Nothing was committed."
        )


def _count(step: str, judged: pa.Table | None) -> tuple[dict[str, int], dict[str, int]]:
    """Rows per verdict and per reason.

    Raises ConservationError for verdicts outside VERDICTS and reasons that do not fit them.
    """
    if judged is None:
        return {}, {}
    verdicts = {str(item["values"]): int(item["counts"]) for item in pc.value_counts(judged["verdict"]).to_pylist()}
    unknown = set(verdicts) - set(VERDICTS)
    kept = pc.equal(judged["verdict"], "kept")
    silent = pc.sum(pc.and_(pc.invert(kept), pc.equal(pc.fill_null(judged["reason"], ""), ""))).as_py() or 0
    if unknown or silent:
        raise ConservationError(
            f"step `{step}` must give each row one of {VERDICTS}, with a reason unless kept; "
            f"got {sorted(unknown)} and {silent} rows without a reason. Nothing was committed."
        )
    removed = judged.filter(pc.invert(kept))
    reasons = {str(item["values"]): int(item["counts"]) for item in pc.value_counts(removed["reason"]).to_pylist()}
    return {name: verdicts.get(name, 0) for name in VERDICTS}, dict(sorted(reasons.items()))


def _summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Sums by name, names in their order in the first that has them; those of reasons are sorted by the caller."""
    total: dict[str, int] = {}
    for count in counts:
        for name, number in count.items():
            total[name] = total.get(name, 0) + number
    return total


@cache
def code_version() -> dict[str, Any]:
    """Package version, git commit and whether the working tree differs from it; nulls outside a checkout."""
    try:
        package = version("evenly")
    except PackageNotFoundError:
        package = None
    folder = Path(__file__).parent
    sha = _git(folder, "rev-parse", "HEAD")
    dirty = None if sha is None else bool(_git(folder, "status", "--porcelain"))
    return {"version": package, "git_sha": sha, "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the git of the machine
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
