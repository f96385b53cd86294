"""A whole rebuild for tests that read, and copies of it for tests that change things."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from evenly.storage.ledger import StepRecord
from evenly.storage.workspace import Workspace
from evenly.tasks.run import Run
from tests.tasks.whole_rebuild import ColourWords, open_run, publish, rows, run_steps


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """A finished rebuild: the run, the records of its steps, and the manifest."""

    run: Run
    records: tuple[StepRecord, ...]
    manifest: dict[str, Any]

    def record(self, name: str) -> StepRecord:
        """The record of a step."""
        return next(record for record in self.records if record.name == name)


_LOAD = "evenly.tasks.encoders._load"


@contextmanager
def encoding_colours() -> Iterator[None]:
    """Runs have the encoder of colours; only so long, for tests of other folders run in the same process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_LOAD, lambda _choice, _cache: ColourWords())
        yield


@pytest.fixture
def colour_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of a test have the encoder of colours; undone in turn with what else the test replaces."""
    monkeypatch.setattr(_LOAD, lambda _choice, _cache: ColourWords())


@pytest.fixture(scope="session")
def rebuilt_once(tmp_path_factory: pytest.TempPathFactory) -> Rebuilt:
    """The whole rebuild."""
    with encoding_colours():
        run = open_run(tmp_path_factory.mktemp("rebuilt") / "w", rows())
        records = run_steps(run)
        return Rebuilt(run=run, records=records, manifest=publish(run, records))


@pytest.fixture
def rebuilt(rebuilt_once: Rebuilt, colour_words: None) -> Rebuilt:  # noqa: ARG001 - patches
    """The whole rebuild, for all tests that change nothing."""
    return rebuilt_once


@pytest.fixture
def copied(rebuilt: Rebuilt, tmp_path: Path) -> Callable[[], Rebuilt]:
    """Make a copy of the whole rebuild, whose pool stays where it is."""

    def copy() -> Rebuilt:
        root = tmp_path / "copy"
        shutil.copytree(rebuilt.run.workspace.root, root)
        return replace(rebuilt, run=replace(rebuilt.run, workspace=Workspace.at(root)))

    return copy
