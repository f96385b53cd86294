"""Pictures that OpenMoji draws alike under several codes: duplicates that nobody injected.

Norway's flag also stands for Svalbard, "man farmer" looks like "farmer". Two pictures are alike if their pixels, drawn
at 72 px on white, differ by a root mean square of at most 1 of 255 levels: nothing that an eye or a hash of the picture
could tell, and less than what storing it as JPEG changes. Alike is made transitive.
"""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from evenly.demo.pictures.openmoji import draw_picture
from evenly.demo.processes import Progress, no_progress, run_all

SIDE_PX = 72
ALIKE_RMS = 1.0
_BLOCK_PX = 9


def find_twins(codes: Sequence[str], *, progress: Progress = no_progress) -> dict[str, str]:
    """For each picture that looks like another, the code which stands for all of them: the shortest, then first one."""
    drawn = run_all(pixels_on_white, codes, progress=progress)
    pixels = np.stack([np.frombuffer(picture, np.uint8) for picture in drawn])
    stands_for = list(range(len(codes)))

    def root(i: int) -> int:
        while stands_for[i] != i:
            i = stands_for[i]
        return i

    for i, j in alike_pairs(pixels):
        first, second = sorted((root(i), root(j)), key=lambda k: (len(codes[k]), codes[k]))
        stands_for[second] = first
    roots = [root(i) for i in range(len(codes))]
    sizes = np.bincount(roots, minlength=len(codes))
    return {code: codes[k] for code, k in zip(codes, roots, strict=True) if sizes[k] > 1}


def pixels_on_white(code: str) -> bytes:
    """The picture's RGB values at 72 px, row by row."""
    with Image.open(io.BytesIO(draw_picture(code, size_px=SIDE_PX, background="white"))) as picture:
        return picture.convert("RGB").tobytes()


def alike_pairs(pixels: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Index pairs (i < j) of rows of `pixels` (n, 72 * 72 * 3) that are alike.

    Means over blocks of 9 x 9 pixels cannot differ more than the pixels do, so they choose the candidates exactly.
    """
    n, blocks = len(pixels), SIDE_PX // _BLOCK_PX
    means = pixels.reshape(n, blocks, _BLOCK_PX, blocks, _BLOCK_PX, 3).mean(axis=(2, 4)).reshape(n, -1)
    squares = (means**2).sum(axis=1)
    pairs = []
    for i in range(n):
        distance = squares[i] + squares[i + 1 :] - 2 * (means[i + 1 :] @ means[i])
        for j in np.flatnonzero(distance <= means.shape[1] * ALIKE_RMS**2 + 1e-3) + i + 1:
            difference = pixels[i].astype(np.float64) - pixels[j]
            if np.sqrt((difference**2).mean()) <= ALIKE_RMS:
                pairs.append((i, int(j)))
    return pairs
