"""Pictures to pixels of a batch, with the bits that a transform of torchvision gives picture by picture, in less time.

Size and crop are done for each picture, on bytes; scaling to 0..1 and normalising once for the batch, on the device, to
which a quarter of the bytes travels.
"""

import hashlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from evenly.features.errors import UnknownModelError
from evenly.features.pictures.decoded import Opened, Resizer, middle, most_ratio, of_pillow, open_picture

if TYPE_CHECKING:
    import torch

Transform = Callable[[Image.Image], "torch.Tensor"]


class Pixels:
    """The two halves of a transform that ends with ToTensor and Normalize; another one is all first half.

    Of a picture hundreds of times as long as wide the middle is seen: evenly.features.pictures.decoded.

    `resize`: `pillow`, as the transform has it, or `torch`, in a quarter of the time, with JPEG files decoded
    without Pillow; where both sides shrink its values differ by a step or two here and there. Raises
    UnknownModelError where torch is asked for and the transform has a step that is not known.
    """

    def __init__(self, transform: Transform, resize: Resizer = "pillow") -> None:
        from torchvision.transforms import Compose, Normalize, ToTensor  # type: ignore[import-untyped]

        steps = list(transform.transforms) if isinstance(transform, Compose) else []
        is_split = len(steps) > 2 and isinstance(steps[-2], ToTensor) and isinstance(steps[-1], Normalize)
        if resize == "torch" and not (is_split and all(map(_is_known, steps[:-2]))):
            raise UnknownModelError(
                "`resize` must be `pillow` for a model whose preprocessing is its own; got `torch`. Leave it out."
            )
        self._transform, self._steps = transform, steps[:-2] if is_split else []
        self._most_ratio = most_ratio(transform)
        self._normalize = Normalize(steps[-1].mean, steps[-1].std, inplace=True) if is_split else None
        self._resize = resize
        self._sized: Callable[[Any], torch.Tensor] = self._by_torch if resize == "torch" else self._by_pillow

    def opened(self, data: bytes) -> Opened:
        """The picture of a file in RGB, as `of` takes it. Raises UnreadableImageError for bytes that do not decode."""
        return open_picture(data, self._resize)

    def of(self, pictures: Sequence[Opened]) -> "torch.Tensor":
        """Pixels (n, 3, height, width) of pictures in RGB: bytes, channels last in memory, or floats that are done."""
        import torch

        middles = [middle(picture, self._most_ratio) for picture in pictures]
        if self._normalize is None:
            return torch.stack([self._transform(of_pillow(picture)) for picture in middles])
        return torch.stack([self._sized(picture) for picture in middles]).permute(0, 3, 1, 2)

    def normalised(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Floats as the transform gives them, in the memory format of `pixels`."""
        if self._normalize is None:
            return pixels
        done: torch.Tensor = self._normalize(pixels.float().div_(255))
        return done

    def probe(self) -> str:
        """SHA-256 of the pixels of a drawn picture: what other processors or libraries would give may differ."""
        ramp = np.add.outer(np.arange(300) * 5, np.arange(401) * 3)
        picture = Image.fromarray(np.stack([ramp, ramp * 7, ramp * 11], axis=2).astype(np.uint8))
        return hashlib.sha256(self.of([picture]).contiguous().numpy().tobytes()).hexdigest()

    def _by_pillow(self, picture: Opened) -> "torch.Tensor":
        import torch

        sized = of_pillow(picture)
        for step in self._steps:
            sized = step(sized)
        return torch.from_numpy(np.array(sized))

    def _by_torch(self, picture: Opened) -> "torch.Tensor":
        import torch
        from torchvision.transforms.v2 import functional  # type: ignore[import-untyped]

        pixels = torch.from_numpy(np.require(picture, requirements="W")).permute(2, 0, 1)
        height, width = pixels.shape[1:]
        sides = SimpleNamespace(size=(width, height))  # all that `get_params` asks a picture for
        for step in self._steps:
            if hasattr(step, "interpolation"):
                keeps_ratio = hasattr(step, "longest")
                size = step.get_params(sides, step.size, step.longest) if keeps_ratio else step.size
                pixels = functional.resize(pixels, size, step.interpolation, antialias=True)
            else:
                pixels = step(pixels)
        return pixels.permute(1, 2, 0)


def _is_known(step: object) -> bool:
    """Whether a step does the same to a tensor: one of torchvision or open_clip that resizes, crops or pads."""
    from open_clip import transform
    from torchvision.transforms import CenterCrop, Resize

    return isinstance(
        step, Resize | CenterCrop | transform.ResizeKeepRatio | transform.CenterCropOrPad | transform.MaybeConvertMode
    )
