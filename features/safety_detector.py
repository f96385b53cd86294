"""Detections of naked bodies, by NudeNet's small detector (YOLOv8n, 320 px, 12 MB), run with onnxruntime.

The model is the file of the package `nudenet`, whose own code is not imported. Its licence is the AGPL-3.0, so it is
no part of evenly and comes with the extra `safety` alone. It finds nakedness in photographs and in some drawings. It
knows nothing of violence, hate or age, and misses much: it is a help to people, not a proof.
"""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterable
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evenly.features.dense.detector import DetectorRule, OnnxDetector
from evenly.features.errors import UnreadableImageError, WeightsUnavailableError
from evenly.features.pictures.rgb import open_rgb
from evenly.features.torch_session import major_minor
from evenly.installing import install_extra

_SIDE_PX = 320
_FILE = "320n.onnx"
_PREPARATION = "rgb, black to a square at the right and the bottom, bilinear"
_BOX = 4  # rows of the output that hold the place of a box; the others are classes

Scores = npt.NDArray[np.float32]


class SafetyDetector:
    """Scores of pictures, one by one: a picture's do not depend on its neighbours."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = _packaged() if file is None else file
        self._detector = OnnxDetector(nudenet(self._file))

    @cached_property
    def identity(self) -> str:
        """SHA-256 over all that the scores depend on: weights, preparation, the version of onnxruntime."""
        facts = {
            "weights": hashlib.sha256(self._file.read_bytes()).hexdigest(),
            "preparation": f"{_PREPARATION} {_SIDE_PX}",
            "onnxruntime": major_minor(version("onnxruntime")),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The labels of the detector, in the order of the scores."""
        return self._detector.names

    def scores(self, images: Iterable[bytes], *, progress: Callable[[int], object] | None = None) -> Scores:
        """Return for each picture, as the bytes of its file, the highest score of each class (n, c) in [0, 1].

        NaN where a picture cannot be decoded.
        """
        scores = []
        for data in images:
            scores.append(self._of_one(data))
            if progress is not None:
                progress(1)
        return np.stack(scores) if scores else np.empty((0, len(self.classes)), np.float32)

    def _of_one(self, data: bytes) -> Scores:
        try:
            picture = open_rgb(data)
        except UnreadableImageError:
            return np.full(len(self.classes), np.nan, np.float32)
        (output,), _ = self._detector.outputs(picture)
        return np.asarray(output[0, _BOX:].max(axis=1), dtype=np.float32)


def nudenet(file: Path | None = None) -> DetectorRule:
    """The detector's form, of its package's file or another, by which it gives boxes as `nudenet` does."""
    return DetectorRule(
        file=str(_packaged() if file is None else file), name="nudenet", side=_SIDE_PX, place="corner", across=True
    )


def check_detector() -> None:
    """Raise WeightsUnavailableError where the detector or its model is not installed; nothing is loaded."""
    _packaged()


def _packaged() -> Path:
    spec = importlib.util.find_spec("nudenet")
    runtime = importlib.util.find_spec("onnxruntime")
    file = (
        Path(next(iter(spec.submodule_search_locations)), _FILE) if spec and spec.submodule_search_locations else None
    )
    if runtime is None or file is None or not file.is_file():
        raise WeightsUnavailableError(
            "nudenet and onnxruntime must be installed to detect unsafe pictures; one is not. "
            f"Run `{install_extra('safety')}`, or write `detector: null`."
        )
    return file
