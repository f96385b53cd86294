"""A detector as an ONNX file, made of a few operators: cells of 8 pixels in a square of 64, red or blue in as much."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CELL = 64, 8
CELLS = SIDE // CELL
NAMES = ("red", "blue")


def write_detector(path: Path, output: str = "yolo", *, names: bool = True, side: int | str = SIDE) -> Path:
    """The file; output: yolo (4 + c, n), columns (n, 4 + c), objectness, rows or boxes."""
    y, x = np.mgrid[0:CELLS, 0:CELLS].reshape(2, -1) * CELL
    corners = np.stack([x, y, x + CELL, y + CELL]).astype(np.float32)[None]
    centres = np.stack([x + 4, y + 4, np.full_like(x, CELL), np.full_like(x, CELL)]).astype(np.float32)[None]
    constants = {
        "centres": centres, "corners": corners, "half": np.full((1, 1, CELLS**2), 0.5, np.float32),
        "cells": np.array([1, 3, -1]), "flat": np.array([-1]), "fours": np.array([-1, 4]), "channels": np.array([0, 2]),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("AveragePool", ["images"], ["pooled"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        node("Reshape", ["pooled", "cells"], ["colours"]),
        node("Gather", ["colours", "channels"], ["scores2"], axis=1),
    ]
    if output in ("yolo", "columns"):
        nodes.append(node("Concat", ["centres", "scores2"], ["across"], axis=1))
    elif output == "objectness":
        nodes.append(node("Concat", ["centres", "half", "scores2"], ["across"], axis=1))
    else:
        nodes += [
            node("ReduceMax", ["scores2"], ["best"], axes=[1], keepdims=1),
            node("ArgMax", ["scores2"], ["number"], axis=1, keepdims=1),
            node("Cast", ["number"], ["class"], to=TensorProto.FLOAT),
            node("Concat", ["corners", "best", "class"], ["across"], axis=1),
        ]
    nodes.append(node("Transpose", ["across"], ["rows"], perm=[0, 2, 1]))
    outputs = ["across"] if output == "yolo" else ["rows"]
    if output == "boxes":
        nodes += [
            node("Transpose", ["corners"], ["turned"], perm=[0, 2, 1]), node("Reshape", ["turned", "fours"], ["boxes"]),
            node("Reshape", ["best", "flat"], ["scores"]), node("Reshape", ["number", "flat"], ["labels"]),
        ]  # fmt: skip
        outputs = ["labels", "boxes", "scores"]
    kinds = {name: TensorProto.INT64 if name == "labels" else TensorProto.FLOAT for name in outputs}
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if names:
        helper.set_model_props(model, {"names": str(dict(enumerate(NAMES)))})
    onnx.save(model, path)
    return path
