"""Stored bytes: features, downloads and replies are those written; pictures have the hash that names them."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.checks.findings import Finding, guarded
from evenly.audit.published import PublishedBuild, ReadBytes, each_image
from evenly.curation.collecting import EMBED_IMAGES
from evenly.curation.draws import draws
from evenly.storage.artifacts.kinds import artifacts_in
from evenly.storage.artifacts.store import Artifacts, digests_in, object_content
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import Ledger
from evenly.storage.records import read_record
from evenly.storage.removal.takedown import wrong_receipts
from evenly.storage.tables.exchange import open_exchange, received_rows, send_rows
from evenly.storage.tables.lance_rows import MADE_AGAIN, check_rows
from evenly.storage.tables.partitions import Partition
from evenly.storage.web.measured import check_measured
from evenly.storage.web.shards import check_records, shard_names
from evenly.storage.workspace import Workspace


def check_stored(build: PublishedBuild) -> Iterator[Finding]:
    """Yield a finding for each piece that has changed: features, download records, replies, the journal, receipts.

    All that the workspace holds of them is looked at, since builds share them.
    """
    workspace = build.workspace
    for dataset in sorted(workspace.features.glob("*/*.lance")):
        yield from _guarded("features", dataset, workspace, lambda path: check_rows(path, MADE_AGAIN))
    yield from guarded("features", build.name, partial(_check_digests, build))
    for name in shard_names(workspace.downloads):
        yield from _guarded("downloads", workspace.downloads / f"{name}.parquet", workspace, check_records)
    for path in sorted(workspace.downloads.glob("*.measured.parquet")):
        yield from _guarded("downloads", path, workspace, check_measured)
    for check, folder in (("replies", workspace.requests), ("runs", workspace.runs)):
        for record in sorted(folder.glob("*/*.json")):
            yield from _guarded(check, record, workspace, read_record)
    yield from _check_artifacts(workspace)
    for name, trouble in wrong_receipts(workspace):
        yield Finding.of("receipts", name, trouble)


def _check_artifacts(workspace: Workspace) -> Iterator[Finding]:
    """Each adapter, refined encoder and index by its card, then the contents that no card names."""
    named = set[str]()

    def look(artifacts: Artifacts, path: Path) -> None:
        with suppress(FileNotFoundError):
            named.update(digests_in(path.with_name(f"{path.name}.json").read_text(errors="replace")))
        artifacts.read(path.name, takes_over=False)

    for artifacts in artifacts_in(workspace):
        for name in artifacts.names():
            yield from _guarded("artifacts", artifacts.folder / name, workspace, partial(look, artifacts))
    for path in sorted(workspace.objects.glob("*.*")):
        if path.stem not in named:
            yield from _guarded("artifacts", path, workspace, lambda path: object_content(path.parent, path.stem))


def _guarded(check: str, path: Path, workspace: Workspace, look: Callable[[Path], object]) -> list[Finding]:
    def looked() -> list[Finding]:
        look(path)
        return []

    return guarded(check, str(path.relative_to(workspace.root)), looked)


def _check_digests(build: PublishedBuild) -> Iterator[Finding]:
    """The digests that the step kept of its vectors, against the vectors: for features from before checksums, too."""
    record = build.step(EMBED_IMAGES.name)
    if record is None or "features" not in record.hashes:
        return
    store = FeatureStore(build.workspace, str(build.manifest["encoder"]["identity"]), "images")
    parts = Partition.all(record.layout["features"].bits)
    for part in parts:
        table = Ledger(build.workspace, part=part).table(record, "features", ["image_id", "digest"])
        ids = table["image_id"].to_pylist()
        vectors, _ = store.read(ids)
        for image_id, digest, row in zip(ids, table["digest"].to_pylist(), vectors, strict=True):
            if hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() != digest:
                yield Finding.of("features", image_id, "its vector is not the one that the steps used")


def check_image_bytes(
    build: PublishedBuild, read_bytes: ReadBytes, images: int | None, *, seed: int
) -> Iterator[Finding]:
    """Yield a finding for each picture of a kept pair whose bytes are gone or hash to something else.

    A number of `images` takes a sample, another one for each `seed`; None takes all.
    """
    parts = _all_ids(build) if images is None else [_drawn_ids(build, images, seed)]
    for ids in parts:
        for image_id, data in each_image(read_bytes, ids):
            if isinstance(data, str):
                yield Finding.of("image", image_id, f"its bytes are not readable: {data}")
            elif (digest := hashlib.sha256(data).hexdigest()) != image_id:
                yield Finding.of("image", image_id, f"its bytes hash to {digest}")


def _drawn_ids(build: PublishedBuild, images: int, seed: int) -> list[str]:
    """The ids with the smallest draws, sorted."""
    chosen = dict[str, float]()
    for ids in _image_ids(build):
        new = [image_id for image_id in ids if image_id not in chosen]
        chosen |= dict(zip(new, draws(seed=seed, step="verify", uids=new, entries=[""] * len(new)), strict=True))
        chosen = dict(sorted(chosen.items(), key=lambda item: (item[1], item[0]))[:images])
    return sorted(chosen)


def _all_ids(build: PublishedBuild) -> Iterator[list[str]]:
    """The ids of all pictures, each once and sorted, those of a partition at a time."""
    bits = build.deciding[0].bits
    with open_exchange(build.workspace.exchange, "pictures") as folder:
        tables = (pa.table({"image_id": pa.array(ids, pa.string())}) for ids in _image_ids(build))
        send_rows(folder, "all", bits, "image_id", tables)
        with build.bar("pictures", 1 << bits) as advance:
            for number in range(1 << bits):
                if received := received_rows(folder, number):
                    yield pa.concat_tables(received)["image_id"].unique().sort().to_pylist()
                advance(1)


def _image_ids(build: PublishedBuild) -> Iterator[list[str]]:
    """The pictures of kept pairs, some at a time, those of several pairs again and again."""
    if "image_id" not in build.sample_columns:
        return
    last = f"{build.deciding[-1].name}_verdict"
    for table in build.batches(["image_id", "n_bytes", last]):
        rows = table.filter(pc.equal(table[last], "kept"))
        if "n_bytes" in rows.column_names:  # without a size, only features are there
            rows = rows.filter(pc.is_valid(rows["n_bytes"]))
        yield rows["image_id"].drop_null().unique().to_pylist()
