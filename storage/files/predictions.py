"""Predictions as people read them on: CSV, JSON lines or Parquet, each written in one step."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.storage.errors import InputError
from evenly.storage.records import replace_text, replacing

WRITERS = (".csv", ".jsonl", ".parquet")
TYPES = {
    "name": pa.string(),
    "class": pa.string(),
    "confidence": pa.float64(),
    "top": pa.list_(pa.struct([("class", pa.string()), ("probability", pa.float64())])),
    "explanation": pa.list_(
        pa.struct([("side", pa.string()), ("class", pa.string()), ("text", pa.string()), ("similarity", pa.float64())])
    ),
    "score": pa.float64(),
    "error": pa.string(),
}
"""The columns that a row may have, and their types in Parquet, whatever the rows hold."""


def check_predictions_path(path: Path) -> None:
    """Refuse a file name that tells no format, and a folder."""
    if path.suffix not in WRITERS or path.is_dir():
        actual = f"the folder `{path}`" if path.is_dir() else f"`{path}`"
        raise InputError(f"`--out` must be a file that ends in {', '.join(WRITERS)}; got {actual}. Correct it.")


def write_predictions(path: Path, rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str]) -> None:
    """Write rows of the same `columns`, which are names of TYPES, as the suffix of `path` says.

    In CSV every text is quoted and stands as it is, also one that begins with `=`: names are never changed, and a
    spreadsheet must be told to read them as text. `top` is `class=probability` there, separated by `; `,
    and `explanation` `class: text=similarity`.
    """
    check_predictions_path(path)
    if path.suffix == ".parquet":
        schema = pa.schema([(name, TYPES[name]) for name in columns])
        with replacing(path) as stream:
            pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), stream)
    elif path.suffix == ".jsonl":
        replace_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    else:
        text = io.StringIO(newline="")
        writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(name, row[name]) for name in columns] for row in rows)
        replace_text(path, text.getvalue())


def _cell(name: str, value: Any) -> Any:  # noqa: ANN401 - a value of a row
    if name == "top":
        return "; ".join(f"{choice['class']}={choice['probability']:.4f}" for choice in value)
    if name == "explanation":
        return "; ".join(
            f"{text_score['class']}: {text_score['text']}={text_score['similarity']:.4f}" for text_score in value
        )
    return "" if value is None else value
