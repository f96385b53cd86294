"""The answer to "why": for each pair asked about, its identity and what every step said of it, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

ReplayLabel = Literal["recomputed", "re-checked", "observed", "not replayed"]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What replaying one step for one pair gave.

    label: "recomputed" from the pair alone by a pure function; "re-checked", the stored result of a global step summed
    or compared again; "observed", a recording that cannot be made again; "not replayed".
    agrees: whether what was computed equals what is stored; None where nothing was computed.
    """

    label: ReplayLabel
    agrees: bool | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class StepSight:
    """One step that judged a pair.

    value: the number looked at, and notes what it was held against (a threshold, a count); columns: what the step
    found of the pair; rows: its rows of the step's child tables, by table; twin: uid, url, caption, ended and path of
    the pair that stands for it, where merged; run: key, started, ended, flow_run_id and code of the run.
    """

    step: str
    version: int
    verdict: str
    reason: str
    value: float | None
    rule: Mapping[str, Any]
    notes: Mapping[str, Any]
    model: str | None
    seed: int | None
    columns: Mapping[str, Any]
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    twin: Mapping[str, Any] | None
    run: Mapping[str, Any]
    replay: Replay | None = None


@dataclass(frozen=True, kw_only=True)
class PairHistory:
    """One pair: who it is, how it arrived, what each step said, and which pairs it stands for.

    uid: "" for a pool row from which none can be made. outcome: "kept", or the verdict that ended it; step and reason
    say where, both "" if kept. image: its image_id, and file, offset and size of the bytes where they are still held;
    None where nothing was downloaded. `merged` counts all pairs merged into this one and `merged_examples` lists the
    first of them.
    """

    uid: str
    outcome: str
    step: str
    reason: str
    identity: Mapping[str, Any]
    image: Mapping[str, Any] | None
    arrivals: Sequence[Mapping[str, Any]]
    steps: Sequence[StepSight]
    merged: int
    merged_examples: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """All pairs of a build that were asked about by a uid or a URL."""

    build: str
    asked: str
    pairs: Sequence[PairHistory]

    @property
    def agrees(self) -> bool:
        """False if replaying any step gave something else than what is stored; true where nothing was replayed."""
        replays = [sight.replay for pair in self.pairs for sight in pair.steps]
        return all(replay.agrees is not False for replay in replays if replay is not None)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON-able values."""
        return asdict(self)

    def to_text(self) -> str:
        """All of it as text for a terminal, where nothing that came from the web can act."""
        from evenly.audit.explanation_text import explanation_lines

        return "\n".join("".join(text for text, _ in line) for line in explanation_lines(self))

    def __rich__(self) -> object:
        """The same text with colours, for rich."""
        from evenly.audit.explanation_text import rich_text

        return rich_text(self)
