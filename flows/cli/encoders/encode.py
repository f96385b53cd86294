"""`evenly encode`: pictures and texts of one's own become unit rows in a file, without a recipe."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evenly.features import to_unit_rows
from evenly.flows.cli.adapters.own_features.folders import check_out
from evenly.flows.cli.errors import UsageError
from evenly.storage.errors import InputError
from evenly.storage.files.arrays import write_arrays
from evenly.storage.files.image_folders import Picture, read_pictures
from evenly.tasks.adapters.pictures import encode_pictures
from evenly.tasks.encoders import encoder_identity, open_encoder
from evenly.tasks.run import Run


def encode_files(
    run: Run, pictures: Sequence[Path], texts: Path | None, *, column: str | None, out: Path
) -> dict[str, Any]:
    """Write paths and rows of pictures, texts and rows of texts, all of unit length; what was counted and failed.

    Arrays: paths (n,), image_features (n, d) float32, texts (m,), text_features (m, d) float32, encoder (3,): model,
    weights, identity. A picture that cannot be read or decoded has no row; it is named with its reason.
    """
    check_out(out)
    if not pictures and texts is None:
        raise UsageError(
            "`encode` must get pictures, `--texts FILE` or both; got neither. Example: evenly encode photos/"
        )
    lines = [] if texts is None else read_texts(texts)
    sources = [_named(path, read_pictures(path, column=column)) for path in pictures]
    result: dict[str, Any] = {"out": str(out), "encoder": encoder_identity(run)}
    model = (run.encoder.model, run.encoder.pretrained or "", result["encoder"])
    arrays: dict[str, np.ndarray] = {"encoder": np.array(model, dtype=np.str_)}
    if sources:
        encoded = encode_pictures(run, itertools.chain.from_iterable(sources))
        arrays["paths"] = np.array(encoded.names, dtype=np.str_)
        arrays["image_features"] = encoded.image
        result |= {"pictures": len(encoded.names), "failed": dict(encoded.failed)}
    if texts is not None:
        encoder = open_encoder(run)
        with run.progress.bar("encoding texts", len(lines)) as advance:
            rows, _ = to_unit_rows(encoder.encode_texts(lines, progress=advance))
        single = rows.astype(np.float32)
        arrays["texts"] = np.array(lines, dtype=np.str_)
        arrays["text_features"] = single / np.linalg.norm(single, axis=1, keepdims=True)
        result |= {"texts": len(lines), "cut": sum(encoder.truncated(lines))}
    write_arrays(out, arrays)
    return result


def read_texts(path: Path) -> list[str]:
    """The lines of a file of texts in UTF-8. Raises InputError for a file that is none, or with an empty line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"`--texts` must be a file in UTF-8, a text per line; got `{path}` ({error}).") from error
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    empty = [number for number, line in enumerate(lines, 1) if not line.strip()]
    if empty or not lines:
        raise InputError(
            f"`--texts` must have a text in every line; got {f'none in line {empty[0]}' if empty else 'no line'} of "
            f"`{path}`. Add it, or remove the line."
        )
    return lines


def _named(path: Path, pictures: Iterator[Picture]) -> Iterator[Picture]:
    """Pictures by their path as it was given; those of a table by its path and their names in it."""
    is_one = path.is_file() and path.suffix.lower() != ".parquet"
    return (picture._replace(name=str(path) if is_one else f"{path}/{picture.name}") for picture in pictures)
