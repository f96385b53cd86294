"""Pictures per second of ViT-L-14, ViT-B-32 and CoCa on the device at hand, against model alone and the device's peak.

Weights are random: speed does not depend on them. In each round pictures are prepared alone, run through the model
alone (pixels that are ready), and encoded as they are used. The model's operations are counted by torch, a
multiplication and an addition as two; the device's peak is what a product of two large matrices reaches in the same
precision. Where there are several GPUs, one process for each encodes at the same time, held against one alone.

Run: python -m benchmarks.gpu_extraction [MODEL ...] [--precision bf16] [--batch-size N] [--batches N] [--rounds R]
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.extraction import checkpoint, write_pictures
from evenly.features.device import chosen_device, device_name
from evenly.features.encoder import OpenClipEncoder, load_encoder
from evenly.features.encoders.speed import Speed, measure_speed
from evenly.features.torch_session import torch_session
from evenly.tasks.encoder_speed import drawn_pictures

MODELS = ("ViT-L-14", "ViT-B-32", "coca_ViT-B-32")
SIDES = {"cpu": 1536, "cuda": 8192}
"""Of the matrices that are multiplied."""


@dataclass(frozen=True)
class Usual:
    """What is measured with, unless said otherwise."""

    batch_size: int
    batches: int
    rounds: int
    precision: str


USUAL = {"cpu": Usual(4, 2, 1, "fp32"), "cuda": Usual(256, 16, 3, "bf16")}
"""Batches are for each thread that prepares some; on a processor few pictures are encoded."""


def opened(model: str, weights: str, options: argparse.Namespace) -> OpenClipEncoder:
    return load_encoder(
        model,
        weights,
        cache="unused",
        batch_size=options.batch_size,
        precision=options.precision,
        device=options.device,
        resize="torch",
    )


def operations(encoder: OpenClipEncoder) -> float:
    """Of one picture: additions and multiplications of all that is matrices or convolutions."""
    tower = encoder.images
    pixels = tower.pixels.normalised(tower.prepare(drawn_pictures(1)).to(tower.device))
    encoder.opened.model.requires_grad_(requires_grad=False)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # torch does not count within it
    try:
        with torch_session(), torch.inference_mode(), FlopCounterMode(display=False) as counter:
            tower.run(pixels.to(tower.dtype))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return float(counter.get_total_flops())


def peak(encoder: OpenClipEncoder) -> float:
    """Operations per second of a product of matrices in the encoder's precision, the best of several."""
    device = encoder.images.device
    kind = device.partition(":")[0]
    side = SIDES.get(kind, 4096)
    matrix = torch.randn(side, side, device=device).to(encoder.images.dtype)

    def wait() -> None:
        if kind == "cuda":
            torch.cuda.synchronize(device)

    speeds = []
    for _ in range(8):
        wait()
        start = time.perf_counter()
        matrix @ matrix
        wait()
        speeds.append(2 * side**3 / (time.perf_counter() - start))
    return max(speeds)


def measured(encoder: OpenClipEncoder, pictures: Sequence[bytes], options: argparse.Namespace) -> list[Speed]:
    return [measure_speed(encoder, pictures, rounds=1) for _ in range(options.rounds)]


def alone(model: str, weights: str, folder: Path, options: argparse.Namespace) -> subprocess.Popen[str]:
    """A process that measures one GPU, and prints pictures per second."""
    words = [sys.executable, "-m", "benchmarks.gpu_extraction", model, "--device", options.device]
    words += ["--weights", weights, "--pictures", str(folder), "--precision", options.precision]
    words += [f"--{name}={getattr(options, name.replace('-', '_'))}" for name in ("batch-size", "batches", "rounds")]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)  # noqa: S603 - this file


def several(model: str, weights: str, folder: Path, options: argparse.Namespace, count: int) -> float:
    """Pictures per second of as many GPUs at the same time."""
    chosen = [argparse.Namespace(**vars(options) | {"device": f"cuda:{number}"}) for number in range(count)]
    processes = [alone(model, weights, folder, one) for one in chosen]
    return sum(float(json.loads(process.communicate()[0])["encoding"]) for process in processes)


def show(model: str, encoder: OpenClipEncoder, speeds: Sequence[Speed]) -> None:
    gflop, most = operations(encoder) / 1e9, peak(encoder)
    computing = median(speed.computing for speed in speeds)
    print(
        f"{model:<16} {median(speed.preparing for speed in speeds):9.1f} {computing:9.1f} "
        f"{median(speed.encoding for speed in speeds):9.1f} "
        f"{median(speed.encoding / speed.computing for speed in speeds):9.2f} {gflop:9.1f} {most / 1e12:9.2f} "
        f"{computing * gflop * 1e9 / most:9.2f}   {speeds[0].limit}",
        flush=True,
    )


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, help="models of open_clip; random weights")
    parser.add_argument("--device", help="else a GPU where there is one")
    parser.add_argument("--precision", help="bf16 on a GPU, fp32 on a processor unless said")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--batches", type=int, help="for each thread that prepares some")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--weights", help=argparse.SUPPRESS)
    parser.add_argument("--pictures", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns of random weights
    options.device = chosen_device(options.device)
    kind = options.device.partition(":")[0]
    for name, value in vars(USUAL.get(kind, USUAL["cuda"])).items():
        setattr(options, name, getattr(options, name) or value)
    if options.weights:
        encoder = opened(options.models[0], options.weights, options)
        speeds = measured(encoder, [path.read_bytes() for path in sorted(options.pictures.iterdir())], options)
        print(json.dumps({"encoding": median(speed.encoding for speed in speeds)}))
        return
    with tempfile.TemporaryDirectory(prefix="evenly-bench-") as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        compare(folder, options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    """The table, and below it what several GPUs give together."""
    numbers = f"{options.precision}, batches of {options.batch_size}, torch {torch.__version__}"
    print(f"{device_name(options.device)}: {numbers}")
    titles = ("preparing", "computing", "encoding", "of model", "GFLOP", "peak TF/s", "of peak")
    print(f"{'pictures/s':<16} {' '.join(f'{title:>9}' for title in titles)}   limit")
    gpus = torch.cuda.device_count() if options.device == "cuda" else 1
    for model in options.models:
        weights = checkpoint(model, folder)
        encoder = opened(model, weights, options)
        paths = write_pictures(folder / "pictures", options.batch_size * options.batches * encoder.images.threads)
        speeds = measured(encoder, [path.read_bytes() for path in paths], options)
        show(model, encoder, speeds)
        if gpus > 1:
            one, together = (several(model, weights, folder / "pictures", options, count) for count in (1, gpus))
            print(f"{'':<16} {gpus} GPUs {together:.1f} pictures/s, {together / one:.2f} times one")
    if gpus == 1:
        print("one device: nothing to hold several against")


if __name__ == "__main__":
    main()
