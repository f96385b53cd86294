"""The balancing of a pool, row by row, as one Parquet file with the rule and its results."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.storage.errors import DamagedError
from evenly.storage.matches.stamped import read_stamp, stamped_writer
from evenly.storage.records import canonical_json, replacing
from evenly.storage.tables.arrow_files import first_line
from evenly.storage.tables.block_sums import PARQUET_MARK, append_sums, open_checked

SCHEMA = 1
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
_KEY = b"evenly.balanced"


@dataclass(frozen=True, eq=False, kw_only=True)
class BalancedFile:
    """A file that `write_balanced` wrote; facts: what it says of itself."""

    path: Path
    facts: Mapping[str, Any]

    @classmethod
    def at(cls, path: Path) -> "BalancedFile":
        """Open `path`. Raises InputError where it is no such file."""
        facts = read_stamp(path, _KEY, SCHEMA, field="out", command="evenly balance")
        return cls(path=path, facts=facts)

    def groups(self) -> Iterator[pa.Table]:
        """The row groups in order: those of the matches. Raises DamagedError where they cannot be read."""
        try:
            with open_checked(self.path, "Remove it, and balance again.") as source, pq.ParquetFile(source) as file:
                for number in range(file.num_row_groups):
                    yield file.read_row_group(number).cast(BALANCED)
        except (OSError, ValueError) as error:  # pyarrow's errors are among them
            raise DamagedError(f"`{self.path}` must be readable; {first_line(error)}. Balance again.") from None


def write_balanced(path: Path, tables: Iterable[pa.Table], facts: Callable[[], Mapping[str, Any]]) -> None:
    """Write tables of BALANCED, a row group each, then `facts`, asked for at the end; the file appears whole."""
    with replacing(path) as stream:
        with stamped_writer(stream, BALANCED, ["reason"]) as writer:
            for table in tables:
                writer.write_table(table)
            writer.add_key_value_metadata({**PARQUET_MARK, _KEY: canonical_json({**facts(), "schema": SCHEMA})})
        append_sums(stream)
