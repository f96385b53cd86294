"""Checks of pictures: bytes that a decoder reads to their end, within limits on pixels, time and memory."""

import base64
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any, Self

from PIL import ExifTags, Image

from evenly.storage.decoders import DecoderPool, DecodeTroubleError
from evenly.storage.decoders.process import TOO_SLOW, load_function
from evenly.storage.decoders.structure import excess
from evenly.storage.web.errors import FetchError
from evenly.storage.web.rule import NO_RIGHTS, Rights, RightsReader

EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif", "bmp": "bmp", "avif": "avif"}

# Decoders raise nearly anything on hostile bytes: these cover what Pillow's readers of our formats are known to raise.
_DECODER_ERRORS: tuple[type[Exception], ...] = (
    OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, SyntaxError, RuntimeError, EOFError,
    AssertionError, struct.error, zlib.error,
)  # fmt: skip

_SIDEWAYS = range(5, 9)  # orientations in which a picture lies on its side in its file


@dataclass(frozen=True)
class PictureFacts:
    """Size in pixels as stored (orientation tags not applied), and the true format: a key of EXTENSIONS."""

    width: int
    height: int
    format: str


@dataclass(frozen=True)
class Measure:
    """A measurement of each picture while it is decoded to be checked: nothing decodes it for that again.

    `function` takes a loaded picture and gives bytes, or None where it cannot measure it; it is of a module, so that
    decoder processes can import it. A higher `version` says that it now gives others.
    """

    function: Callable[[Image.Image], bytes | None]
    version: int

    @property
    def name(self) -> str:
        """The name under which measured values are stored."""
        return f"{_import_name(self.function)}:{self.version}"


@dataclass(frozen=True)
class CheckedPicture:
    """The facts of a picture that was decoded to its end, what was measured of it, and the rights that it names."""

    facts: PictureFacts
    measured: bytes | None = None
    rights: Rights = NO_RIGHTS


class PictureChecks:
    """Checks pictures in decoder processes, each within its budget; close it, or use it in a `with`, to end them."""

    def __init__(
        self,
        *,
        max_pixels: int,
        measure: Measure | None = None,
        read_rights: RightsReader | None = None,
        processes: int = 1,
    ) -> None:
        self._options = {
            "max_pixels": max_pixels,
            "measure": _import_name(measure.function) if measure else None,
            "read_rights": _import_name(read_rights) if read_rights else None,
        }
        self._processes = processes

    def check(self, data: bytes) -> CheckedPicture:
        """Decode `data`, once. Raises FetchError as `check_picture` does, and `too_much_memory`, `decoder_crashed`."""
        _announced_format(data)
        try:
            reply = self._pool.run(data, self._options)
        except DecodeTroubleError as trouble:
            raise FetchError(trouble.outcome, trouble.evidence) from None
        if "outcome" in reply:
            raise FetchError(reply["outcome"], reply["evidence"])
        measured = reply["measured"]
        facts = PictureFacts(reply["width"], reply["height"], reply["format"])
        stated, *named = reply["rights"]
        rights = (tuple(tuple(values) for values in stated), *named)
        return CheckedPicture(facts, None if measured is None else base64.b64decode(measured), rights)

    def check_all(self, pictures: Sequence[bytes]) -> Iterator[CheckedPicture | FetchError]:
        """The result of `check`, or its error, for each picture, in order; as many at a time as processes."""
        return self._pool.map(self._checked, pictures)

    def _checked(self, data: bytes) -> CheckedPicture | FetchError:
        try:
            return self.check(data)
        except FetchError as error:
            return error

    def close(self) -> None:
        """End the processes."""
        self._pool.close()

    @cached_property
    def _pool(self) -> DecoderPool:
        return DecoderPool(check_in_process, size=self._processes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _import_name(function: Callable[..., object]) -> str:
    return f"{function.__module__}:{function.__qualname__}"


def check_in_process(data: bytes, options: dict[str, Any]) -> dict[str, Any]:
    """`check_picture` as a job of a decoder process: facts and measured bytes, or outcome and evidence, as JSON."""
    functions = {name: load_function(options[name]) for name in ("measure", "read_rights") if options[name]}
    try:
        checked = check_picture(data, max_pixels=options["max_pixels"], **functions)
    except FetchError as error:
        return {"outcome": error.outcome, "evidence": error.evidence}
    measured = None if checked.measured is None else base64.b64encode(checked.measured).decode("ascii")
    return {**vars(checked.facts), "measured": measured, "rights": checked.rights}


def size_in_process(data: bytes, _options: dict[str, Any]) -> dict[str, Any]:
    """`width` and `height` by the header, nothing decoded, as a job of a decoder process; or outcome and evidence."""
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(BytesIO(data), formats=(_announced_format(data),)) as picture:
            return {"width": picture.width, "height": picture.height}
    except FetchError as error:
        return {"outcome": error.outcome, "evidence": error.evidence}
    except _DECODER_ERRORS as error:
        return {"outcome": "truncated_image", "evidence": type(error).__name__}


def upright_size(data: bytes) -> tuple[int, int]:
    """Width and height as people see the picture, by its header and orientation tag. Raises FetchError."""
    try:
        with Image.open(BytesIO(data), formats=(_announced_format(data),)) as picture:
            size, orientation = picture.size, 1
            with suppress(*_DECODER_ERRORS):  # a broken tag says nothing
                orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except _DECODER_ERRORS as error:
        raise FetchError("truncated_image", type(error).__name__) from None
    return size[::-1] if orientation in _SIDEWAYS else size


def check_picture(
    data: bytes,
    *,
    max_pixels: int,
    measure: Callable[[Image.Image], bytes | None] | None = None,
    read_rights: RightsReader | None = None,
) -> CheckedPicture:
    """Decode `data` in this process, without a budget, and return its facts; of several frames, the first is decoded.

    Raises FetchError: `empty_body`; `not_an_image` where the bytes begin like none of the formats; `too_many_pixels`
    by the header and `too_slow` by the number of its parts, before anything is decoded; `truncated_image` where
    decoding does not reach the end.
    """
    kind = _announced_format(data)
    try:
        return _decode(data, kind, max_pixels, measure, read_rights)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FetchError("too_many_pixels", str(error)) from None
    except FetchError:
        raise
    except _DECODER_ERRORS as error:
        raise FetchError("truncated_image", f"{kind}: {type(error).__name__}: {error}") from None


def _announced_format(data: bytes) -> str:
    """The format; raises FetchError for what the bytes alone forbid."""
    if not data:
        raise FetchError("empty_body", "0 bytes")
    kind = sniff_format(data)
    if kind is None:
        raise FetchError("not_an_image", f"begins with {data[:40]!r}")  # stored: keys of later steps follow from it
    parts = excess(data, kind)
    if parts is not None:
        raise FetchError(TOO_SLOW, parts)
    return kind


def sniff_format(data: bytes) -> str | None:
    """The format that the first bytes announce, or None."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and any(brand in data[8:64] for brand in (b"avif", b"avis")):
        return "avif"
    return "bmp" if data.startswith(b"BM") else None


def _decode(
    data: bytes,
    kind: str,
    max_pixels: int,
    measure: Callable[[Image.Image], bytes | None] | None,
    read_rights: RightsReader | None,
) -> CheckedPicture:
    with Image.open(BytesIO(data), formats=(kind,)) as picture:
        width, height = picture.size
        if width * height > max_pixels:
            raise FetchError("too_many_pixels", f"{width} x {height}, more than {max_pixels} pixels")
        if kind == "png":
            picture.verify()  # checksums of all chunks; the picture must be opened again afterwards
    with Image.open(BytesIO(data), formats=(kind,)) as picture:
        if kind == "jpeg" and measure is None:
            picture.draft("L", (1, 1))  # all data is read, but an eighth of the size is drawn
        picture.load()
        measured = measure(picture) if measure is not None else None
        rights = read_rights(picture, data, kind) if read_rights is not None else NO_RIGHTS
    return CheckedPicture(PictureFacts(width, height, kind), measured, rights)
