"""WebDataset: tar shards of `<uid>.<ext>`, `<uid>.txt` and `<uid>.json`, as open_clip and webdataset read them."""

import io
import tarfile
from collections import Counter
from itertools import groupby
from pathlib import Path

from evenly.storage.exports.content import Content, Sample, json_line
from evenly.storage.records import canonical_json


def write_webdataset(content: Content, folder: Path, *, pairs_per_shard: int = 10_000) -> dict[str, int]:
    """Write shards `000000.tar` and so on, in uid order; counts of pairs, shards and pictures per extension.

    Bytes are the original ones under their true extension, `.txt` is the chosen caption, `.json` the whole row. Tar
    headers hold no time, owner or machine. `sizes.json` tells open_clip the pairs of each shard; 10,000 a shard is
    img2dataset's default.
    """
    sizes: dict[str, int] = {}
    extensions: Counter[str] = Counter()
    for shard, members in groupby(enumerate(content.samples()), key=lambda item: item[0] // pairs_per_shard):
        name = f"{shard:06d}.tar"
        sizes[name] = 0
        with tarfile.open(folder / name, "w", format=tarfile.USTAR_FORMAT) as tar:
            for _, sample in members:
                _add_sample(tar, sample)
                sizes[name] += 1
                extensions[f"pictures_{sample.extension}"] += 1
    (folder / "sizes.json").write_bytes(canonical_json(sizes) + b"\n")
    return {"pairs": sum(sizes.values()), "shards": len(sizes), **dict(sorted(extensions.items()))}


def _add_sample(tar: tarfile.TarFile, sample: Sample) -> None:
    parts = {sample.extension: sample.picture, "txt": sample.caption.encode(), "json": json_line(sample.row)}
    for extension, data in parts.items():
        header = tarfile.TarInfo(f"{sample.uid}.{extension}")  # time 0, owner 0, mode 0644
        header.size = len(data)
        tar.addfile(header, io.BytesIO(data))
