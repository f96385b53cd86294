"""Finished runs of a leaderboard, one small JSON record each, so that an interrupted one goes on where it stopped."""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.storage.records import content_hash, create_record, read_record

Booleans = npt.NDArray[np.bool_]


class LeaderboardRuns:
    """The runs of one leaderboard: `key` names all that its numbers depend on."""

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self.folder = folder / content_hash(key)[:32]

    def all(self) -> Iterator[tuple[dict[str, Any], Booleans]]:
        """Each stored run: its row, and whether each test row (n,) was predicted right."""
        for path in sorted(self.folder.glob("*.json")):
            record = read_record(path)
            bits = np.frombuffer(base64.b64decode(record["correct"]), dtype=np.uint8)
            yield record["row"], np.unpackbits(bits, count=record["n"]).astype(bool)

    def add(self, row: Mapping[str, Any], correct: Booleans) -> None:
        """Store a run, durably; one of the same name, texts, shots and seed that is there already stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        bits = base64.b64encode(np.packbits(correct).tobytes()).decode()
        name = content_hash([row[field] for field in ("name", "texts", "shots", "seed")])[:32]
        create_record(self.folder / f"{name}.json", {"row": dict(row), "n": len(correct), "correct": bits})
