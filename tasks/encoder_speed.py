"""Speeds of encoders as they were measured on this machine, kept beside their weights."""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from evenly.features.encoder import load_encoder
from evenly.features.encoders.speed import Speed, measure_speed
from evenly.features.errors import DeviceError
from evenly.storage.errors import DamagedError
from evenly.storage.records import content_hash, read_if_there, replace_record
from evenly.tasks.run import EncoderName, Run

_CLOSE = 0.97
"""A batch with this share of the best speed is as good, and takes less memory."""


def tune_encoder(
    run: Run, pictures: Sequence[bytes] | None, *, batch_sizes: Sequence[int], rounds: int
) -> dict[str, Any]:
    """Measure the run's encoder with each batch size, smallest first, until one does not fit the device's memory.

    `speeds` are rows of pictures per second, `too_large` the sizes that did not fit, `batch_size` the one to take: the
    smallest whose speed is close to the best, which is kept for `measured_speed`. Without `pictures`, drawn ones of 384
    pixels stand in. Raises DeviceError where the smallest does not fit.
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
    speeds: list[Speed] = []
    too_large: list[int] = []
    with run.progress.bar("measuring", len(batch_sizes)) as advance:
        for place, size in enumerate(sizes := sorted(batch_sizes)):
            count = size * threads * 2
            given = list(pictures) if pictures is not None else drawn_pictures(count)
            repeated = (given * -(-count // len(given)))[:count]
            try:
                speeds.append(measure_speed(loaded.with_batches(size), repeated, rounds=rounds))
            except DeviceError:
                if not speeds:
                    raise
                too_large = list(sizes[place:])
                break
            advance(1)
    fastest = max(speed.encoding for speed in speeds)
    best = next(speed for speed in speeds if speed.encoding >= _CLOSE * fastest)
    path = _record_of(run, run.encoder)
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = {"precision": run.encoder.precision, "resize": run.encoder.resize}
    made_on = {"device": device, "device_name": loaded.device_name, "threads": threads}
    replace_record(path, {**made_on, **numbers, **asdict(best)})
    rows = [
        {name: round(getattr(speed, name), 1) for name in ("batch_size", "preparing", "computing", "encoding")}
        | {"share": round(speed.share, 3), "limit": speed.limit}
        for speed in speeds
    ]
    best_size = {"batch_size": best.batch_size, "limit": best.limit}
    return {"device": device, "threads": threads, **best_size, "speeds": rows, "too_large": too_large}


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
