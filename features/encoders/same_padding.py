"""Convolutions padded as TensorFlow pads them, as ordinary ones: the same function without a copy of every picture.

With padding "same" and stride 2 an even picture gets one row and column more at its end than at its beginning, so timm
pads it in memory before it convolves. A kernel that has a first row and column of zeros does the same with an ordinary
padding, which libraries do on the way. `embedded` is a fifth faster by it: benchmarks/extraction.py. On the
processors tried its rows keep their bits, so the identity of an encoder says nothing of it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evenly.features.encoders.folding import fold_batch_norms, hooked, is_close, replace_module

if TYPE_CHECKING:
    import torch
    from torch.nn import Module

_STRIDE = (2, 2)


def less_work(tower: "Module", run: "Callable[[torch.Tensor], torch.Tensor]", probe: "torch.Tensor") -> dict[str, int]:
    """Fold batch normalisations and pad symmetrically, in place; the facts of what changes bits, where any does."""
    count = fold_batch_norms(tower, run, probe)
    pad_symmetrically(tower, run, probe)
    return {"folded_batch_norms": count} if count else {}


def pad_symmetrically(tower: "Module", run: "Callable[[torch.Tensor], torch.Tensor]", probe: "torch.Tensor") -> int:
    """Replace such convolutions of stride 2, odd kernels and even inputs, in place; how many.

    `run` maps pictures of the size of `probe` (1, 3, height, width), which all have, to rows by `tower`. Where the
    tower then gives another row for the probe but for rounding, all is put back. In half precision nothing is replaced.
    """
    import torch
    from timm.layers import Conv2dSame

    names = {module: name for name, module in tower.named_modules() if type(module) is Conv2dSame}
    if not names or probe.dtype != torch.float32:
        return 0
    sizes: dict[Module, set[int]] = {}
    with torch.no_grad():
        with hooked(
            list(names), lambda conv, arguments, _output: sizes.setdefault(conv, set()).update(arguments[0].shape[-2:])
        ):
            wanted = run(probe)
        kept = [conv for conv, lengths in sizes.items() if _is_even(conv, lengths)]
        for conv in kept:
            replace_module(tower, names[conv], _symmetric(conv))
        if kept and not is_close(run, probe, wanted):
            for conv in kept:
                replace_module(tower, names[conv], conv)
            return 0
    return len(kept)


def _is_even(conv: Any, sizes: set[int]) -> bool:  # noqa: ANN401 - of timm
    odd = all(size % 2 and size > 1 for size in conv.kernel_size)
    return odd and conv.stride == _STRIDE and conv.dilation == (1, 1) and all(size % 2 == 0 for size in sizes)


def _symmetric(conv: Any) -> "Module":  # noqa: ANN401 - of timm
    """The ordinary convolution with a kernel that is a row and a column larger."""
    import torch

    height, width = conv.kernel_size
    plain = torch.nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        (height + 1, width + 1),
        stride=conv.stride,
        padding=((height - 1) // 2, (width - 1) // 2),
        groups=conv.groups,
        bias=conv.bias is not None,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    weight = torch.nn.functional.pad(conv.weight.detach(), (1, 0, 1, 0))
    plain.weight = torch.nn.Parameter(weight, requires_grad=False)
    plain.bias = conv.bias
    return plain.eval()
