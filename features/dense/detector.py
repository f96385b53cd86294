"""Boxes of things by a detector: any ONNX file of a declared form, run with onnxruntime on one thread.

A picture's boxes do not depend on its neighbours. The file is not trusted: it may bring no operators of its own, read
no other file and take a minute a picture at most; its outputs are checked.
"""

import ast
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le
from PIL import Image

from evenly.bounds import check_bounds
from evenly.features.dense.given import MOST_REGIONS, Entry, region_entries
from evenly.features.dense.regions import Regions
from evenly.features.encoders.engines import onnx_session
from evenly.features.errors import OnnxModelError, UnreadableImageError
from evenly.features.open_clip_models import in_one_line
from evenly.features.pictures.rgb import open_rgb
from evenly.features.torch_session import major_minor
from evenly.installing import install_extra

_PREPARATION = "rgb of 0 to 1, in a square, bilinear"
_LONGEST_PX = 8192  # the square of a strip is large
_GREY = (114, 114, 114)
_LONGEST_S = 60.0
_MOST_ROWS, _MOST_CHARACTERS = 100_000, 1_000_000
_BOXES = ("boxes", "scores", "labels")
_YOLO_OVERLAP = 0.45
Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class DetectorRule:
    """Form of the ONNX `file` of a detector, by which it is fed and read; `name` is that of its regions' source.

    side: of its square input, in pixels; None: as the file says. names: of its classes; None: those in the file, as
    Ultralytics writes them. place: of a picture in the square, in the `corner` on black or in the `middle` on grey.
    output, with sides in pixels of the square: `yolo`, centre, size and a score of each class, or of anything before
    these (n, 4 + c) or (4 + c, n); `rows`, corners, score and class (n, 6); `boxes`, outputs boxes (n, 4), scores and
    labels. What scores below `min_score` is no region. Of two boxes of a class, or with `across` of any two, with an
    IoU above `overlap` (None: .45 of yolo, else both stay) the one of the higher score stays.
    """

    file: str
    name: str = "onnx"
    side: Annotated[int, Ge(16), Le(4096)] | None = None
    names: tuple[str, ...] | None = None
    place: Literal["corner", "middle"] = "middle"
    output: Literal["yolo", "rows", "boxes"] = "yolo"
    min_score: Annotated[float, Ge(0), Le(1)] = 0.25
    overlap: Annotated[float, Ge(0), Le(1)] | None = None
    across: bool = False

    def __post_init__(self) -> None:
        check_bounds(self, ValueError)


class OnnxDetector:
    """A detector. Raises OnnxModelError where its file cannot be run or has another form than the rule says."""

    def __init__(self, rule: DetectorRule) -> None:
        self._rule = rule
        if find_spec("onnxruntime") is None:
            raise OnnxModelError(f"onnxruntime must be installed to run detectors. Run `{install_extra('onnx')}`.")
        try:
            self._content = Path(rule.file).read_bytes()
        except OSError as error:
            raise self._refused("be a file to read", str(error.strerror), "Correct the path.") from None

    @cached_property
    def identity(self) -> str:
        """SHA-256 over all that the regions depend on but their source: the file, the rule, onnxruntime's version."""
        rule = {name: value for name, value in asdict(self._rule).items() if name not in {"file", "name"}}
        weights = hashlib.sha256(self._content).hexdigest()
        facts = {"weights": weights, "preparation": _PREPARATION, "onnxruntime": major_minor(version("onnxruntime"))}
        return hashlib.sha256(json.dumps(rule | facts, sort_keys=True).encode()).hexdigest()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the classes, by number."""
        names: Any = self._rule.names or self._noted("names")
        names = [names.get(number) for number in range(len(names))] if isinstance(names, dict) else names
        if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
            raise self._refused("name its classes", str(names)[:80], "Give `names`.")
        return tuple(names)

    def regions(self, images: Iterable[bytes], *, progress: Callable[[int], object] | None = None) -> Regions:
        """The regions of pictures, as the bytes of their files.

        One that does not decode has a row, `unreadable`, and so has one with scores that are no numbers, `bad_output`.
        """
        rows: list[Entry] = []
        for place, data in enumerate(images):
            source = {"picture": place, "source": f"detector:{self._rule.name}"}
            rows += (entry | source for entry in self._of_one(data))
            if progress is not None:
                progress(1)
        return Regions.from_rows(rows)

    def outputs(self, picture: Image.Image) -> tuple[list[Array], Array]:
        """The outputs of the model for a picture, and where that lay in the square (4,): x0, y0, x1, y1."""
        from onnxruntime import RunOptions
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        feed = self._session.get_inputs()[0]
        pixels, frame = _in_square(picture, self._side, self._rule.place)
        batch = pixels if len(feed.shape) == pixels.ndim else pixels[None]
        options = RunOptions()
        limit = Timer(_LONGEST_S, setattr, (options, "terminate", True))
        limit.start()
        try:
            outputs = self._session.run(_BOXES if self._rule.output == "boxes" else None, {feed.name: batch}, options)
        except (errors.Fail, errors.InvalidArgument, errors.RuntimeException, errors.NotImplemented) as error:
            raise self._refused("run on any picture", in_one_line(error), "Export it anew.") from None
        finally:
            limit.cancel()
        return [np.asarray(output) for output in outputs], frame

    def _of_one(self, data: bytes) -> list[Entry]:
        try:
            picture = open_rgb(data)
        except UnreadableImageError:
            return [{"reason": "unreadable"}]
        outputs, frame = self.outputs(picture)
        corners, scores, classes = self._detections(outputs)
        if not np.isfinite(scores).all():
            return [{"reason": "bad_output"}]
        likely = np.flatnonzero(scores >= self._rule.min_score)
        corners, scores, classes = corners[likely].astype(np.float64), scores[likely], classes[likely]
        groups = np.zeros_like(classes) if self._rule.across else classes
        scale = np.tile(picture.size / (frame[2:] - frame[:2]), 2)
        names = dict(enumerate(self.names))
        items = [
            {
                "box": ((corners[row] - np.tile(frame[:2], 2)) * scale).tolist(),
                "label": names.get(int(classes[row]), str(classes[row])),
                "score": float(scores[row]),
            }
            for row in _apart(corners, scores, groups, self._overlap)
        ]
        return region_entries(items, picture.size)

    def _detections(self, outputs: list[Array]) -> tuple[Array, Array, Array]:
        """Corners (n, 4) in pixels of the square, scores (n,) and numbers of classes (n,) of the model's outputs."""
        kind, c = self._rule.output, len(self.names)
        if kind == "boxes":
            corners, scores, classes = outputs
            is_form = scores.ndim == 1 and corners.shape == (*scores.shape, 4) and classes.shape == scores.shape
            kinds = "".join(output.dtype.kind for output in outputs)
            if not is_form or len(scores) > _MOST_ROWS or kinds != "ffi":
                raise self._of_another_form("boxes (n, 4) and scores (n,), floats, and labels (n,)", outputs)
            return corners, scores, classes
        table = outputs[0][0] if outputs[0].ndim == 3 and len(outputs[0]) == 1 else outputs[0]
        widths = (6,) if kind == "rows" else (4 + c, 5 + c)
        if table.ndim == 2 and kind == "yolo" and table.shape[0] in widths:
            table = table.T
        if table.ndim != 2 or table.shape[1] not in widths or len(table) > _MOST_ROWS or table.dtype != np.float32:
            raise self._of_another_form(f"a table of {' or '.join(map(str, widths))} columns of floats", outputs)
        if kind == "rows":
            return table[:, :4], table[:, 4], np.nan_to_num(table[:, 5], nan=-1).clip(-1, 1e6).astype(np.int64)
        scores = table[:, 4:] if table.shape[1] == 4 + c else table[:, 4:5] * table[:, 5:]
        half = table[:, 2:4] / 2
        return np.hstack([table[:, :2] - half, table[:, :2] + half]), scores.max(axis=1), scores.argmax(axis=1)

    @property
    def _overlap(self) -> float:
        standard = _YOLO_OVERLAP if self._rule.output == "yolo" else 1.0
        return standard if self._rule.overlap is None else self._rule.overlap

    @cached_property
    def _side(self) -> int:
        """The side of the square: as the rule says, else the input's, else the size that is noted in the file."""
        sides = [side for side in self._session.get_inputs()[0].shape[-2:] if isinstance(side, int)]
        wanted: Any = [self._rule.side] if self._rule.side else sides or self._noted("imgsz")
        listing = [*wanted, *sides] if isinstance(wanted, list) else []
        if not listing or any(
            type(side) is not int or side != listing[0] or not 16 <= side <= 4096 for side in listing
        ):
            value = f"`{wanted}` and {sides or 'any'}"
            raise self._refused("have a square input of one size, 16 to 4096 pixels", value, "Give its `side`.")
        return int(listing[0])

    @cached_property
    def _session(self) -> Any:  # noqa: ANN401 - onnxruntime has no types
        try:
            session = onnx_session(self._content)
        except OnnxModelError as error:
            raise self._refused("be a model that onnxruntime runs", str(error), "Export it anew.") from None
        inputs, outputs = session.get_inputs(), {output.name for output in session.get_outputs()}
        shapes = [feed.shape for feed in inputs if feed.type == "tensor(float)"]
        if len(inputs) != 1 or len(shapes) != 1 or len(shapes[0]) not in (3, 4):
            raise self._refused("take pictures, floats (1, 3, side, side)", f"{shapes}", "Export it so.")
        if self._rule.output == "boxes" and not set(_BOXES) <= outputs:
            raise self._refused(f"have outputs {', '.join(_BOXES)}", ", ".join(sorted(outputs)), "Correct `output`.")
        return session

    def _noted(self, name: str) -> Any:  # noqa: ANN401 - whatever its maker wrote
        """A field of the metadata that Ultralytics exports; None where there is none."""
        text = self._session.get_modelmeta().custom_metadata_map.get(name, "")
        try:
            return ast.literal_eval(text) if len(text) <= _MOST_CHARACTERS else None
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None

    def _of_another_form(self, form: str, outputs: list[Array]) -> OnnxModelError:
        shapes = ", ".join(f"{output.dtype} {output.shape}" for output in outputs)
        return self._refused(f"give {form}", shapes, "Correct `output` and `names`.")

    def _refused(self, demand: str, value: str, remedy: str) -> OnnxModelError:
        return OnnxModelError(f"detector `{self._rule.file}` must {demand}; got {value}. {remedy}")


def _in_square(picture: Image.Image, side: int, place: str) -> tuple[Array, Array]:
    """The pixels (3, side, side) of a picture in a square, and its frame there."""
    small = picture.copy()
    small.thumbnail((_LONGEST_PX, _LONGEST_PX), Image.Resampling.BILINEAR)
    longest = max(small.size)
    corner = (0, 0) if place == "corner" else ((longest - small.width) // 2, (longest - small.height) // 2)
    square = Image.new("RGB", (longest, longest), (0, 0, 0) if place == "corner" else _GREY)
    square.paste(small, corner)
    pixels = np.asarray(square.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32) / 255
    frame = np.array([*corner, *np.add(corner, small.size)], np.float64) * (side / longest)
    return pixels.transpose(2, 0, 1), frame


def _apart(corners: Array, scores: Array, groups: Array, most: float) -> list[int]:
    """The rows, the highest score first, without those that overlap one before of their group by more than `most`.

    Where there are more than a picture may have, one more than that.
    """
    order, rows = np.argsort(-scores, kind="stable"), list[int]()
    if most >= 1:
        return [int(row) for row in order[: MOST_REGIONS + 1]]
    areas = np.prod((corners[:, 2:] - corners[:, :2]).clip(0), axis=1)
    while len(order) and len(rows) <= MOST_REGIONS:
        first, rest = order[0], order[1:]
        rows.append(int(first))
        lower, upper = (
            np.maximum(corners[rest, :2], corners[first, :2]),
            np.minimum(corners[rest, 2:], corners[first, 2:]),
        )
        shared = np.prod((upper - lower).clip(0), axis=1)
        overlap = shared / np.maximum(areas[rest] + areas[first] - shared, np.finfo(np.float64).tiny)
        order = rest[(groups[rest] != groups[first]) | ~(overlap > most)]
    return rows
