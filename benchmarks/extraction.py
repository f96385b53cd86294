"""Pictures per second of features against what limits them: preparing alone, the model alone, and a plain script.

Pictures are crops of photographs (of scikit-image and scikit-learn, 256 to 512 pixels, JPEG and WebP) and drawings of
OpenMoji (PNG). In each round all of them are prepared alone, run through the model alone (pixels that are ready) and
encoded by ours, and a part of them by a script as people write it: a DataLoader of worker processes, Pillow,
open_clip's own preprocessing, the same batch and precision, in an environment without our settings. Then `evenly
encode` does all of them as a command, as often. Ratios are medians over the rounds.

Run: python -m benchmarks.extraction [--model M] [--pictures N] [--rounds R] [--precision fp32|bf16|fp16] [--command]
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from evenly.demo.pictures.openmoji import draw_picture, list_codes
from evenly.features.encoder import OpenClipEncoder, load_encoder
from evenly.features.encoders.speed import Speed, measure_speed
from evenly.features.pictures.decoded import Resizer
from evenly.flows.process.environment import OF_A_COMMAND, set_up_command
from evenly.tasks.run import default_cache

BATCH = 32
OF_SCRIPT = 1_024
COMPARED = 256
PLAIN = {name: value for name, value in os.environ.items() if name not in OF_A_COMMAND}  # nothing of ours
FORMATS = ("JPEG", "JPEG", "JPEG", "JPEG", "WEBP")
SCIKIT_IMAGE = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg", "ihc.png")


class Files(Dataset[Any]):
    """What a script has: files, opened and preprocessed one by one."""

    def __init__(self, paths: Sequence[Path], preprocess: Any) -> None:  # noqa: ANN401 - open_clip has no types
        self.paths, self.preprocess = paths, preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> Any:  # noqa: ANN401 - a tensor
        return self.preprocess(Image.open(self.paths[place]).convert("RGB"))


def photographs() -> list[Image.Image]:
    """Photographs of scikit-image and scikit-learn, in RGB."""
    import skimage
    import sklearn

    files = [Path(skimage.__file__).parent / "data" / name for name in SCIKIT_IMAGE]
    files += sorted((Path(sklearn.__file__).parent / "datasets" / "images").glob("*.jpg"))
    return [Image.open(file).convert("RGB") for file in files]


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Three crops of photographs for each drawing, in turn."""
    chance = np.random.default_rng(0)
    sources, codes = photographs(), list_codes()
    paths = []
    for number in range(count):
        if number % 4 == 3:
            path = folder / f"{number:05}.png"
            path.write_bytes(draw_picture(codes[number % len(codes)], size_px=int(chance.integers(256, 513))))
        else:
            source = sources[number % len(sources)]
            sides = np.minimum(chance.integers(256, 513, 2), source.size)
            left, top = chance.integers(0, np.array(source.size) - sides + 1).tolist()
            width, height = sides.tolist()
            kind = FORMATS[number % len(FORMATS)]
            path = folder / f"{number:05}.{kind.lower()}"
            source.crop((left, top, left + width, top + height)).save(path, kind, quality=90)
        paths.append(path)
    return paths


def checkpoint(model: str, folder: Path) -> str:
    """Random weights of a model of open_clip."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(open_clip.create_model(model).state_dict(), folder / "weights.safetensors")
    return str(folder / "weights.safetensors")


def opened(model: str, weights: str | None, precision: str, resize: Resizer = "pillow") -> OpenClipEncoder:
    cache = default_cache() / "encoders"
    return load_encoder(model, weights, cache=cache, batch_size=BATCH, precision=precision, resize=resize)


def script(encoder: OpenClipEncoder, paths: Sequence[Path]) -> float:
    """Pictures per second of a script with as many workers as processors, from its second batch on."""
    clip = encoder.opened
    model, device = clip.model.to(memory_format=torch.contiguous_format), encoder.images.device
    loader = DataLoader(
        Files(paths, clip.preprocess), batch_size=encoder.images.batch_size, num_workers=os.cpu_count() or 1
    )
    done, start = 0, 0.0
    with torch.inference_mode():
        for batch in loader:
            model.encode_image(batch.to(device, encoder.images.dtype)).float().cpu()
            if not start:
                start = time.perf_counter()
            else:
                done += len(batch)
    return done / (time.perf_counter() - start)


def script_alone(options: argparse.Namespace, weights: str | None, paths: Sequence[Path]) -> float:
    """What `script` measures in a process of its own, with nothing of ours set in it."""
    words = [sys.executable, "-m", "benchmarks.extraction", "--model", options.model, "--precision", options.precision]
    words += ["--script", weights or ""]
    listed = "\n".join(map(str, paths))
    return float(subprocess.run(words, input=listed, check=True, capture_output=True, text=True, env=PLAIN).stdout)  # noqa: S603 - this file


def measured(
    encoder: OpenClipEncoder, paths: Sequence[Path], options: argparse.Namespace, weights: str | None
) -> list[tuple[Speed, float]]:
    """Ours on all pictures and the script on some of them, in turn."""
    pictures = [path.read_bytes() for path in paths]
    return [
        (measure_speed(encoder, pictures, rounds=1), script_alone(options, weights, paths[:OF_SCRIPT]))
        for _ in range(options.rounds)
    ]


def command(folder: Path, model: Sequence[str]) -> tuple[float, float]:
    """Seconds of `evenly encode` over a folder, and its peak memory in MB."""
    words = [sys.executable, "-m", "evenly.flows", "encode", str(folder), *model, "--out", str(folder.parent / "o.npz")]
    start = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True, env=PLAIN)  # noqa: S603 - our own command
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000


def spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Print speeds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="`embedded`, or a model of open_clip with random weights")
    parser.add_argument("--pictures", type=int, default=1_024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="fp32", help="with another one, fp32 is measured beside it")
    parser.add_argument("--resize", default="pillow", choices=["pillow", "torch"], help="the script has Pillow's")
    parser.add_argument("--command", action="store_true", help="the whole command as well")
    parser.add_argument("--script", metavar="WEIGHTS", help="measure the script alone, on the files of standard input")
    options = parser.parse_args()
    if options.script is not None:
        encoder = opened(options.model, options.script or None, options.precision)
        print(script(encoder, [Path(line) for line in sys.stdin.read().splitlines()]))
        return
    if any(name not in os.environ for name in OF_A_COMMAND):
        set_up_command()
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.extraction", *sys.argv[1:]])  # noqa: S606 - this file
    with tempfile.TemporaryDirectory(prefix="evenly-bench-") as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        (folder / "one").mkdir()
        paths = write_pictures(folder / "pictures", options.pictures)
        (folder / "one" / paths[0].name).write_bytes(paths[0].read_bytes())
        weights = None if options.model.startswith("embedded") else checkpoint(options.model, folder)

        ours = opened(options.model, weights, options.precision, options.resize)
        threads, device = ours.images.threads, ours.images.device
        pairs = measured(ours, paths, options, weights)
        print(f"{options.model} in {options.precision} on {device}, {threads} threads, {len(paths):,} pictures")
        for title in ("preparing", "computing", "encoding"):
            print(f"  {title:<12} {median(getattr(speed, title) for speed, _ in pairs):8.1f} pictures/s")
        print(f"  {'script':<12} {median(speed for _, speed in pairs):8.1f} pictures/s")
        print(f"  encoding as a share of the slower ceiling  {spread([speed.share for speed, _ in pairs])}")
        print(f"  encoding against the script                {spread([one.encoding / other for one, other in pairs])}")
        if options.precision != "fp32" or options.resize != "pillow":
            compare(ours, opened(options.model, weights, "fp32"), paths)
        if options.command:
            model = [
                "--model",
                options.model,
                "--precision",
                options.precision,
                "--resize",
                options.resize,
                "--root",
                str(folder / "w"),
            ]
            model += ["--pretrained", weights] if weights else []
            fixed = median(command(folder / "one", model)[0] for _ in range(options.rounds))
            wholes = [command(folder / "pictures", model) for _ in range(options.rounds)]
            ceiling = median(min(speed.preparing, speed.computing) for speed, _ in pairs)
            shares = [len(paths) / seconds / ceiling for seconds, _ in wholes]
            seconds, memory = median(seconds for seconds, _ in wholes), max(memory for _, memory in wholes)
            print(f"  evenly encode  {seconds:.1f} s, {fixed:.1f} s for one picture; {memory:.0f} MB")
            print(f"  evenly encode as a share of that ceiling   {spread(shares)}")


def compare(ours: OpenClipEncoder, full: OpenClipEncoder, paths: Sequence[Path]) -> None:
    """Speed and smallest cosine against single precision."""
    pictures = [path.read_bytes() for path in paths[:COMPARED]]
    speeds = [(measure_speed(ours, pictures, rounds=1), measure_speed(full, pictures, rounds=1)) for _ in range(3)]
    ratio = [one.encoding / other.encoding for one, other in speeds]
    rows, others = ours.encode_images(pictures), full.encode_images(pictures)
    cosines = (rows * others).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(others, axis=1)
    print(f"  against fp32 and Pillow                    {spread(ratio)}, cosine at least {cosines.min():.5f}")


if __name__ == "__main__":
    main()
