"""scikit-learn's handwritten digits as pictures in a folder per class: a data set that nothing here was made for.

1,797 scans of 8 x 8 pixels by 13 people (Alpaydin and Kaynak 1998, UCI, CC BY 4.0); who wrote which is not told.
`python -m evenly.demo.pictures.digits FOLDER` draws them.
"""

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from evenly.demo.errors import DemoError
from evenly.demo.files import write_class_folder

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE_PX = 96
_DARKEST = 16  # ink of a scan, from 0
_MARGIN = 1  # of paper, in pixels of the scan: digits that touch the edge are harder to tell


def draw_digits() -> Iterator[tuple[str, bytes]]:
    """(`<class>/<position in the data set>.png`, PNG bytes) of every digit, black on white, always the same bytes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for position, (scan, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        yield f"{NAMES[digit]}/{position:04d}.png", draw_scan(scan)


def draw_scan(scan: npt.NDArray[np.floating[Any]]) -> bytes:
    """PNG bytes of a scan of ink, 0 to 16: SIDE_PX wide and high, grey, smooth, with a margin of paper."""
    paper = np.pad(255 - np.rint(scan * (255 / _DARKEST)), _MARGIN, constant_values=255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(paper).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC).save(stream, "PNG")
    return stream.getvalue()


def make_digits(folder: Path) -> dict[str, int]:
    """Draw all digits into `folder`, a folder per class, and return the number of pictures per class.

    May be killed and called again. A folder that holds anything else is refused.
    """
    pictures = dict(draw_digits())
    write_class_folder(folder, pictures, "digits")
    return {name: sum(file.startswith(f"{name}/") for file in pictures) for name in NAMES}


def run_command_line(
    arguments: Sequence[str], *, make: Callable[[Path], dict[str, int]] = make_digits, module: str = "digits"
) -> int:
    """Draw pictures into the folder named on the command line of a module of this package; the exit status."""
    if len(arguments) != 1:
        sys.stderr.write(f"usage: python -m evenly.demo.pictures.{module} FOLDER\n")
        return 2
    try:
        counts = make(Path(arguments[0]))
    except (DemoError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{sum(counts.values())} pictures of {len(counts)} classes in {arguments[0]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(sys.argv[1:]))
