"""Models of torchvision that classify pictures, without their classifiers: what they saw just before it is a row."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from evenly.features.encoders.files import torch_files
from evenly.features.errors import UnknownModelError
from evenly.features.open_clip_models import TORCHVISION, loading_weights, near_names

if TYPE_CHECKING:
    import torch

Untyped = Any  # torchvision has no types


def check_torchvision_name(name: str, pretrained: str | None) -> None:
    """Raise UnknownModelError, naming near ones, unless torchvision knows the model and the weights; loads nothing."""
    from torchvision import models  # type: ignore[import-untyped]

    names = models.list_models(module=models)
    if name not in names:
        raise UnknownModelError(
            f"`model` must be a model of torchvision that classifies pictures; got `{TORCHVISION}{name}`. Near it: "
            f"{near_names(name, names)}."
        )
    tags = [weights.name for weights in models.get_model_weights(name)]
    if pretrained is not None and pretrained not in tags and not Path(pretrained).is_file():
        raise UnknownModelError(
            f"`pretrained` must be weights of `{TORCHVISION}{name}` or a file; got `{pretrained}`. Known: "
            f"{near_names(pretrained, tags)}."
        )


def open_torchvision(
    name: str, pretrained: str | None
) -> tuple[Untyped, Callable[[Image.Image], "torch.Tensor"], Mapping[str, Any], tuple[Path, ...]]:
    """The model without its classifier, what prepares its pictures, the facts that its rows depend on, and its files.

    `pretrained` is a tag of torchvision, a file of weights, or None for torchvision's default. Pictures for a file are
    prepared as for the default. Raises UnknownModelError for a model whose classifier is no linear layer.
    """
    from torchvision import models

    tags = models.get_model_weights(name)
    is_file = pretrained is not None and Path(pretrained).is_file()
    weights = tags.DEFAULT if pretrained is None or is_file else tags[pretrained]
    with loading_weights(f"`{pretrained or 'default'}` of `{TORCHVISION}{name}`"):
        if is_file:
            model = _of_file(name, str(pretrained))
        else:
            model = models.get_model(name, weights=weights)
            _replace(model, _classifier(name, model), None)
    prepare = weights.transforms()
    facts = {
        "architecture": {"torchvision": name},
        "preprocessing": {"preset": " ".join(repr(prepare).split()), "alpha": "white", "orientation": "applied"},
    }
    return model, prepare, facts, (Path(str(pretrained)),) if is_file else torch_files(weights.url)


def _of_file(name: str, path: str) -> Untyped:
    """The model with all its weights from a file, which may hold a classifier of any number of classes, or none."""
    import timm
    import torch
    from torchvision import models

    state = timm.models.load_state_dict(path)  # of safetensors too, and never more than tensors
    model = models.get_model(name, weights=None)
    classifier = _classifier(name, model)
    if f"{classifier}.weight" in state:
        n_classes, width = state[f"{classifier}.weight"].shape
        _replace(model, classifier, torch.nn.Linear(width, n_classes, bias=f"{classifier}.bias" in state))
    else:
        _replace(model, classifier, None)
    model.load_state_dict(state)
    _replace(model, classifier, None)
    return model


def _classifier(name: str, model: Untyped) -> str:
    """The name of the layer that classifies: the last one that is linear."""
    import torch

    layers: list[str] = [layer for layer, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    if not layers:
        raise UnknownModelError(
            f"`model` must end in a linear classifier; got `{TORCHVISION}{name}`. Choose another model."
        )
    return layers[-1]


def _replace(model: Untyped, layer: str, replacement: "torch.nn.Module | None") -> None:
    """Put another layer in the place of one; None: one that does nothing."""
    import torch

    parent, _, own_name = layer.rpartition(".")
    setattr(model.get_submodule(parent), own_name, torch.nn.Identity() if replacement is None else replacement)
