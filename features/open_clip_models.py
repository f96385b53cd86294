"""Any open_clip model by name, with the facts that say when two of them give the same numbers."""

import difflib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from PIL import Image

from evenly.features.device import is_of_device
from evenly.features.errors import FeaturesError, UnknownModelError, WeightsUnavailableError
from evenly.features.texts.tokens import LongTexts

if TYPE_CHECKING:
    import torch

Untyped = Any  # open_clip has no types

EMBEDDED, EMBEDDED_SECOND = "embedded", "embedded2"
"""The packaged models: what they are made of is in features/embedded_weights.py."""
TIMM, TORCHVISION = "timm:", "torchvision:"
"""How models of pictures alone begin: features/second_backbone.py has them."""
_SCHEMAS = ("local-dir:", "hf-hub:")
# A Hugging Face text tower masks its padding, so short texts are padded to the next of these lengths only.
_TEXT_LENGTHS = (8, 16, 32, 64)


@dataclass(frozen=True, kw_only=True)
class OpenedModel:
    """A model ready to run, and the JSON-able facts that its numbers depend on."""

    model: Any
    preprocess: Callable[[Image.Image], "torch.Tensor"]
    tokenizer: Callable[..., "torch.Tensor"]
    dimension: int
    context_length: int
    text_lengths: tuple[int, ...]  # padded lengths in tokens, rising; the last is context_length
    pad_id: int
    facts: Mapping[str, Any]
    files: tuple[Path, ...] = ()  # all that was read to open it; none where that is not known
    long_texts: LongTexts = "cut"
    engine: Callable[[Any, Any], Any] | None = None  # has its image tower run by another than torch


def check_model_name(model: str, pretrained: str | None) -> None:
    """Raise UnknownModelError, naming near ones, unless open_clip knows the model and the weights; loads nothing."""
    if model in {EMBEDDED, EMBEDDED_SECOND} or model.startswith(_SCHEMAS):
        if pretrained is not None:
            raise UnknownModelError(f"`pretrained` must be empty for `{model}`; got `{pretrained}`. Leave it out.")
        return
    if model.startswith((TIMM, TORCHVISION)):
        raise UnknownModelError(
            f"`model` must have a text tower; got `{model}`, which has none. Name it as `features.second`."
        )
    import open_clip

    name = model.replace("/", "-")
    if name not in open_clip.list_models():
        suggestions = near_names(name, [EMBEDDED, EMBEDDED_SECOND, *open_clip.list_models()])
        raise UnknownModelError(
            f"`model` must be `embedded`, `embedded2` or a model of open_clip; got `{model}`. Near it: {suggestions}."
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained is None:
        raise UnknownModelError(f"`pretrained` must name weights of `{model}`; got none. Known: {_listed(tags)}.")
    if not open_clip.get_pretrained_cfg(name, pretrained) and not Path(pretrained).is_file():
        suggestions = near_names(pretrained, tags)
        raise UnknownModelError(
            f"`pretrained` must be weights of `{model}` or a file; got `{pretrained}`. Known: {suggestions}."
        )


def open_model(model: str, pretrained: str | None, *, precision: str, device: str) -> OpenedModel:
    """Load weights, preprocessing and tokenizer; a download uses open_clip's usual caches (HF_HOME).

    The activation is the one that the weights were trained with: open_clip alone would only warn of another.
    """
    import open_clip

    from evenly.features.encoders.files import open_clip_files

    check_model_name(model, pretrained)
    name = model if model.startswith(_SCHEMAS) else model.replace("/", "-")
    tag = open_clip.get_pretrained_cfg(name, pretrained) if pretrained else {}
    with loading_weights(f"`{model}`" if pretrained is None else f"`{pretrained}` of `{model}`"):
        weights = [open_clip.download_pretrained(tag)] if tag else [pretrained] if pretrained else []
        quick = bool(tag.get("quick_gelu"))
        loaded, preprocess = open_clip.create_model_from_pretrained(
            name, pretrained, precision=precision, device=device, force_quick_gelu=quick
        )
        tokenizer = open_clip.get_tokenizer(name)
        first, second = tokenizer(["cat", "dog"]).tolist()
        if first == second:  # transformers makes one that knows no word where files are missing
            raise ValueError("a tokenizer to which all texts are the same: its files are missing or others")
        config = open_clip.get_model_config(name)
    loaded.eval()
    opened = _opened(loaded, preprocess, tokenizer, config)
    return replace(opened, files=open_clip_files(name, weights, config["text_cfg"]))


@contextmanager
def loading_weights(title: str) -> Iterator[None]:
    """Raise WeightsUnavailableError, in one line, where the weights `title` do not load; what a device did is told so.

    Files that hold something else make libraries fail in many ways.
    """
    import safetensors

    try:
        with quiet_hub():
            yield
    except (
        OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError, EOFError,
        ImportError, StopIteration, safetensors.SafetensorError, UnpicklingError, BadZipFile,
    ) as error:  # fmt: skip
        if is_of_device(error) or isinstance(error, FeaturesError):
            raise
        raise WeightsUnavailableError(
            f"the weights {title} must load; got: {in_one_line(error)}. "
            "Check name, file and network, or use `embedded`."
        ) from error


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Without a network the hub's client logs each of its dozen tries; one error at the end says it all."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def in_one_line(error: Exception) -> str:
    """The cause that weights could not be loaded, in up to 200 letters."""
    if isinstance(error, UnpicklingError):  # torch would advise to run its code
        return "the file is damaged, or holds more than tensors"
    if isinstance(error, KeyError) and error.args[:1] in (("text_cfg",), ("vision_cfg",)):
        tower = {"text_cfg": "text", "vision_cfg": "image"}[error.args[0]]
        return f"a model without a {tower} tower (its configuration has no `{error.args[0]}`)"
    first, *details = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    if first.startswith("Error(s) in loading state_dict") and details:
        return f"tensors of another architecture: {details[0]}"[:200].rstrip(" .")
    line = first.partition(" Last error")[0].strip(" .:")
    return line[:200] or type(error).__name__


def _opened(model: Untyped, preprocess: Untyped, tokenizer: Untyped, config: dict[str, Any]) -> OpenedModel:
    from open_clip.hf_model import HFTextEncoder

    longest = int(getattr(tokenizer, "context_length", None) or config["text_cfg"].get("context_length", 77))
    masked = isinstance(getattr(model, "text", None), HFTextEncoder)
    lengths = (*(length for length in _TEXT_LENGTHS if masked and length < longest), longest)
    inner = getattr(tokenizer, "tokenizer", None)
    vocabulary = tokenizer.encoder if inner is None else inner.get_vocab()
    return OpenedModel(
        model=model,
        preprocess=preprocess,
        tokenizer=tokenizer,
        dimension=int(config["embed_dim"]),
        context_length=longest,
        text_lengths=lengths,
        pad_id=0 if inner is None else int(inner.pad_token_id),
        facts={
            "architecture": {**config, "text_cfg": _without_paths(config["text_cfg"])},
            "weights": weights_sha256(model),
            "preprocessing": {**model.visual.preprocess_cfg, "alpha": "white", "orientation": "applied"},
            "tokenizer": hashlib.sha256(json.dumps(sorted(vocabulary.items())).encode()).hexdigest(),
            "text_lengths": list(lengths),
        },
    )


def _without_paths(text_config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with each folder of this machine replaced by the hash of the model description in it."""
    return {
        key: hashlib.sha256((Path(value) / "config.json").read_bytes()).hexdigest()
        if key.startswith("hf_") and isinstance(value, str) and os.path.isabs(value)  # noqa: PTH117
        else value
        for key, value in text_config.items()
    }


def weights_sha256(model: "torch.nn.Module") -> str:
    """SHA-256 over name, type, shape and bytes of every tensor, by name: the same whatever file they came in."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def near_names(name: str, names: list[str]) -> str:
    """The known names that are like `name`, else the first of them, as a list for people."""
    folded = {candidate.lower(): candidate for candidate in names}
    matches = difflib.get_close_matches(name.lower(), list(folded), n=5, cutoff=0.4)
    return _listed([folded[match] for match in matches] or names)


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:12]) or "none: give the path of a checkpoint"
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
