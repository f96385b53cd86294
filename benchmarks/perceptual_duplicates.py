"""Deduplicate synthetic photographs by looks: what twice the rows cost, and whether planted twins are found.

A photograph is noise whose strength falls with its frequency, as in nature, with a brightness, contrast and colours of
its own; its hash is that of the same 32 x 32 picture. One in twenty has a near copy: each value of the grid moved by up
to 6, four bits of the hash flipped. Smaller pools are the first photographs of larger ones, with their own copies.

Run: python -m benchmarks.perceptual_duplicates [--rows 100000 200000 400000]
"""

import argparse
import time

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.fft import dctn

from evenly.curation.duplicates.colours import COLOUR_BYTES
from evenly.curation.duplicates.image_duplicates import Perceptual, deduplicate_perceptual

SIDE, BATCH = 32, 4096
COPIES, MOVED, FLIPPED = 20, 6, 4
GREY = (0.299, 0.587, 0.114)

Grids = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]


def photographs(n: int, rng: np.random.Generator) -> tuple[Grids, Hashes]:
    """Colour grids (n, 768) and hashes (n,)."""
    frequency = SIDE * np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    strength = np.divide(1, frequency, out=np.zeros_like(frequency), where=frequency > 0)
    noise = rng.normal(size=(2, n, 3, *strength.shape))
    waves = np.fft.irfft2((noise[0] + 1j * noise[1]) * strength, s=(SIDE, SIDE))
    waves /= waves.std(axis=(2, 3), keepdims=True)
    light, first, second = np.moveaxis(waves, 1, 0)
    brightness, contrast = rng.normal(118, 42, (n, 1, 1)), rng.uniform(20, 75, (n, 1, 1))
    cast, chroma = rng.normal(0, 14, (2, n, 1, 1)), rng.gamma(2, 6, (n, 1, 1))
    light = brightness + contrast * light
    first, second = cast[0] + chroma * first, cast[1] + chroma * second
    rgb = np.clip(np.stack([light + first, light - 0.4 * first - 0.3 * second, light + second], axis=-1), 0, 255)
    grids = rgb.reshape(n, 16, 2, 16, 2, 3).mean(axis=(2, 4)).round().astype(np.uint8).reshape(n, COLOUR_BYTES)
    low = dctn(rgb @ GREY, axes=(1, 2))[:, :8, :8].reshape(n, 64)
    bits = np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)
    return grids, bits.view(">u8").ravel().astype(np.uint64)


def copied(grids: Grids, hashes: Hashes, rng: np.random.Generator) -> tuple[Grids, Hashes]:
    moved = np.clip(grids.astype(np.int16) + rng.integers(-MOVED, MOVED + 1, grids.shape), 0, 255).astype(np.uint8)
    places = rng.permuted(np.tile(np.arange(64, dtype=np.uint64), (len(hashes), 1)), axis=1)[:, :FLIPPED]
    return moved, hashes ^ np.bitwise_or.reduce(np.uint64(1) << places, axis=1)


def pool(n: int) -> pa.Table:
    """A batch of n pairs; the last one in COPIES are copies of the first."""
    grids, hashes = np.empty((n, COLOUR_BYTES), np.uint8), np.empty(n, np.uint64)
    own = n - n // COPIES
    for begin in range(0, own, BATCH):
        part = slice(begin, min(begin + BATCH, own))
        found = photographs(BATCH, np.random.default_rng(begin))
        grids[part], hashes[part] = (each[: part.stop - begin] for each in found)
    grids[own:], hashes[own:] = copied(grids[: n - own], hashes[: n - own], np.random.default_rng(n))
    ones = pa.array(np.ones(n, np.int32))
    colour = pa.FixedSizeListArray.from_arrays(pa.array(grids.reshape(-1)), COLOUR_BYTES)
    uids = pa.array([f"{row:09}" for row in range(n)])
    return pa.table({"uid": uids, "width": ones, "height": ones, "phash": hashes, "colour": colour})


def run(sizes: list[int]) -> None:
    deduplicate_perceptual(pool(2000), Perceptual())  # compiles the loops
    before = 0.0
    for n in sizes:
        batch = pool(n)
        started, started_cpu = time.perf_counter(), time.process_time()
        found = deduplicate_perceptual(batch, Perceptual())
        wall, cpu = time.perf_counter() - started, time.process_time() - started_cpu
        into, own = found.decisions.into.to_pylist(), n - n // COPIES
        planted = sum(into[own + row] == f"{row:09}" for row in range(n // COPIES))
        others = n - into.count(None) - planted
        growth = f", {cpu / before:.2f} times the size before" if before else ""
        print(f"{n:>9,} rows: {wall:.2f} s, {cpu:.2f} s of CPU{growth}")
        print(f"{'':15} {planted:,} of {n // COPIES:,} copies and {others:,} others merged")
        before = cpu


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 200_000, 400_000])
    run(parser.parse_args().rows)
