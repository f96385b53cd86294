"""Encoders whose weights are on this machine: nothing is loaded or downloaded to name them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evenly.features.embedded_weights import CONTEXT_LENGTH, DIMENSION, LITE0, LITE2, PackagedTower
from evenly.features.errors import WeightsUnavailableError
from evenly.features.open_clip_models import EMBEDDED, EMBEDDED_SECOND, quiet_hub

_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
"""The names that weights have in a repository of the hub."""


@dataclass(frozen=True, kw_only=True)
class EncoderAtHand:
    """A model and its weights: columns d of its rows, tokens that it reads of a text, side of pictures, bytes."""

    model: str
    pretrained: str | None
    dimension: int
    context_length: int
    image_size: int
    bytes: int


def encoders_at_hand() -> list[EncoderAtHand]:
    """The packaged encoders that are installed, and models of open_clip whose weights were downloaded before."""
    return [*_packaged(), *_downloaded()]


def _packaged() -> Iterator[EncoderAtHand]:
    towers: tuple[tuple[str, PackagedTower], ...] = ((EMBEDDED, LITE0), (EMBEDDED_SECOND, LITE2))
    for name, tower in towers:
        try:
            size = tower.weights.stat().st_size
        except WeightsUnavailableError:
            continue
        yield EncoderAtHand(
            model=name,
            pretrained=None,
            dimension=DIMENSION,
            context_length=CONTEXT_LENGTH,
            image_size=tower.side,
            bytes=size,
        )


def _downloaded() -> Iterator[EncoderAtHand]:
    import open_clip

    with quiet_hub():
        for model, tag in open_clip.list_pretrained():
            settings = open_clip.get_pretrained_cfg(model, tag)
            file = _cached(settings.get("hf_hub", ""), settings.get("url", ""))
            config = open_clip.get_model_config(model)
            if file is None or config is None:
                continue
            size = config["vision_cfg"].get("image_size", 224)
            yield EncoderAtHand(
                model=model,
                pretrained=tag,
                dimension=int(config["embed_dim"]),
                context_length=int(config["text_cfg"].get("context_length", 77)),
                image_size=max(size) if isinstance(size, list | tuple) else int(size),
                bytes=file.stat().st_size,
            )


def _cached(hub: str, url: str) -> Path | None:
    """The file of weights in the cache of the hub, or in open_clip's own, where it keeps files that come by a URL."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, name = hub.rpartition("/")
    for file in (name,) if name else _FILES:
        path = try_to_load_from_cache(repository, file) if repository else None
        if isinstance(path, str):
            return Path(path)
    clip_file = Path("~/.cache/clip").expanduser() / Path(url).name
    return clip_file if url and clip_file.is_file() else None
