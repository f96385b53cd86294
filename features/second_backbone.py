"""A second backbone: pictures to feature rows by another model than the encoder, for methods that compare the two.

`embedded` is EfficientNet-Lite2 (ImageNet, Apache-2.0) from a package of PyPI: like the first embedded tower it knows
1000 classes of objects, but sees finer (260 px), and its rows share no axis with those. It has no texts.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from evenly.features.batched_rows import FileOrPixels, ImageTower, Progress, default_batch_size
from evenly.features.device import chosen_device, device_errors, device_name
from evenly.features.embedded_weights import LITE2, load_in_order
from evenly.features.encoder import OpenClipEncoder, check_counts, load_encoder
from evenly.features.encoders.files import timm_files
from evenly.features.encoders.folding import noise
from evenly.features.encoders.same_padding import less_work
from evenly.features.errors import UnknownModelError
from evenly.features.open_clip_models import (
    EMBEDDED,
    TIMM,
    TORCHVISION,
    check_model_name,
    loading_weights,
    near_names,
    weights_sha256,
)
from evenly.features.torch_session import default_threads, major_minor, torch_session
from evenly.features.torchvision_models import check_torchvision_name, open_torchvision
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    import torch


def load_second(
    model: str = EMBEDDED,
    pretrained: str | None = None,
    *,
    cache: str | Path,
    threads: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
) -> "OpenClipEncoder | PictureBackbone":
    """The second backbone of that name, on `device`, else on the GPU where there is one.

    `model` is `embedded` (needs no network), `timm:NAME` or `torchvision:NAME` with `pretrained` a tag, a file of
    weights or none for its library's default, or a model of open_clip as `load_encoder` takes it, of which only the
    image side is used. Models of timm and torchvision give their pooled features, before any classifier, of pictures
    prepared as their libraries evaluate them (a crop of the middle); `embedded` sees the whole picture, made square
    with white. `threads` and `batch_size` as in `load_encoder`, as is folding.
    """
    check_counts(batch_size=batch_size, threads=threads)
    check_second_name(model, pretrained)
    if model != EMBEDDED and not model.startswith((TIMM, TORCHVISION)):
        return load_encoder(model, pretrained, cache=cache, threads=threads, batch_size=batch_size, device=device)
    place = chosen_device(device)
    if model == EMBEDDED:
        opened = _embedded()
    elif model.startswith(TIMM):
        opened = _timm(model.removeprefix(TIMM), pretrained)
    else:
        opened = open_torchvision(model.removeprefix(TORCHVISION), pretrained)
    size = batch_size or default_batch_size(opened[0], place)
    with device_errors(place, size):
        return PictureBackbone(*opened, batch_size=size, threads=threads or default_threads(), device=place)


def check_second_name(model: str, pretrained: str | None) -> None:
    """Raise UnknownModelError, naming near ones, unless model and weights are known; loads nothing."""
    import timm

    if model.startswith(TORCHVISION):
        check_torchvision_name(model.removeprefix(TORCHVISION), pretrained)
        return
    if not model.startswith(TIMM):
        if (
            model != EMBEDDED
            and timm.is_model(model)
            and "/" not in model
            and model.replace("/", "-") not in _open_clip()
        ):
            raise UnknownModelError(
                f"`model` must be `embedded` or a model of open_clip; got `{model}`, one of timm. "
                f"Write `{TIMM}{model}`."
            )
        check_model_name(model, pretrained)
        return
    name, _, tag = model.removeprefix(TIMM).partition(".")
    if not timm.is_model(name):
        suggestions = near_names(name, timm.list_models())
        raise UnknownModelError(f"`model` must be a model of timm; got `{model}`. Near it: {suggestions}.")
    if pretrained is not None and Path(pretrained).is_file():
        return
    tags = [
        pretrained_name.partition(".")[2] for pretrained_name in timm.list_pretrained(f"{name}.*")
    ] or timm.list_pretrained(name)
    wanted = pretrained or tag
    if (wanted and wanted not in tags) or not tags:
        suggestions = near_names(wanted, tags)
        raise UnknownModelError(
            f"`pretrained` must be weights of `{TIMM}{name}` or a file; got `{wanted}`. Known: {suggestions}."
        )


def _open_clip() -> list[str]:
    import open_clip

    names: list[str] = open_clip.list_models()
    return names


Opened = tuple[Any, Callable[[Image.Image], "torch.Tensor"], Mapping[str, Any], tuple[Path, ...]]
"""Model, preprocessing, facts, and the files that were read."""


class PictureBackbone:
    """A model of timm or torchvision without its classifier as a `SecondBackbone`; batches as in `OpenClipEncoder`."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - neither library has types
        preprocess: Callable[[Image.Image], "torch.Tensor"],
        facts: Mapping[str, Any],
        files: tuple[Path, ...] = (),
        *,
        batch_size: int,
        threads: int,
        device: str,
    ) -> None:
        import torch

        self.files = files
        layout = torch.channels_last if device == "cpu" else torch.contiguous_format
        model.eval().requires_grad_(False).to(device=device, memory_format=layout)
        self.dimension = _dimension(model, preprocess, device)
        weights = weights_sha256(model)
        with torch_session():
            eased = less_work(model, model, noise(preprocess).to(device))
        model.to(memory_format=layout)
        self.device_name = device_name(device)
        (library,) = facts["architecture"]
        self.facts: Mapping[str, Any] = {
            **facts,
            **eased,
            "weights": weights,
            "precision": "fp32",
            "batch_size": batch_size,
            "threads_per_batch": 1,
            "device": device.partition(":")[0],
            "libraries": {"torch": major_minor(torch.__version__), library: major_minor(version(library))},
        }
        self.identity = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()
        self.images = ImageTower(
            run=model,
            preprocess=preprocess,
            dimension=self.dimension,
            batch_size=batch_size,
            threads=threads,
            device=device,
            dtype=torch.float32,
            layout=layout,
        )

    def encode_images(self, images: Iterable[FileOrPixels], *, progress: Progress | None = None) -> Single:
        """Rows (n, e) of pictures."""
        return self.images.rows(images, progress)


def _dimension(model: Any, preprocess: Callable[[Image.Image], "torch.Tensor"], device: str) -> int:  # noqa: ANN401
    """The columns that the model gives for a picture: timm's models do not all tell."""
    import torch

    with torch_session(), torch.inference_mode():
        output = model(preprocess(Image.new("RGB", (64, 64)))[None].to(device))
    if output.ndim != 2:
        raise UnknownModelError(
            f"`model` must give one row per picture; got shape {tuple(output.shape)}. Choose a model that pools."
        )
    return int(output.shape[1])


def _embedded() -> Opened:
    import timm
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2

    path = LITE2.weights
    model = timm.create_model(LITE2.architecture, pretrained=False, num_classes=0)
    load_in_order(model, list(torch.load(path, map_location="cpu", weights_only=True).values()), LITE2.package)
    half = (0.5, 0.5, 0.5)
    settings = PreprocessCfg(size=LITE2.side, mean=half, std=half, resize_mode="longest", fill_color=255)
    return model, image_transform_v2(settings, is_train=False), _facts(LITE2.architecture, asdict(settings)), (path,)


def _timm(name: str, pretrained: str | None) -> Opened:
    import timm

    with loading_weights(f"`{pretrained or 'default'}` of `{TIMM}{name}`"):
        if pretrained is not None and Path(pretrained).is_file():
            model, files = _of_file(name, pretrained), [Path(pretrained)]
        else:
            full = name if pretrained is None else f"{name.partition('.')[0]}.{pretrained}"
            model = timm.create_model(full, pretrained=True)
            files = timm_files(model.pretrained_cfg)
    model.reset_classifier(0)
    config = timm.data.resolve_model_data_config(model)
    facts = _facts(name.partition(".")[0], config)
    return model, timm.data.create_transform(**config, is_training=False), facts, tuple(files)


def _of_file(name: str, path: str) -> Any:  # noqa: ANN401 - timm has no types
    """The model with all its weights from a file, which may hold a classifier of any number of classes, or none.

    timm itself would leave at random what a file lacks, as soon as the number of classes is another than expected.
    """
    import timm

    state = timm.models.load_state_dict(path)
    if not state:  # timm would then download its own
        raise ValueError("no tensors in it")
    config = timm.models.get_pretrained_cfg(name)
    heads = [config.classifier] if isinstance(config.classifier, str) else list(config.classifier or ())
    sizes = [len(state[f"{head}.weight"]) for head in heads if f"{head}.weight" in state]
    *candidates, last = sizes[:1] or [config.num_classes, 0]  # the file may name its classifier otherwise
    for n_classes in candidates:
        with suppress(RuntimeError):
            return _strictly(name, state, n_classes)
    return _strictly(name, state, last)


def _strictly(name: str, state: Mapping[str, "torch.Tensor"], n_classes: int) -> Any:  # noqa: ANN401 - timm has no types
    """The model of that many classes with these weights; RuntimeError where one is missing, left over or misshapen."""
    import timm

    overlay = {"state_dict": dict(state), "num_classes": n_classes, "label_offset": 0}
    model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=n_classes)
    model.pretrained_cfg.pop("state_dict", None)  # a second copy
    return model


def _facts(architecture: str, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "architecture": {"timm": architecture},
        "preprocessing": {**preprocessing, "alpha": "white", "orientation": "applied"},
    }
