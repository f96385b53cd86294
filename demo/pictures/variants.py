"""Files that the demo's web serves besides the pictures: re-encoded, resized, cropped and oversized ones."""

import functools
import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from evenly.demo.files import write_bytes
from evenly.demo.processes import Progress, no_progress, run_all

BOMB_FILE = "variants/bomb.png"
BOMB_SIDE_PX = 20_000
"""400 million pixels in 50 kB."""

MEDIA_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True, kw_only=True)
class VariantForm:
    """The form of a variant: file ending, size relative to the picture's, and the encoder's quality."""

    ending: str
    scale: float = 1.0
    quality: int = 0


LOOKS = {
    "jpeg": VariantForm(ending="jpg", quality=85),
    "small_jpeg": VariantForm(ending="jpg", quality=80, scale=0.6),
    "large_jpeg": VariantForm(ending="jpg", quality=90, scale=1.4),
    "webp": VariantForm(ending="webp", quality=80),
    "small_webp": VariantForm(ending="webp", quality=75, scale=0.65),
    "small_png": VariantForm(ending="png", scale=0.75),
    "icon": VariantForm(ending="png"),
    "banner": VariantForm(ending="png"),
}
ICON_PX = 16
BANNER_PX = (960, 96)


@dataclass(frozen=True, kw_only=True, order=True)
class Variant:
    """One file to be made from the picture `code`: `kind` is a key of LOOKS."""

    code: str
    kind: str

    @property
    def file(self) -> str:
        """Where it lies in the web's folder."""
        return f"variants/{self.code}-{self.kind}.{LOOKS[self.kind].ending}"


def make_variants(folder: Path, variants: Sequence[Variant], *, progress: Progress = no_progress) -> None:
    """Make each variant's file from `<folder>/pictures/<code>.png`; what lies there is kept, strangers go."""
    (folder / "variants").mkdir(parents=True, exist_ok=True)
    wanted = {folder / BOMB_FILE, *(folder / variant.file for variant in variants)}
    for stranger in set((folder / "variants").iterdir()) - wanted:
        stranger.unlink()
    missing = [variant for variant in variants if not (folder / variant.file).exists()]
    for _ in run_all(functools.partial(_make, folder=folder), missing, progress=progress):
        pass
    if not (folder / BOMB_FILE).exists():
        write_bytes(folder / BOMB_FILE, bomb(BOMB_SIDE_PX))


def bomb(side_px: int) -> bytes:
    """A valid black-and-white PNG of `side_px` times `side_px` white pixels, small in bytes."""
    row = b"\x00" + b"\xff" * ((side_px + 7) // 8)
    deflate = zlib.compressobj(9)
    image = b"".join(deflate.compress(row) for _ in range(side_px)) + deflate.flush()
    header = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", image) + _chunk(b"IEND", b"")


def encode_variant(picture: bytes, kind: str) -> bytes:
    """The bytes of the variant `kind` of a picture given as PNG bytes."""
    look = LOOKS[kind]
    with Image.open(io.BytesIO(picture)) as opened:
        image = opened.convert("RGBA")
    if kind == "banner":
        image = _banner(image)
    elif kind == "icon":
        image = image.resize((ICON_PX, ICON_PX), Image.Resampling.LANCZOS)
    elif look.scale != 1.0:
        image = image.resize(
            (round(image.width * look.scale), round(image.height * look.scale)), Image.Resampling.LANCZOS
        )
    sink = io.BytesIO()
    if look.ending == "jpg":
        _on_white(image).save(sink, "JPEG", quality=look.quality)
    elif look.ending == "webp":
        image.save(sink, "WEBP", quality=look.quality, method=2)
    else:
        image.save(sink, "PNG")
    return sink.getvalue()


def _make(variant: Variant, *, folder: Path) -> None:
    picture = (folder / "pictures" / f"{variant.code}.png").read_bytes()
    write_bytes(folder / variant.file, encode_variant(picture, variant.kind))


def _banner(image: Image.Image) -> Image.Image:
    width, height = BANNER_PX
    small = image.resize((height, height), Image.Resampling.LANCZOS)
    banner = Image.new("RGBA", BANNER_PX, "white")
    for left in range(0, width, height):
        banner.alpha_composite(small, (left, 0))
    return banner


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
