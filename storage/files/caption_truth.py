"""The truth about captions of a folder of pictures: right ones, wrong ones by kind, long ones (docs/scenes.md)."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenly.storage.errors import InputError, TooLargeError
from evenly.storage.reading.parquet import bounded_table
from evenly.storage.tables.arrow_files import first_line

TRUTH_FILE = "truth.parquet"
_NEEDED = ("sha256", "short_caption")
_COLUMNS = (*_NEEDED, "long_caption", "wrong_captions", "defects")
_DEFECTS = ("scratch", "hole", "missing part")


@dataclass(frozen=True, kw_only=True)
class CaptionTruth:
    """Of a picture: right and wrong captions by kind, each two that differ in one thing, and a long one, or ""."""

    wrong: Mapping[str, tuple[str, str]]
    long: str


def read_caption_truth(path: Path, pictures: Collection[str]) -> dict[str, CaptionTruth]:
    """The truth of those of `pictures`, by the SHA-256 of their bytes, of which a Parquet file has a right caption.

    Columns: sha256, short_caption, and as far as there are any long_caption, wrong_captions (list of kind, caption) and
    defects (list of kind). A defect is said by the right caption, "with a hole", and another by the wrong one. Of
    several rows of a picture the first counts. Raises InputError that names the file.
    """
    try:
        file_columns = set(pq.read_schema(path).names)
        if missing := [name for name in _NEEDED if name not in file_columns]:
            raise InputError(
                f"`{path}` must have the columns {', '.join(_NEEDED)}; it has no `{missing[0]}`. Add it, or take the "
                "file away."
            )
        table = bounded_table(path, [name for name in _COLUMNS if name in file_columns])
        wanted = pc.is_in(table["sha256"], pa.array(sorted(pictures), table["sha256"].type))
        rows = table.filter(wanted).to_pylist()
    except TooLargeError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"`{path}` must be a Parquet file of captions that are known; {first_line(error)}. Write it again, or take "
            "it away."
        ) from None
    truth: dict[str, CaptionTruth] = {}
    for row in rows:
        try:
            if row["short_caption"]:
                long = _text(row.get("long_caption"))
                truth.setdefault(row["sha256"], CaptionTruth(wrong=dict(_wrong(row)), long=long))
        except (TypeError, KeyError) as error:
            raise InputError(
                f"captions of `{path}` must be text, and lists of kind and caption; {error} for `{row['sha256']}`. "
                "Write it again, or take it away."
            ) from None
    return truth


def _wrong(row: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    right = _text(row["short_caption"])
    for wrong_caption in row.get("wrong_captions") or ():
        kind, wrong = _text(wrong_caption["kind"]), _text(wrong_caption["caption"])
        if kind and wrong not in {"", right}:
            yield kind, (right, wrong)
    kinds = {_text(defect["kind"]).replace("_", " ") for defect in row.get("defects") or ()}
    absent = [kind for kind in _DEFECTS if kind not in kinds]
    if len(absent) == len(_DEFECTS) - 1 and len(kinds) == 1:
        drawn = absent[sum(row["sha256"].encode()) % len(absent)]
        yield "defect", (f"{right}, with a {kinds.pop()}", f"{right}, with a {drawn}")


def _text(value: object) -> str:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"got {value!r:.60}")
    return value or ""
