"""Croissant: the Parquet file and a machine-readable card that describes it (MLCommons Croissant 1.1 and RAI 1.0).

Needs `mlcroissant` (extra `croissant`), which builds and validates the card offline.
"""

import json
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from evenly.installing import install_extra
from evenly.storage.exports import parquet
from evenly.storage.exports.content import COLUMNS, About, Content, ExportError, MissingExtraError
from evenly.storage.tables.hashing import file_hash

CARD = "croissant.json"
CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
_KINDS = (
    (pa.types.is_boolean, "BOOL"),
    (pa.types.is_integer, "INTEGER"),
    (pa.types.is_floating, "FLOAT"),
    (pa.types.is_string, "TEXT"),
    (pa.types.is_large_string, "TEXT"),
)


def write_croissant(content: Content, folder: Path) -> dict[str, int]:
    """Write `samples.parquet` as the Parquet export does, and `croissant.json`; counts of rows, columns and fields.

    Columns of numbers, truth values and text become fields; others are in the file only (`columns` minus `fields`).
    The card claims no licence, citation or date: a build knows none. What is told of the build are fields of RAI.
    """
    try:
        import mlcroissant as mlc
    except ImportError:
        raise MissingExtraError(
            "`croissant` must have the package mlcroissant; it is not installed. "
            f"Run `{install_extra('croissant')}`, or choose another format."
        ) from None
    counts = parquet.write_parquet(content, folder)
    schema = content.rows.schema
    fields = [field for column in schema if (field := _field(mlc, column)) is not None]
    plain = f"Image-text pairs: the kept pairs of build {content.name} (seed {content.seed}), by evenly."
    about = content.about
    try:
        card = mlc.Metadata(
            ctx=mlc.Context(conforms_to=CONFORMS_TO[0]),
            conforms_to=list(CONFORMS_TO),
            name=content.name,
            description=plain if about is None else about.description,
            in_language=list(about.languages) if about and about.languages else None,
            **_responsible(about),
            version="1.0.0",
            distribution=[
                mlc.FileObject(
                    id=parquet.FILE,
                    name=parquet.FILE,
                    content_url=parquet.FILE,
                    encoding_formats=["application/x-parquet"],
                    sha256=file_hash(folder / parquet.FILE),
                )
            ],
            record_sets=[mlc.RecordSet(id="samples", name="samples", fields=fields)],
        )
    except mlc.ValidationError as error:
        raise ExportError(f"the Croissant card must be valid; {' '.join(str(error).split())}") from None
    (folder / CARD).write_text(json.dumps(card.to_json(), indent=1) + "\n", encoding="utf-8")
    return {**counts, "fields": len(fields)}


def _responsible(about: About | None) -> dict[str, Any]:
    """Fields of RAI, with dates as mlcroissant takes them."""
    fields = {} if about is None else dict(about.responsible)
    if days := fields.get("data_collection_timeframe"):
        fields["data_collection_timeframe"] = [datetime.fromisoformat(day) for day in days]
    return fields


def _field(mlc: ModuleType, column: pa.Field) -> Any:  # noqa: ANN401 - a type of an optional package
    kind = next((kind for is_kind, kind in _KINDS if is_kind(column.type)), None)
    if kind is None:
        return None
    return mlc.Field(
        id=f"samples/{quote(column.name, safe='')}",
        name=column.name,
        description=COLUMNS.get(column.name, column.name),
        data_types=[getattr(mlc.DataType, kind)],
        source=mlc.Source(file_object=parquet.FILE, extract=mlc.Extract(column=column.name)),
    )
