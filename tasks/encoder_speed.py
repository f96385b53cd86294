"""Speeds of encoders as they were measured on this machine, kept beside their weights."""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
from PIL import Image

from evenly.curation.encoder_name import EncoderName
from evenly.features.encoder import load_encoder
from evenly.features.encoders.engines import EngineName, TowerEngine, check_onnx_fits, check_onnxruntime
from evenly.features.encoders.speed import Speed, measure_speed
from evenly.features.errors import DeviceError, TowerEngineError
from evenly.storage.errors import DamagedError
from evenly.storage.records import content_hash, read_if_there, replace_record
from evenly.tasks.run import Run

_CLOSE = 0.97
"""A batch with this share of the best speed is as good, and takes less memory."""


def tune_encoder(
    run: Run, pictures: Sequence[bytes] | None, *, batch_sizes: Sequence[int], rounds: int
) -> dict[str, Any]:
    """Measure the run's encoder by each engine that can run it here, with each batch size, smallest first.

    `speeds` are rows of pictures per second, `too_large` the sizes that do not fit the device's memory, `refused` why
    an engine was left out. `engine` and `batch_size` are those to take: the smallest batch whose speed is close to the
    best, by torch where it has one; they are kept for `measured_speed`. Without `pictures`, drawn ones of 384 pixels
    stand in. Raises DeviceError where the smallest batch does not fit.
    """
    loaded = load_encoder(
        run.encoder.model,
        run.encoder.pretrained,
        cache=run.cache / "encoders",
        threads=run.encoder.threads,
        precision=run.encoder.precision,
        device=run.encoder.device,
        resize=run.encoder.resize,
    ).with_long_texts(run.encoder.long_texts)
    threads, device = loaded.images.threads, loaded.images.device
    speeds: list[tuple[EngineName, Speed]] = []
    too_large, refused = set[int](), list[str]()
    sizes, engines = sorted(batch_sizes), _engines(run.encoder.precision, device)
    with run.progress.bar("measuring", len(sizes) * len(engines)) as advance:
        for engine, (place, size) in product(engines, enumerate(sizes)):
            if size in too_large or refused:
                continue
            count = size * threads * 2
            samples = list(pictures) if pictures is not None else drawn_pictures(count)
            repeated = (samples * -(-count // len(samples)))[:count]
            try:
                with TemporaryDirectory() as exported:
                    runner = TowerEngine(name=engine, cache=Path(exported))
                    encoder = loaded.with_opened(loaded.opened, size).with_engine(runner)
                    speeds.append((engine, measure_speed(encoder, repeated, rounds=rounds)))
            except DeviceError:
                if not speeds:
                    raise
                too_large.update(sizes[place:])
            except TowerEngineError as error:
                refused.append(str(error))
            advance(1)
    fastest = max(speed.encoding for _, speed in speeds)
    engine, best = next(speed for speed in speeds if speed[1].encoding >= _CLOSE * fastest)
    path = _record_of(run, run.encoder)
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = {"precision": run.encoder.precision, "resize": run.encoder.resize, "engine": engine}
    made_on = {"device": device, "device_name": loaded.device_name, "threads": threads}
    replace_record(path, {**made_on, **numbers, **asdict(best)})
    rows = [
        {"engine": name}
        | {name: round(getattr(speed, name), 1) for name in ("batch_size", "preparing", "computing", "encoding")}
        | {"share": round(speed.share, 3), "limit": speed.limit}
        for name, speed in speeds
    ]
    chosen = {"engine": engine, "batch_size": best.batch_size, "limit": best.limit}
    left_out = {"too_large": sorted(too_large), "refused": refused}
    return {"device": device, "threads": threads, **chosen, "speeds": rows, **left_out}


def _engines(precision: str, device: str) -> tuple[EngineName, ...]:
    """The engines that can run an encoder here, torch first."""
    try:
        check_onnx_fits(precision=precision, device=device)
        check_onnxruntime()
    except TowerEngineError:
        return ("torch",)
    return get_args(EngineName)


def measured_speed(run: Run, name: EncoderName) -> dict[str, Any] | None:
    """The speed of an encoder here with the best batch, by `tune_encoder`; None without one, or where it is damaged."""
    with suppress(DamagedError):
        return read_if_there(_record_of(run, name))
    return None


def _record_of(run: Run, name: EncoderName) -> Path:
    key = content_hash({"model": name.model, "pretrained": name.pretrained})
    return run.cache / "encoders" / "speeds" / f"{key[:32]}.json"


def drawn_pictures(count: int, side: int = 384) -> list[bytes]:
    """JPEG files of clouds of colour, each another, of up to `side` pixels."""
    chance = np.random.default_rng(0)

    def files() -> Iterator[bytes]:
        for _ in range(count):
            width, height = chance.integers(side * 2 // 3, side + 1, 2).tolist()
            coarse = Image.fromarray(chance.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            file = io.BytesIO()
            coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
            yield file.getvalue()

    return list(files())
