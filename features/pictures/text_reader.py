"""The text that stands in pictures, read by PP-OCRv6 (small detection and recognition models) with onnxruntime.

The models are files of the package `rapidocr` (Apache-2.0), which comes with the extra `ocr`: nothing is downloaded. It
reads printed text in Latin script, Chinese and Japanese. Each picture is brought to one size and read alone, by one
thread, so its text does not depend on other pictures.
"""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterable
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from evenly.features.errors import UnreadableImageError, WeightsUnavailableError
from evenly.features.pictures.rgb import open_rgb
from evenly.features.torch_session import major_minor
from evenly.installing import install_extra

_DETECTION, _RECOGNITION = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
_SIDE_PX = 736
_PREPARATION = "rgb, longer side to one length, bicubic, lines joined by line breaks"
LONGEST = 4000
"""Characters of a picture's text that are kept."""


class TextReader:
    """Reads pictures, one by one."""

    def __init__(self) -> None:
        self._models = _packaged()

    @cached_property
    def identity(self) -> str:
        """SHA-256 over all that the text depends on: weights, preparation, versions of rapidocr and onnxruntime."""
        facts = {
            "weights": [hashlib.sha256((self._models / name).read_bytes()).hexdigest() for name in _FILES],
            "preparation": f"{_PREPARATION} {_SIDE_PX} {LONGEST}",
            "rapidocr": version("rapidocr"),
            "onnxruntime": major_minor(version("onnxruntime")),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def read(self, images: Iterable[bytes], *, progress: Callable[[int], object] | None = None) -> list[str]:
        """Return the text of each picture, as the bytes of its file, its lines from the top; "" where there is none.

        Nothing is read of a picture that cannot be decoded.
        """
        texts = []
        for data in images:
            texts.append(self._of_one(data))
            if progress is not None:
                progress(1)
        return texts

    @cached_property
    def _engine(self) -> Any:  # noqa: ANN401 - rapidocr's types are not checked
        from rapidocr import RapidOCR

        threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
        models = {
            "Det.model_path": str(self._models / _DETECTION),
            "Rec.model_path": str(self._models / _RECOGNITION),
        }
        limits = {"Det.limit_type": "max", "Det.limit_side_len": _SIDE_PX, "Global.use_cls": False}
        return RapidOCR(params={"Global.log_level": "critical", **models, **limits, **threads})

    def _of_one(self, data: bytes) -> str:
        try:
            picture = open_rgb(data)
        except UnreadableImageError:
            return ""
        scale = _SIDE_PX / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        pixels = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
        lines = self._engine(np.ascontiguousarray(pixels[:, :, ::-1])).txts or ()
        printable = (" ".join("".join(char if char.isprintable() else " " for char in line).split()) for line in lines)
        return "\n".join(line for line in printable if line)[:LONGEST]


_FILES = (_DETECTION, _RECOGNITION)


def check_text_reader() -> None:
    """Raise WeightsUnavailableError where the reader or its models are not installed; nothing is loaded."""
    _packaged()


def _packaged() -> Path:
    spec = importlib.util.find_spec("rapidocr")
    folder = (
        Path(next(iter(spec.submodule_search_locations)), "models")
        if spec and spec.submodule_search_locations
        else None
    )
    is_there = folder is not None and all((folder / name).is_file() for name in _FILES)
    if folder is None or not is_there or importlib.util.find_spec("onnxruntime") is None:
        raise WeightsUnavailableError(
            "rapidocr with its models and onnxruntime must be installed to read text in pictures; one is not. "
            f"Run `{install_extra('ocr')}`, or leave `read_text` out."
        )
    return folder
