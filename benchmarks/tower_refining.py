"""Seconds of a step of `evenly refine --towers 1` for ViT-B-32 and ViT-L-14 on the device at hand.

Weights are random: speed does not depend on them. A step reads and prepares pictures, runs both towers, and trains the
last block of each by the contrastive loss; the first epoch warms up. On a processor it is a small step of ViT-B-32.

Run: python -m benchmarks.tower_refining [MODEL ...] [--tune singular] [--precision bf16] [--batch-size N] [--steps N]
"""

import argparse
import logging
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.extraction import checkpoint, write_pictures
from evenly.features.device import chosen_device, device_name
from evenly.features.encoder import load_encoder
from evenly.features.refining.objectives import OBJECTIVES
from evenly.features.refining.pairs import PairRows
from evenly.features.refining.towers import TUNED, TowerTraining
from evenly.features.refining.training import TrainingRule, train_heads
from evenly.features.refining.tuned import tuned_towers

USUAL = {"cpu": (("ViT-B-32",), 4, 1, "fp32"), "cuda": (("ViT-B-32", "ViT-L-14"), 256, 8, "bf16")}
"""Models, pairs of a batch, batches of an epoch, precision."""


def pairs_of(count: int, dimension: int) -> PairRows:
    """Pairs whose frozen rows are drawn: a step of towers does not look at them."""
    rows = np.random.default_rng(0).normal(size=(2, count, dimension)).astype(np.float32)
    names = np.array([str(number) for number in range(count)])
    captions = np.array([f"a picture of number {number} on a table beside a window" for number in range(count)])
    labels = np.array([""] * count)
    return PairRows(image=rows[0], text=rows[1], uids=names, captions=captions, groups=names, labels=labels)


def measure(model: str, folder: Path, options: argparse.Namespace) -> None:
    """Print a row."""
    encoder = load_encoder(
        model,
        checkpoint(model, folder),
        cache="unused",
        batch_size=min(options.batch_size, 64),
        precision=options.precision,
        device=options.device,
        resize="torch",
    )
    count = options.batch_size * options.steps
    pictures = [path.read_bytes() for path in write_pictures(folder / "pictures", count)]
    pairs = pairs_of(count, encoder.dimension)
    tuned = tuned_towers(encoder, TUNED[options.tune], 1)
    towers = TowerTraining(tuned, pairs, lambda uids: [pictures[int(uid)] for uid in uids])
    rule = TrainingRule(epochs=2, batch_size=options.batch_size, learning_rate=1e-5)
    epochs = train_heads(pairs, OBJECTIVES["contrastive"](), rule, seed=0, trained=towers)
    next(epochs)
    start = time.perf_counter()
    _, refined, _ = next(epochs)
    seconds = (time.perf_counter() - start) / options.steps
    trained = len(refined.to_bytes()) / 4e6
    on_gpu = options.device.startswith("cuda")
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"{model:<10} {trained:9.1f} {seconds:9.2f} {options.batch_size / seconds:9.1f} {peak / 1e9:9.1f}", flush=True
    )


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="models of open_clip; random weights")
    parser.add_argument("--device", help="else a GPU where there is one")
    parser.add_argument("--precision", help="bf16 on a GPU, fp32 on a processor unless said")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--tune", choices=TUNED, default="blocks", help="what of the blocks trains")
    parser.add_argument("--steps", type=int, help="batches of an epoch")
    options = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns of random weights
    options.device = chosen_device(options.device)
    usual = USUAL.get(options.device.partition(":")[0], USUAL["cuda"])
    for name, value in zip(("models", "batch_size", "steps", "precision"), usual, strict=True):
        setattr(options, name, getattr(options, name) or value)
    print(
        f"{device_name(options.device)}: {options.precision}, batches of {options.batch_size}, towers 1, {options.tune}"
    )
    print(f"{'':<10} {'million':>9} {'s a step':>9} {'pairs/s':>9} {'GB':>9}")
    for model in options.models:
        with tempfile.TemporaryDirectory(prefix="evenly-bench-") as name:
            (Path(name) / "pictures").mkdir()
            measure(model, Path(name), options)


if __name__ == "__main__":
    main()
