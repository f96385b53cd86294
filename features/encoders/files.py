"""The files that a model was opened from: while these stay as they are, it is the same model."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_HUB, _FOLDER = "hf-hub:", "local-dir:"
_NAMES_IN_TEXT_CONFIG = ("hf_model_name", "hf_tokenizer_name")


def open_clip_files(name: str, weights: Iterable[str], text_config: Mapping[str, Any]) -> tuple[Path, ...]:
    """The files of an opened model of open_clip: of its folder or repository, of weights, text tower and tokenizer.

    None where one of them is not where it is looked for.
    """
    places = {str(text_config[key]) for key in _NAMES_IN_TEXT_CONFIG if text_config.get(key)}
    if name.startswith((_HUB, _FOLDER)):  # it brings its tokenizer along
        model = name.removeprefix(_HUB).removeprefix(_FOLDER)
        places = {model, *(place for place in places if Path(place).is_dir())}
    groups = [[Path(path)] for path in weights]
    groups += [folder_files(Path(place)) if Path(place).is_dir() else hub_files(place) for place in sorted(places)]
    return tuple(path for group in groups for path in group) if all(groups) else ()


def timm_files(config: Mapping[str, Any]) -> list[Path]:
    """The files of weights that timm fetched, by their configuration: from the hub, or by a URL."""
    if config.get("hf_hub_id"):
        return hub_files(str(config["hf_hub_id"]))
    return [*torch_files(str(config.get("url") or ""))]


def torch_files(url: str) -> tuple[Path, ...]:
    """The file that torch keeps of a download by a URL."""
    import torch

    path = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
    return (path,) if url and path.is_file() else ()


def hub_files(repository: str) -> list[Path]:
    """The files of a repository of Hugging Face's hub in its cache, with those that name its revisions."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE, f"models--{repository.replace('/', '--')}")
    return [path for part in ("refs", "snapshots") for path in folder_files(folder / part)]


def folder_files(folder: Path) -> list[Path]:
    """The files of a folder and of those below it."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
