"""Feature rows that people bring along: .npz, .safetensors or Parquet; linear heads on such. Nothing is unpickled."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from evenly.storage.errors import InputError, TooLargeError
from evenly.storage.reading.budget import check_unpacked
from evenly.storage.reading.parquet import bounded_table
from evenly.storage.tables.arrow_files import first_line

FLOATS = ("F16", "F32", "F64")
"""Types of values as a file names them, that numpy has too."""
_HEADER_BYTES = 4_000_000  # a name, type, shape and place for each tensor: room for some 40,000


def open_tensors(path: Path) -> Any:  # noqa: ANN401 - safetensors has no types
    """The open file: `keys()`, and `get_slice(name)` of which rows can be taken. Raises ValueError, OSError."""
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
    stat = path.stat()
    if stat.st_blocks:
        check_unpacked(stat.st_size, path, "Write it without holes.", stored=stat.st_blocks * 512)
    if size > _HEADER_BYTES and stat.st_size > size:
        raise TooLargeError(
            f"the header of `{path}` must have at most {_HEADER_BYTES:,} bytes; got {size:,}. Write fewer tensors."
        )
    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise ValueError(str(error)) from None


ENDINGS = (".npz", ".safetensors", ".parquet")
KEYS = ("features", "vector")  # looked for first; else the only array or column of rows of numbers


@dataclass(frozen=True, kw_only=True)
class FeatureRows:
    """`rows` (n, d) float32 of unit length, finite; `names` (n,): the column `name`, else `row 0` and so on."""

    rows: npt.NDArray[np.float32]
    names: tuple[str, ...]


def is_feature_file(path: Path) -> bool:
    """Whether a path is a file of features: by its ending, and for Parquet by a column of rows of numbers."""
    if path.suffix.lower() not in ENDINGS or not path.is_file():
        return False
    return path.suffix.lower() != ".parquet" or bool(_row_columns(path))


def read_feature_rows(path: Path) -> FeatureRows:
    """Read a file of features, made unit rows; raises InputError that names the file and what is wrong with it."""
    names: list[str] | None = None
    try:
        if path.suffix.lower() == ".parquet":
            rows, names = _parquet_rows(path)
        else:
            rows = _only(path, _npz(path) if path.suffix.lower() == ".npz" else _safetensors(path))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, pa.ArrowException) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"features `{path}` must be readable; {first_line(error)}. Write the file again.") from None
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not len(rows) or not np.isfinite(rows).all() or not lengths.all():
        raise InputError(f"features `{path}` must be finite rows, none of zeros; got others or none. Mend the file.")
    return FeatureRows(rows=rows / lengths, names=tuple(names or (f"row {number}" for number in range(len(rows)))))


def read_linear_head(path: Path) -> tuple[npt.NDArray[np.float64], float]:
    """The weights (d,) and the bias. Raises InputError where they are not there, not finite or of another shape."""
    try:
        file = open_tensors(path)
        kinds = {name: file.get_slice(name) for name in ("weight", "bias") if name in file.keys()}  # noqa: SIM118 - no dict
        if len(kinds) == 2 and all(kind.get_dtype() in FLOATS for kind in kinds.values()):
            weight, bias = (file.get_tensor(name).astype(np.float64).ravel() for name in kinds)
            problem = ""
        else:
            problem = f"it has {', '.join(file.keys()) or 'nothing'}"
    except (OSError, ValueError) as error:
        problem = first_line(error)
    if problem:
        raise InputError(
            f"head `{path}` must hold the tensors weight (1, d) and bias (1,), floats; {problem}. Write it again."
        )
    if len(bias) != 1 or not np.isfinite(weight).all() or not np.isfinite(bias).all():
        raise InputError(f"head `{path}` must hold finite numbers, and one bias; got others. Write it again.")
    return weight, float(bias[0])


def _npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of rows of an archive; by their headers they are few bytes enough."""
    with zipfile.ZipFile(path) as archive:
        check_unpacked(sum(member.file_size for member in archive.infolist()), path, "Write it with `np.savez`.")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    file = open_tensors(path)
    tensors = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no dict
    rows = [name for name, rows in tensors.items() if len(rows.get_shape()) == 2 and rows.get_dtype() in FLOATS]
    chosen = _chosen(path, rows)
    return {chosen: file.get_tensor(chosen)}


def _only(path: Path, arrays: dict[str, np.ndarray]) -> npt.NDArray[np.float32]:
    rows = {name: array for name, array in arrays.items() if array.ndim == 2 and array.dtype.kind == "f"}
    return rows[_chosen(path, list(rows))].astype(np.float32)


def _chosen(path: Path, names: list[str]) -> str:
    chosen = next((name for name in KEYS if name in names), names[0] if len(names) == 1 else None)
    if chosen is None:
        raise InputError(
            f"features `{path}` must hold one array of rows (n, d), or one called `features`; got "
            f"{', '.join(names) or 'none'}. Rename one."
        )
    return chosen


def _row_columns(path: Path) -> list[str]:
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"`{path}` must be a Parquet file; {first_line(error)}. Write it again.") from None
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return [
        field.name
        for field in schema
        if any(is_kind(field.type) for is_kind in kinds) and pa.types.is_floating(field.type.value_type)
    ]


def _parquet_rows(path: Path) -> tuple[npt.NDArray[np.float32], list[str] | None]:
    name = _chosen(path, _row_columns(path))
    table = bounded_table(path, [name, *(["name"] if "name" in pq.read_schema(path).names else [])])
    column = table[name].combine_chunks()
    lengths = set(column.value_lengths().to_pylist()) if table.num_rows else set()
    if len(lengths) != 1 or None in lengths:
        raise InputError(f"`{name}` of `{path}` must hold rows of one length and no nulls; got others. Mend the file.")
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    names = [str(value) for value in table["name"].to_pylist()] if "name" in table.column_names else None
    return flat.reshape(table.num_rows, -1), names
