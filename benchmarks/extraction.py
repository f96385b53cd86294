"""Pictures per second of features against what limits them: preparing alone, the model alone, and a plain script.

Pictures are crops of photographs (of scikit-image and scikit-learn, 256 to 512 pixels, JPEG and WebP) and drawings of
OpenMoji (PNG). In each round all of them are prepared alone, run through the model alone (pixels that are ready) and
encoded by ours, and a part of them by a script as people write it: a DataLoader of worker processes, Pillow,
open_clip's own preprocessing, the same batch (our default) and precision, in an environment without our settings. The
model alone is measured as we run it and as open_clip has it, with its batch normalisations. `evenly encode` does all
of them as a command in each round. Ratios are medians over the rounds. The ceiling is the slower of preparing and the
model alone by the fastest engine whose rows have cosines of .9999 to torch's, whichever engine is ours (--engine).

--engines measures the model alone by other engines than torch instead: onnxruntime, and torch.compile, which evenly has
not. One thread computes one batch by each in turn, and its processor time counts.

Run: python -m benchmarks.extraction [--model M] [--pictures N] [--rounds R] [--precision fp32|bf16|fp16]
    [--engine torch|onnxruntime] [--command] [--engines]
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from evenly.demo.pictures.openmoji import draw_picture, list_codes
from evenly.features.embedded_weights import LITE0, LITE2, embedded_folder
from evenly.features.encoder import OpenClipEncoder, load_encoder
from evenly.features.encoders.engines import TowerEngine
from evenly.features.encoders.speed import Speed, measure_speed
from evenly.features.open_clip_models import EMBEDDED, EMBEDDED_SECOND, open_model
from evenly.features.pictures.decoded import Resizer
from evenly.features.torch_session import torch_session
from evenly.flows.process.environment import OF_A_COMMAND, set_up_command
from evenly.storage.files.identities import default_cache

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
    return load_encoder(model, weights, cache=cache, precision=precision, resize=resize)


def by_each_engine(encoder: OpenClipEncoder) -> dict[str, OpenClipEncoder]:
    """The encoder by torch, and by onnxruntime where that can run it: an export with other rows is refused."""
    encoders = {"torch": encoder}
    if encoder.facts["precision"] == "fp32" and encoder.facts["device"] == "cpu":
        engine = TowerEngine(name="onnxruntime", cache=default_cache() / "encoders")
        encoders["onnxruntime"] = encoder.with_engine(engine)
    return encoders


def plain_encoder(model: str, weights: str | None, like: OpenClipEncoder) -> OpenClipEncoder:
    """The model as open_clip has it, in the batches of another encoder."""
    cache, device, precision = default_cache() / "encoders", like.images.device, str(like.facts["precision"])
    towers = {EMBEDDED: LITE0, EMBEDDED_SECOND: LITE2}
    source = f"local-dir:{embedded_folder(cache, towers[model])}" if model in towers else model
    return OpenClipEncoder(
        open_model(source, weights, precision=precision, device=device),
        batch_size=like.images.batch_size,
        threads=like.images.threads,
        precision=precision,
        device=device,
    )


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


@dataclass(frozen=True, kw_only=True)
class Round:
    """Pictures per second of ours, of the model alone by each engine and as open_clip has it, and of a script.

    whole, one: seconds of `evenly encode` for all pictures and for one; 0 where it was not asked for. memory: MB.
    """

    ours: Speed
    computing: Mapping[str, float]
    plain: float
    script: float
    whole: float = 0.0
    one: float = 0.0
    memory: float = 0.0

    @property
    def ceilings(self) -> tuple[float, float]:
        """The slower of preparing and computing: by the fastest engine, and by open_clip's model."""
        fastest = max(self.computing.values())
        return min(self.ours.preparing, fastest), min(self.ours.preparing, self.plain)

    @property
    def shared(self) -> float:
        """Pictures per second where the same processors prepare and compute, each at the speed that it has alone."""
        return 1 / (1 / self.ours.preparing + 1 / max(self.computing.values()))


def measured(
    encoders: Mapping[str, OpenClipEncoder], folder: Path, options: argparse.Namespace, weights: str | None
) -> list[Round]:
    """All in turn, on all pictures of the folder; the script and models that are not ours on a part of them."""
    paths = sorted((folder / "pictures").iterdir())
    pictures = [path.read_bytes() for path in paths]
    plain = plain_encoder(options.model, weights, encoders["torch"])
    rounds = []
    for _ in range(options.rounds):
        ours = measure_speed(encoders[options.engine], pictures, rounds=1)
        others = {name: encoder for name, encoder in encoders.items() if name != options.engine}
        alone = {name: measure_speed(other, pictures[:OF_SCRIPT], rounds=1) for name, other in others.items()}
        speeds = Round(
            ours=ours,
            computing={options.engine: ours.computing, **{name: speed.computing for name, speed in alone.items()}},
            plain=measure_speed(plain, pictures[:OF_SCRIPT], rounds=1).computing,
            script=script_alone(options, weights, paths[:OF_SCRIPT]),
        )
        if options.command:
            one, _ = command(folder, "one", options, weights)
            whole, memory = command(folder, "pictures", options, weights)
            speeds = replace(speeds, whole=whole, one=one, memory=memory)
        rounds.append(speeds)
    return rounds


def command(folder: Path, pictures: str, options: argparse.Namespace, weights: str | None) -> tuple[float, float]:
    """Seconds of `evenly encode` over a folder in `folder`, and its peak memory in MB."""
    words = [sys.executable, "-m", "evenly.flows", "encode", str(folder / pictures), "--model", options.model]
    words += ["--precision", options.precision, "--resize", options.resize, "--root", str(folder / "w")]
    words += ["--engine", options.engine]
    words += ["--out", str(folder / "o.npz"), *(("--pretrained", weights) if weights else ())]
    start = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True, env=PLAIN)  # noqa: S603 - our own command
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000


def engines(encoder: OpenClipEncoder, paths: Sequence[Path], rounds: int) -> None:
    """Speed of each engine against torch, the smallest cosine to its rows, and what it takes at first."""
    torch_tower, folder = encoder.images, paths[0].parent.parent
    start = time.process_time()
    exported = encoder.with_engine(TowerEngine(name="onnxruntime", cache=folder)).images
    began = {"torch": 0.0, "onnxruntime": time.process_time() - start, "torch.compile": 0.0}
    towers = [torch_tower, exported, replace(torch_tower, run=torch.compile(torch_tower.run))]
    pixels = torch_tower.prepare([path.read_bytes() for path in paths[: torch_tower.batch_size]])
    seconds: dict[str, list[float]] = {name: [] for name in began}
    rows = {}
    with torch_session() as pool:
        for _ in range(rounds + 1):
            for name, tower in zip(seconds, towers, strict=True):
                start = time.process_time()
                rows[name] = pool.submit(tower.compute, pixels).result().double()
                seconds[name].append(time.process_time() - start)
    print(f"{torch_tower.batch_size} pictures at a time, one thread, {rounds} rounds, {encoder.device_name}")
    for name, (first, *taken) in seconds.items():
        ratios = [one / other for one, other in zip(seconds["torch"][1:], taken, strict=True)]
        away = 1 - torch.cosine_similarity(rows[name], rows["torch"]).min().item()
        print(
            f"  {name:<14} {torch_tower.batch_size / median(taken):8.1f} pictures/s  {spread(ratios)} times torch, "
            f"cosine 1 - {away:.0e}, {began[name] + first:.1f} s before its second batch"
        )
    size = sum(path.stat().st_size for path in folder.glob("onnx-*/*"))
    print(f"  exported: {size / 1e6:.1f} MB")


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
    parser.add_argument("--engine", default="torch", choices=["torch", "onnxruntime"], help="which runs ours")
    parser.add_argument("--command", action="store_true", help="the whole command as well")
    parser.add_argument("--engines", action="store_true", help="other engines than torch instead")
    parser.add_argument("--script", metavar="WEIGHTS", help="measure the script alone, on the files of standard input")
    options = parser.parse_args()
    if options.script is not None:
        weights = options.script or None
        encoder = plain_encoder(options.model, weights, opened(options.model, weights, options.precision))
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

        of_torch = opened(options.model, weights, options.precision, options.resize)
        if options.engines:
            engines(of_torch, paths, options.rounds)
            return
        encoders = by_each_engine(of_torch)
        ours = encoders[options.engine]
        report(ours, measured(encoders, folder, options, weights), len(paths), options)
        if options.precision != "fp32" or options.resize != "pillow":
            compare(ours, opened(options.model, weights, "fp32"), paths)


def report(encoder: OpenClipEncoder, rounds: Sequence[Round], count: int, options: argparse.Namespace) -> None:
    """Print the median speeds of the rounds, and shares of the ceilings."""
    print(
        f"{options.model} in {options.precision} by {options.engine} on {encoder.device_name}, "
        f"{encoder.images.threads} threads, {count:,} pictures in batches of {encoder.images.batch_size}"
    )
    speeds = {
        "preparing": [one.ours.preparing for one in rounds],
        **{f"computing by {name}": [one.computing[name] for one in rounds] for name in rounds[0].computing},
        "computing by open_clip as it is": [one.plain for one in rounds],
        "encoding": [one.ours.encoding for one in rounds],
        "script": [one.script for one in rounds],
    }
    for title, values in speeds.items():
        print(f"  {title:<42} {median(values):8.1f} pictures/s")
    shares = {
        "encoding as a share of the ceiling": [one.ours.encoding / one.ceilings[0] for one in rounds],
        "where preparing takes its share": [one.ours.encoding / one.shared for one in rounds],
        "with open_clip's model alone": [one.ours.encoding / one.ceilings[1] for one in rounds],
        "encoding against the script": [one.ours.encoding / one.script for one in rounds],
    }
    if options.command:
        shares["evenly encode as a share of the ceiling"] = [count / one.whole / one.ceilings[0] for one in rounds]
    for title, values in shares.items():
        print(f"  {title:<42} {spread(values)}")
    if options.command:
        report_seconds(rounds, count)


def report_seconds(rounds: Sequence[Round], count: int) -> None:
    """Print what the seconds of `evenly encode` go to: what each part takes alone, and the rest."""
    whole, memory = median(one.whole for one in rounds), max(one.memory for one in rounds)
    parts = {
        "one picture": median(one.one for one in rounds),
        "preparing": count / median(one.ours.preparing for one in rounds),
        "computing by the fastest engine": count / median(max(one.computing.values()) for one in rounds),
    }
    parts["the rest"] = whole - sum(parts.values())
    print(f"  evenly encode {whole:.1f} s, {memory:.0f} MB: {', '.join(f'{n} {s:.1f} s' for n, s in parts.items())}")


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
