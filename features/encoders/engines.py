"""Engines that run the picture tower of an encoder: torch, or onnxruntime on a file that was exported from it once.

The file is kept under the cache by all that it depends on, and hashed when it is opened; a damaged one is made anew.
It is kept only if its rows of a probe of pictures are torch's. Each run of a batch stays on its own thread, as torch's.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from evenly.features.batched_rows import ImageTower
from evenly.features.bridge import drawings_of_nothing
from evenly.features.device import device_name
from evenly.features.embedded_weights import ensure_folder
from evenly.features.encoders.folding import noise
from evenly.features.errors import OnnxModelError, TowerEngineError
from evenly.features.open_clip_models import in_one_line, weights_sha256
from evenly.features.torch_session import major_minor, torch_session
from evenly.installing import install_extra

if TYPE_CHECKING:
    import torch

EngineName = Literal["torch", "onnxruntime"]
MIN_COSINE = 0.9999
_PACKAGES = ("onnx", "onnxruntime")
_OPSET = 18
_FILE, _HASH = "tower.onnx", "sha256"
_LARGEST_BYTES = 2**31 - 2**24  # protobuf's limit for a message, and room for the graph
_NOISES, _DRAWINGS = 8, 8
_REMEDY = "Write `engine: torch`."


def check_onnx_fits(*, precision: str, device: str | None) -> None:
    """Raise TowerEngineError where onnxruntime cannot run an encoder of this precision, on this device; None is any."""
    for name, value, wanted in (("precision", precision, "fp32"), ("device", device, "cpu")):
        if value is not None and value.partition(":")[0] != wanted:
            raise TowerEngineError(f"`engine: onnxruntime` must have `{name}: {wanted}`; got `{value}`. {_REMEDY}")


def check_onnxruntime() -> None:
    """Raise TowerEngineError where a package is missing that `engine: onnxruntime` needs; nothing is loaded."""
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise TowerEngineError(
            f"`engine: onnxruntime` must have {' and '.join(_PACKAGES)} installed; {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not. Run `{install_extra('onnx')}`, or write `engine: torch`."
        )


@dataclass(frozen=True, kw_only=True)
class TowerEngine:
    """An engine, and the folder of its exported towers. Raises TowerEngineError where its packages are not here."""

    name: EngineName = "torch"
    cache: Path = Path()

    def __post_init__(self) -> None:
        if self.name == "onnxruntime":
            check_onnxruntime()

    @property
    def facts(self) -> Mapping[str, Any]:
        """The engine and its version, as an encoder's identity names any but torch."""
        import onnxruntime

        return {self.name: major_minor(onnxruntime.__version__)}

    def of(self, tower: ImageTower, visual: "torch.nn.Module") -> ImageTower:
        """The tower as onnxruntime runs it; `visual` is the module whose weights its rows depend on.

        Raises TowerEngineError for a tower that cannot be exported, or whose rows are then others than torch's.
        """
        import torch

        depends_on = {
            "weights": weights_sha256(visual),
            "modules": str(visual),
            "pixels": [tower.batch_size, *noise(tower.preprocess).shape[1:]],
            "opset": _OPSET,
            "libraries": {"torch": major_minor(torch.__version__), **self.facts},
            "processor": device_name("cpu"),  # by which onnxruntime chooses its kernels
        }
        key = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
        folder = self.cache.expanduser().resolve() / f"onnx-{key[:16]}"
        content = _read(folder)
        if content is None:
            ensure_folder(
                folder, build=lambda path: _export(tower, visual, path), complete=lambda path: bool(_read(path))
            )
            content = _read(folder) or b""
        return _run_by_onnxruntime(tower, content)


def _read(folder: Path) -> bytes | None:
    """The exported tower; None where there is none, or another than was written."""
    try:
        content, wanted = (folder / _FILE).read_bytes(), (folder / _HASH).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return content if hashlib.sha256(content).hexdigest() == wanted else None


def _export(tower: ImageTower, visual: "torch.nn.Module", folder: Path) -> None:
    _export_onnx(tower, visual, folder / _FILE)
    content = (folder / _FILE).read_bytes()
    _check_rows(tower, _run_by_onnxruntime(tower, content))
    (folder / _HASH).write_text(hashlib.sha256(content).hexdigest(), encoding="ascii")


def _export_onnx(tower: ImageTower, visual: "torch.nn.Module", path: Path) -> None:
    """Write the tower as ONNX, from pixels (batch_size, 3, height, width) to rows (batch_size, d)."""
    import torch

    size = sum(tensor.nbytes for tensor in visual.state_dict().values())
    if size > _LARGEST_BYTES:
        raise TowerEngineError(
            f"`engine: onnxruntime` must have a picture tower of up to {_LARGEST_BYTES / 1e9:.1f} GB; got "
            f"{size / 1e9:.1f} GB. {_REMEDY}"
        )

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = visual  # so that its weights are seen

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return tower.run(pixels)

    pixels = noise(tower.preprocess).repeat(tower.batch_size, 1, 1, 1)
    with torch_session(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constants, which a fixed shape makes right, and of newer exporters
        fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # attention as one operation, which ONNX has not
        try:
            torch.onnx.export(
                Tower().eval(),
                (pixels,),
                path,
                input_names=["pixels"],
                output_names=["rows"],
                opset_version=_OPSET,
                dynamo=False,  # the other needs more packages
            )
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise _not_exportable(error) from error
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)


def onnx_session(content: bytes) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """A session of onnxruntime on one thread of the processor. Raises OnnxModelError for a model that it does not take.

    That is one with operators or files of its own, too: weights that lie elsewhere are no part of what is hashed.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # what is wrong is raised
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", f"{__file__}/none")
    refusals = (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf, errors.NotImplemented)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except (*refusals, errors.RuntimeException) as error:
        raise OnnxModelError(in_one_line(error)) from error


def _run_by_onnxruntime(tower: ImageTower, content: bytes) -> ImageTower:
    import torch

    try:
        session = onnx_session(content)
    except OnnxModelError as error:
        raise _not_exportable(error) from error

    def run(pixels: "torch.Tensor") -> "torch.Tensor":
        return torch.from_numpy(session.run(["rows"], {"pixels": pixels.numpy()})[0])

    return replace(tower, run=run, layout=torch.contiguous_format)


def _not_exportable(error: Exception) -> TowerEngineError:
    return TowerEngineError(
        f"`engine: onnxruntime` must be able to run the model; got: {in_one_line(error)}. {_REMEDY}"
    )


def _check_rows(tower: ImageTower, exported: ImageTower) -> None:
    """Raise TowerEngineError where rows of noise and drawings are others than torch's."""
    chance = np.random.default_rng(0)
    sides = [4 << number for number in range(_NOISES)]
    pictures = [Image.fromarray(chance.integers(0, 256, (side, side, 3), np.uint8)) for side in sides]
    pictures += drawings_of_nothing(_DRAWINGS)
    rows, by_onnx = (encoder.rows(pictures).astype(np.float64) for encoder in (tower, exported))
    cosines = (rows * by_onnx).sum(axis=1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(by_onnx, axis=1)
    if not cosines.min() >= MIN_COSINE:  # NaN is refused too
        raise TowerEngineError(
            f"`engine: onnxruntime` must give torch's rows, to a cosine of {MIN_COSINE}; got {cosines.min():.6f} for "
            f"the worst of {len(pictures)} pictures. {_REMEDY}"
        )
