"""Adapters for use without evenly: (W, b) as .npz, and ONNX models from unit image rows to logits.

An ONNX model takes `image_features` (N, d) float32, rows of unit length, and gives `logits` (N, c) float32. Inside it
counts in float64, as adapters do: discriminant weights of 1e4 and more cancel down to logits of a few units. `single`
makes it count in float32, for runtimes that know nothing else. What it is stands in its metadata: `classes` (JSON, in
the order of the logits), `adapter`, `encoder` (the identity of the encoder that the rows must come from).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.installing import install_extra
from evenly.storage.errors import InputError, StorageError
from evenly.storage.files.arrays import write_arrays
from evenly.storage.records import replacing

Floats = npt.NDArray[np.floating[Any]]

INPUT, OUTPUT = "image_features", "logits"
_OPSET, _IR_VERSION = 13, 7  # of 2020: what runs today reads them
_LARGEST_BYTES = 2**31 - 2**20  # protobuf's limit for a message, and room for the graph
_Node = tuple[str, tuple[str, ...], str, Mapping[str, Any]]  # operator, inputs, output, attributes


def export_affine_npz(
    path: Path, weight: Floats, bias: Floats, classes: Sequence[str], *, adapter: str = "", encoder: str = ""
) -> None:
    """Write `weight` (c, d) and `bias` (c,), float64, and the texts `classes` (c,), `adapter` and `encoder`.

    The logits of a unit row x are W x + b.
    """
    weight, bias = _checked_affine(weight, bias)
    _check_classes(classes, len(weight))
    texts = {"classes": classes, "adapter": adapter, "encoder": encoder}
    write_arrays(
        path, {"weight": weight, "bias": bias, **{key: np.array(text, np.str_) for key, text in texts.items()}}
    )


def export_onnx(
    path: Path,
    weight: Floats,
    bias: Floats,
    classes: Sequence[str],
    *,
    adapter: str = "",
    encoder: str = "",
    single: bool = False,
) -> None:
    """Write logits = W x + b as an ONNX model, from `weight` (c, d) and `bias` (c,)."""
    weight, bias = _checked_affine(weight, bias)
    nodes: list[_Node] = [("Gemm", ("x", "weight", "bias"), "y", {"transB": 1})]
    properties = _properties(classes, len(weight), adapter, encoder)
    _write(path, nodes, {"weight": weight, "bias": bias}, weight.shape, properties, single=single)


@dataclass(frozen=True, kw_only=True, eq=False)
class CacheModel:
    """A cache adapter (Tip-Adapter, Tip-Adapter-F) by its numbers.

    logits = s x T^T + alpha * exp(-beta (1 - x K^T)) Y, with `prototypes` T (c, d), `keys` K (N, d), `values` Y (N, c),
    one-hot, and `logit_scale` s. Without keys they are those of zero-shot.
    """

    prototypes: Floats
    keys: Floats
    values: Floats
    alpha: float
    beta: float
    logit_scale: float = 100.0


def export_cache_onnx(
    path: Path,
    cache: CacheModel,
    classes: Sequence[str],
    *,
    adapter: str = "",
    encoder: str = "",
    single: bool = False,
) -> None:
    """Write a cache adapter as an ONNX model."""
    keys, values, alpha, beta = cache.keys, cache.values, cache.alpha, cache.beta
    n, (c, d) = len(keys), _checked("prototypes", cache.prototypes, 2).shape
    if _checked("keys", keys, 2).shape != (n, d) or _checked("values", values, 2).shape != (n, c):
        raise InputError(
            f"`keys` and `values` must have shapes (N, {d}) and (N, {c}); got {keys.shape} and {values.shape}. "
            "Hand in those of one fitted adapter."
        )
    arrays = {"prototypes": cache.logit_scale * cache.prototypes.astype(np.float64).T}
    nodes: list[_Node] = [("MatMul", ("x", "prototypes"), "zero_shot" if n and alpha else "y", {})]
    if n and alpha:
        arrays |= {"keys": beta * keys.astype(np.float64).T, "beta": np.array(beta, np.float64)}
        arrays |= {"values": alpha * values.astype(np.float64)}
        nodes += [
            ("MatMul", ("x", "keys"), "affinity", {}),
            ("Sub", ("affinity", "beta"), "exponent", {}),
            ("Exp", ("exponent",), "closeness", {}),
            ("MatMul", ("closeness", "values"), "cache", {}),
            ("Add", ("zero_shot", "cache"), "y", {}),
        ]
    _write(path, nodes, arrays, (c, d), _properties(classes, c, adapter, encoder), single=single)


def _write(
    path: Path,
    nodes: Sequence[_Node],
    arrays: Mapping[str, Floats],
    shape: tuple[int, ...],
    properties: Mapping[str, str],
    *,
    single: bool,
) -> None:
    """Write the graph that makes `y` (N, c) of `x` (N, d)."""
    try:
        import onnx.numpy_helper
    except ImportError:
        raise StorageError(
            f"`onnx` must be installed for this export; it is not. Run `{install_extra('onnx')}`, or use npz."
        ) from None
    kind = np.float32 if single else np.float64
    size = sum(array.size for array in arrays.values()) * np.dtype(kind).itemsize
    if size > _LARGEST_BYTES:
        raise InputError(
            f"an ONNX file must stay below 2 GiB; got {size:,} bytes of weights. Export fewer keys, or .npz."
        )
    tensor = onnx.TensorProto
    casts = [
        onnx.helper.make_node("Cast", [INPUT], ["x"], to=tensor.FLOAT if single else tensor.DOUBLE),
        onnx.helper.make_node("Cast", ["y"], [OUTPUT], to=tensor.FLOAT),
    ]
    inner = [onnx.helper.make_node(name, inputs, [output], **options) for name, inputs, output, options in nodes]
    graph = onnx.helper.make_graph(
        [casts[0], *inner, casts[1]],
        "adapter",
        [onnx.helper.make_tensor_value_info(INPUT, tensor.FLOAT, ["N", shape[1]])],
        [onnx.helper.make_tensor_value_info(OUTPUT, tensor.FLOAT, ["N", shape[0]])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(array, kind), name) for name, array in arrays.items()],
    )
    opsets = [onnx.helper.make_opsetid("", _OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="evenly")
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    with replacing(path) as stream:
        stream.write(model.SerializeToString(deterministic=True))


def _properties(classes: Sequence[str], n: int, adapter: str, encoder: str) -> dict[str, str]:
    _check_classes(classes, n)
    return {"classes": json.dumps(list(classes), ensure_ascii=False), "adapter": adapter, "encoder": encoder}


def _checked_affine(weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
    if _checked("bias", bias, 1).shape != _checked("weight", weight, 2).shape[:1]:
        raise InputError(
            f"`bias` must have one value per row of `weight`, {len(weight)}; got {len(bias)}. Hand in those of one fit."
        )
    return weight.astype(np.float64), bias.astype(np.float64)


def _checked(name: str, array: Floats, n_axes: int) -> Floats:
    if array.ndim != n_axes or not np.isfinite(array).all():
        actual = f"shape {array.shape}" if array.ndim != n_axes else "NaN or infinity"
        raise InputError(f"`{name}` must be finite with {n_axes} axes; got {actual}. Fit the adapter again.")
    return array


def _check_classes(classes: Sequence[str], n: int) -> None:
    """Refuse another number than n, and names that a file cannot keep: a null ends a text in .npz."""
    if len(classes) != n:
        raise InputError(f"`classes` must name each of {n} rows; got {len(classes)} names. Hand in those of the fit.")
    for name in classes:
        if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise InputError(f"`classes` must be text without nulls and half surrogates; got {name!r}. Rename it.")
