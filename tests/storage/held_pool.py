"""Pictures and tars for tests of pools whose pictures are at hand."""

import io
import tarfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

Part = tuple[str, bytes] | tarfile.TarInfo


@cache
def picture(seed: int, side: int = 24) -> bytes:
    """A PNG of coloured noise that follows from `seed`."""
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_tar(path: Path, parts: Iterable[Part], *, kind: int = tarfile.PAX_FORMAT) -> Path:
    """A tar of (name, content), or of headers without content, in order."""
    with tarfile.open(path, "w", format=kind) as tar:
        for part in parts:
            if isinstance(part, tarfile.TarInfo):
                tar.addfile(part)
            else:
                header = tarfile.TarInfo(part[0])
                header.size = len(part[1])
                tar.addfile(header, io.BytesIO(part[1]))
    return path


def header(name: str, **fields: object) -> tarfile.TarInfo:
    """A header with some fields."""
    made = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def write_files(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    """Files by relative path."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder
