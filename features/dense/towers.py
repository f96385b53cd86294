"""Dense rows by image towers: each cell goes through the layers that make the row of the picture of its pooled cells.

A pooled convolutional tower projects the mean of its cells: each cell is projected by itself, and their mean is the row
of the picture. A vision transformer attends in its last block: there each token keeps its own value, as MaskCLIP has it
(Zhou et al. 2022, arXiv:2112.01071; CLIP-DINOiser, arXiv:2312.12359). Other towers are refused by name.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from io import BytesIO
from threading import local
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from evenly.features.batched_rows import ImageTower, Progress
from evenly.features.dense.rows import Dense, frame_of, unit_length
from evenly.features.encoder import OpenClipEncoder
from evenly.features.errors import UnknownModelError, UnreadableImageError
from evenly.features.pictures.decoded import most_ratio
from evenly.features.pictures.rgb import DECODER_ERRORS, FORMATS, SIDEWAYS, orientation_of
from evenly.features.refining.encoder import RefinedEncoder
from evenly.features.second_backbone import PictureBackbone
from evenly.features.torch_session import torch_session
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

Cells = Callable[["Tensor"], "Tensor"]
"""Rows (n, h, w, d) of the cells, made of what a module of the tower was given."""


class DenseEncoder(Protocol):
    """An encoder that also gives rows of the cells of a grid on each picture."""

    @property
    def identity(self) -> str:
        """SHA-256 over all that the numbers depend on."""
        ...

    @property
    def frozen_identity(self) -> str:
        """The identity of the encoder that it was refined from; its own where it was not."""
        ...

    @property
    def device_name(self) -> str:
        """The device that makes the rows."""
        ...

    @property
    def grid(self) -> tuple[int, int, int]:
        """The lines and columns of cells, and the columns of their rows."""
        ...

    def encode_dense(self, images: Sequence[bytes], *, progress: Progress | None = None) -> Dense:
        """Rows of pictures and of their cells; the former have the bits that `encode_images` gives.

        Raises UnreadableImageError for bytes that do not decode.
        """
        ...

    def raw(self, images: Sequence[bytes], progress: Progress | None = None) -> tuple[Single, Single]:
        """Rows (n, d) of pictures by the frozen encoder, and (n, h, w, d) of cells by this one; not normalised."""
        ...

    def placed(self, images: Sequence[bytes], rows: Single, cells: Single) -> Dense:
        """Raw rows of the frozen encoder as this one has them, made unit, and the place of cells on each picture."""
        ...


def dense_encoder(encoder: object, model: str) -> DenseEncoder:
    """The same encoder with rows of cells. Raises UnknownModelError, by the name `model`, for one without any."""
    if isinstance(encoder, RefinedEncoder):
        return _RefinedDense(encoder, _tower(encoder.base, model))
    return _tower(encoder, model)


class _RefinedDense:
    """A refined encoder, whose heads take each cell as they take the row of a picture."""

    def __init__(self, encoder: RefinedEncoder, base: "_TowerDense") -> None:
        self.encoder, self.base = encoder, base
        self.identity, self.frozen_identity = encoder.identity, base.identity
        self.device_name = encoder.device_name

    @property
    def grid(self) -> tuple[int, int, int]:
        """See DenseEncoder."""
        return self.base.grid

    def encode_dense(self, images: Sequence[bytes], *, progress: Progress | None = None) -> Dense:
        """See DenseEncoder."""
        return self.placed(images, *self.raw(images, progress))

    def placed(self, images: Sequence[bytes], rows: Single, cells: Single) -> Dense:
        """See DenseEncoder."""
        return self.base.placed(images, self.encoder.heads.image(rows), cells)

    def raw(self, images: Sequence[bytes], progress: Progress | None = None) -> tuple[Single, Single]:
        """See DenseEncoder."""
        rows, cells = self.base.raw(images, progress)
        return rows, self.encoder.heads.image(cells.reshape(-1, cells.shape[-1])).reshape(cells.shape)


class _TowerDense:
    """The image tower of a model, with rows of cells: `cells` makes them of what `module` is given."""

    def __init__(self, encoder: OpenClipEncoder | PictureBackbone, module: "Module", cells: Cells) -> None:
        self.identity = self.frozen_identity = encoder.identity
        self.device_name = encoder.device_name
        self._preprocessing = encoder.facts["preprocessing"]
        self._tower: ImageTower = encoder.images
        self._module, self._cells, self._inputs = module, cells, local()

    def encode_dense(self, images: Sequence[bytes], *, progress: Progress | None = None) -> Dense:
        """See DenseEncoder."""
        return self.placed(images, *self.raw(images, progress))

    def placed(self, images: Sequence[bytes], rows: Single, cells: Single) -> Dense:
        """See DenseEncoder."""
        sizes = [size_of(image) for image in images]
        ratio = most_ratio(self._tower.preprocess)
        frames = [frame_of(size, self._preprocessing, ratio) for size in sizes]
        return Dense(
            image=unit_length(rows),
            cells=unit_length(cells),
            sizes=np.array(sizes, np.int64).reshape(-1, 2),
            frames=np.array(frames, np.float64).reshape(-1, 4),
        )

    def raw(self, images: Sequence[bytes], progress: Progress | None = None) -> tuple[Single, Single]:
        """See DenseEncoder."""
        height, width, dimension = self.grid
        wide = replace(self._tower, run=self._run, dimension=dimension * (1 + height * width))
        with self._hooked():
            rows = wide.rows(images, progress).reshape(len(images), 1 + height * width, dimension)
        return rows[:, 0], rows[:, 1:].reshape(len(images), height, width, dimension)

    @cached_property
    def grid(self) -> tuple[int, int, int]:
        """See DenseEncoder. Raises RuntimeError of torch."""
        import torch

        pixels = self._tower.prepare([Image.new("RGB", (64, 64))])
        with self._hooked(), torch_session():
            self._tower.compute(pixels)
            with torch.inference_mode():
                _, height, width, dimension = self._cells(self._inputs.value).shape
        return height, width, dimension

    def _run(self, pixels: "Tensor") -> "Tensor":
        """Rows of the pictures of a batch, each followed by those of its cells."""
        import torch

        rows = self._tower.run(pixels)
        cells = self._cells(self._inputs.value)
        return torch.cat([rows[:, None].float(), cells.flatten(1, 2).float()], dim=1).flatten(1)

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        """Within it, what the module is given in each thread is known."""

        def keep(_module: "Module", arguments: tuple[Any, ...]) -> None:
            self._inputs.value = arguments[0]

        hook = self._module.register_forward_pre_hook(keep)
        try:
            yield
        finally:
            hook.remove()


def _tower(encoder: object, model: str) -> _TowerDense:
    """Raises UnknownModelError for an encoder whose tower is not known to keep cells."""
    tower: _TowerDense | None = None
    if isinstance(encoder, OpenClipEncoder):
        if encoder.opened.engine is not None:
            return _tower(encoder.with_opened(replace(encoder.opened, engine=None)), model)
        visual = encoder.opened.model.visual
        tower = _of_transformer(encoder, visual) or _of_pooled(encoder, getattr(visual, "trunk", None), visual)
    elif isinstance(encoder, PictureBackbone):
        tower = _of_pooled(encoder, encoder.images.run, None)
    with suppress(RuntimeError, TypeError, ValueError, AttributeError):
        if tower is not None and min(tower.grid) > 0:
            return tower
    raise UnknownModelError(
        f"`model` must have rows of cells, as pooled convolutional towers and vision transformers of open_clip have; "
        f"got `{model}`. Take another, such as `embedded`."
    )


def _of_transformer(encoder: OpenClipEncoder, visual: Any) -> _TowerDense | None:  # noqa: ANN401 - of open_clip
    from open_clip.transformer import VisionTransformer

    if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None or visual.proj is None:
        return None
    block = visual.transformer.resblocks[-1]

    def cells(tokens: "Tensor") -> "Tensor":
        sequence = tokens if visual.transformer.batch_first else tokens.transpose(0, 1)
        height, width = visual.grid_size
        patches = sequence[:, 1 : 1 + height * width]  # after the class token; learned ones may follow
        attention = block.attn
        values = attention.in_proj_weight.chunk(3)[2], attention.in_proj_bias.chunk(3)[2]
        attended = attention.out_proj(linear(block.ln_1(patches), *values))
        patches = patches + block.ls_1(attended)
        patches = patches + block.ls_2(block.mlp(block.ln_2(patches)))
        return (visual.ln_post(patches) @ visual.proj).unflatten(1, (height, width))  # type: ignore[no-any-return]

    from torch.nn.functional import linear

    return _TowerDense(encoder, block, cells)


def _of_pooled(
    encoder: OpenClipEncoder | PictureBackbone,
    trunk: Any,  # noqa: ANN401 - of timm
    visual: Any,  # noqa: ANN401 - of open_clip
) -> _TowerDense | None:
    """By a network of timm that takes the mean of its cells at last; each goes through what follows that alone."""
    pool = next((part for name, part in _named(trunk) if name.rpartition(".")[2] == "global_pool"), None)
    if pool is None or getattr(pool, "pool_type", "") != "avg":
        return None

    def cells(features: "Tensor") -> "Tensor":
        n, channels, height, width = features.shape
        single = features.permute(0, 2, 3, 1).reshape(-1, channels, 1, 1)
        rows = trunk.forward_head(single)
        return (rows if visual is None else visual.head(rows)).reshape(n, height, width, -1)  # type: ignore[no-any-return]

    return _TowerDense(encoder, pool, cells)


def _named(trunk: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - of timm
    yield from trunk.named_modules() if hasattr(trunk, "forward_head") else ()


def size_of(data: bytes) -> tuple[int, int]:
    """The width and height of the picture that a file holds, upright. Raises UnreadableImageError for none."""
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as stored:
            width, height = stored.size
            return (height, width) if orientation_of(stored) in SIDEWAYS else (width, height)
    except DECODER_ERRORS as error:
        raise UnreadableImageError(
            f"`images` must be files that decode; got {len(data)} bytes that do not ({type(error).__name__})."
        ) from error
