"""Detections of naked bodies, by NudeNet's small detector (YOLOv8n, 320 px, 12 MB), run with onnxruntime.

The model is the file of the package `nudenet`, whose own code is not imported. Its licence is the AGPL-3.0, so it is
no part of evenly and comes with the extra `safety` alone. It finds nakedness in photographs and in some drawings. It
knows nothing of violence, hate or age, and misses much: it is a help to people, not a proof.
"""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterable
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from evenly.features.errors import UnreadableImageError, WeightsUnavailableError
from evenly.features.pictures.rgb import open_rgb
from evenly.features.torch_session import major_minor
from evenly.installing import install_extra

_SIDE_PX = 320
_LONGEST_PX = 8192
_FILE = "320n.onnx"
_PREPARATION = "rgb, black to a square at the right and the bottom, bilinear"
_BOX = 4  # rows of the output that hold the place of a box; the others are classes

Scores = npt.NDArray[np.float32]


class SafetyDetector:
    """Scores of pictures, one by one: a picture's do not depend on its neighbours."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = _packaged() if file is None else file

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
        named = ast.literal_eval(self._session.get_modelmeta().custom_metadata_map["names"])
        return tuple(str(named[number]) for number in range(len(named)))

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

    @cached_property
    def _session(self) -> Any:  # noqa: ANN401 - onnxruntime has no types
        import onnxruntime

        return onnxruntime.InferenceSession(str(self._file), providers=["CPUExecutionProvider"])

    def _of_one(self, data: bytes) -> Scores:
        try:
            picture = open_rgb(data)
        except UnreadableImageError:
            return np.full(len(self.classes), np.nan, np.float32)
        picture.thumbnail((_LONGEST_PX, _LONGEST_PX), Image.Resampling.BILINEAR)  # the square of a strip is large
        side = max(picture.size)
        square = Image.new("RGB", (side, side))
        square.paste(picture)
        pixels = np.asarray(square.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BILINEAR), dtype=np.float32) / 255
        output = self._session.run(None, {"images": pixels.transpose(2, 0, 1)[None]})[0]
        return np.asarray(output[0, _BOX:].max(axis=1), dtype=np.float32)


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
