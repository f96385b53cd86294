"""The balancing of a pool, row by row, as one Parquet file with the rule and its results."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from evenly.storage.matches.stamped import StampedFile, write_stamped

BALANCED = pa.schema(
    [
        ("uid", pa.string()),
        ("p_keep", pa.float64()),
        ("kept", pa.bool_()),
        ("reason", pa.string()),
        ("deciding", pa.int32()),
        ("draw", pa.float64()),
    ]
)


@dataclass(frozen=True, eq=False, kw_only=True)
class BalancedFile(StampedFile):
    """A file that `write_balanced` wrote."""

    key: ClassVar[bytes] = b"evenly.balanced"
    command: ClassVar[str] = "evenly balance"
    option: ClassVar[str] = "out"

    def groups(self) -> Iterator[pa.Table]:
        """The row groups in order: those of the matches. Raises DamagedError where they cannot be read."""
        with self.opened() as file:
            for number in range(file.num_row_groups):
                yield file.read_row_group(number).cast(BALANCED)


def write_balanced(path: Path, tables: Iterable[pa.Table], facts: Callable[[], Mapping[str, Any]]) -> None:
    """Write tables of BALANCED, a row group each, and their facts; the file appears whole."""
    write_stamped(path, BALANCED, ["reason"], tables, (BalancedFile.key, facts))
