"""Pictures: the bytes that are held have the hash that names them."""

import hashlib
from collections.abc import Iterator

import pyarrow.compute as pc

from evenly.audit.checks.findings import Finding
from evenly.audit.image_bytes import ReadBytes, each_image
from evenly.audit.published import PublishedBuild
from evenly.curation.draws import draw


def check_images(build: PublishedBuild, read_bytes: ReadBytes, images: int | None, *, seed: int) -> Iterator[Finding]:
    """Yield a finding for each picture of a kept pair whose bytes are gone or hash to something else.

    A number of `images` takes a sample, another one for each `seed`; None takes all.
    """
    ids = _image_ids(build)
    if images is not None:
        ids = sorted(sorted(ids, key=lambda one: draw(seed=seed, step="verify", uid=one, entry=""))[:images])
    for image_id, data in each_image(read_bytes, ids):
        if isinstance(data, str):
            yield Finding.of("image", image_id, f"its bytes are not readable: {data}")
        elif (found := hashlib.sha256(data).hexdigest()) != image_id:
            yield Finding.of("image", image_id, f"its bytes hash to {found}")


def _image_ids(build: PublishedBuild) -> list[str]:
    if "image_id" not in build.sample_columns:
        return []
    last = f"{build.deciding[-1].name}_verdict"
    rows = build.samples(["image_id", "n_bytes", last])
    rows = rows.filter(pc.equal(rows[last], "kept"))
    if "n_bytes" in rows.column_names:  # without a size, only features are there
        rows = rows.filter(pc.is_valid(rows["n_bytes"]))
    kept = rows["image_id"].drop_null()
    return sorted(set(kept.to_pylist()))
