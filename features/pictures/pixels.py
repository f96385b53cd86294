"""Pictures to pixels of a batch, with the bits that a transform of torchvision gives picture by picture, in less time.

Size and crop are done for each picture, on bytes; scaling to 0..1 and normalising once for the batch, on the device, to
which a quarter of the bytes travels.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

Transform = Callable[[Image.Image], "torch.Tensor"]


class Pixels:
    """The two halves of a transform that ends with ToTensor and Normalize; another one is all first half."""

    def __init__(self, transform: Transform) -> None:
        self._transform = transform

    def of(self, pictures: Sequence[Image.Image]) -> "torch.Tensor":
        """Pixels (n, 3, height, width) of pictures in RGB: bytes, channels last in memory, or floats that are done."""
        import torch

        if self._halves is None:
            return torch.stack([self._transform(picture) for picture in pictures])
        geometry, _ = self._halves
        sized = np.stack([np.asarray(geometry(picture)) for picture in pictures])
        return torch.from_numpy(sized).permute(0, 3, 1, 2)

    def normalised(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Floats as the transform gives them, in the memory format of `pixels`."""
        if self._halves is None or pixels.is_floating_point():
            return pixels
        _, normalize = self._halves
        done: torch.Tensor = normalize(pixels.float().div_(255))
        return done

    @cached_property
    def _halves(self) -> "tuple[Callable[[Image.Image], Image.Image], Any] | None":
        from torchvision.transforms import Compose, Normalize, ToTensor  # type: ignore[import-untyped]

        steps = list(self._transform.transforms) if isinstance(self._transform, Compose) else []
        if len(steps) < 3 or not isinstance(steps[-2], ToTensor) or not isinstance(steps[-1], Normalize):
            return None
        return Compose(steps[:-2]), Normalize(steps[-1].mean, steps[-1].std, inplace=True)
