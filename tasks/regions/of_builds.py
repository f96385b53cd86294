"""Regions of the pictures of a finished build, by another rule than its own or without one: no rebuild."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenly.curation.regions.judgement import RegionRule
from evenly.storage.errors import InputError
from evenly.storage.records import replacing
from evenly.storage.samples import BuildSamples
from evenly.tasks.pictures.sent_rows import PicturePlaces
from evenly.tasks.regions.search import RegionSearch
from evenly.tasks.regions.tables import region_rows, shown_pictures
from evenly.tasks.run import Run


def regions_of_build(run: Run, manifest: Mapping[str, Any], rule: RegionRule, out: Path | None) -> dict[str, Any]:
    """Find regions in the pictures of the kept pairs of a build, and write them to `out`: Parquet, or JSON by its name.

    What is stored is not looked for again, so that a run that ended early goes on where it was. Counts of regions, by
    label of those that count and by reason of the others; pictures looked at, how many a second, bytes of each's cells.
    """
    samples, search = BuildSamples(run.workspace, manifest), RegionSearch.of(run, rule)
    if rule.learn is not None:
        raise InputError("`learn` must be of a rebuild, which deals pictures into parts. Rebuild, or leave it out.")
    names = ["uid", "image_id", "url", *([search.statements] if search.statements else [])]
    if rule.boxes is not None and rule.boxes not in samples.columns:
        raise InputError(f"`boxes` must be a column of the build; got `{rule.boxes}`. Name one that it has.")
    reasons, labels, counts = Counter[str](), Counter[str](), Counter[str]()
    started = time.monotonic()
    with _writing(out, search.schema) as write:
        for pairs in samples.batches(names, samples.kept):
            shown = shown_pictures(pairs, search.statements)
            texts = search.texts(run, shown, PicturePlaces(), lambda count: counts.update(looked_at=count))
            regions, _ = region_rows(search.schema, shown["uid"].to_pylist(), texts)
            write(regions)
            counts.update(pairs=pairs.num_rows)
            reasons.update(regions["reason"].to_pylist())
            labels.update(regions.filter(pc.equal(regions["reason"], ""))["label"].to_pylist())
    looked_at, seconds = counts["looked_at"], time.monotonic() - started
    return {
        "build": manifest["build"],
        "pairs": counts["pairs"],
        "regions": reasons.pop("", 0),
        "labels": dict(labels.most_common()),
        "left_out": dict(reasons.most_common()),
        "pictures_looked_at": looked_at,
        "pictures_per_s": round(looked_at / seconds, 1) if looked_at else None,
        "bytes_of_cells": search.bytes_of_cells(run) if looked_at else None,
        **({} if out is None else {"written": str(out)}),
    }


@contextmanager
def _writing(out: Path | None, schema: pa.Schema) -> Iterator[Any]:
    """A function that writes tables of regions; they stand at `out` once all are written."""
    if out is None:
        yield lambda _: None
        return
    with replacing(out.absolute()) as stream:
        if out.suffix == ".json":
            writer = _JsonRows(stream)
            yield writer.write_table
            stream.write(b"]\n" if writer.is_begun else b"[]\n")
        else:
            with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
                yield writer.write_table


class _JsonRows:
    """A list of rows in JSON, a line for each."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.is_begun = stream, False

    def write_table(self, table: pa.Table) -> None:
        """Add rows."""
        for row in table.to_pylist():
            self.stream.write(b",\n" if self.is_begun else b"[")
            self.stream.write(json.dumps(row, ensure_ascii=False).encode())
            self.is_begun = True
