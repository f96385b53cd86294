"""Devices that models run on: the choice of one, and errors there, with the remedy."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from evenly.features.errors import DeviceError

_KINDS = ("cpu", "cuda", "mps", "xpu")
_TOO_LITTLE = ("out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")
"""What torch says where a device, or the machine, has too little memory."""
_FAILED = ("CUDA error", "CUDA driver error", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "HIP error", "XPU error")
"""What it says where a device or its driver failed."""


def chosen_device(name: str | None) -> str:
    """The device of that name, `cpu`, `cuda`, `cuda:1` or other of torch; without a name a GPU of CUDA, else `cpu`.

    Raises DeviceError where there is none of that name.
    """
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    count = 1 if kind == "cpu" else _count(kind)
    if kind not in _KINDS or (number and not number.isdigit()) or int(number or 0) >= count:
        devices = ["cpu", *(f"{kind}:{place}" for kind in _KINDS[1:] for place in range(_count(kind)))]
        raise DeviceError(
            f"`device` must be one that is here: {', '.join(f'`{device}`' for device in devices)}; got `{name}`. "
            "Leave it out for a GPU where there is one."
        )
    return name


def device_signs() -> list[str]:
    """Signs, without torch, of the device that `chosen_device` would take: drivers' files, and their variables."""
    variables = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    files = [str(path) for path in [*sorted(Path("/dev").glob("nvidia*")), Path("/dev/kfd")] if path.exists()]
    return [*files, *(f"{name}={os.environ[name]}" for name in variables if name in os.environ)]


def _count(kind: str) -> int:
    import torch

    if kind == "mps":
        return int(torch.backends.mps.is_available())
    backend = getattr(torch, kind, None) if kind in _KINDS else None
    return int(backend.device_count()) if backend is not None and backend.is_available() else 0


@cache
def device_name(device: str) -> str:
    """The kind of a device and its maker's name for it: `cuda NVIDIA H100 80GB HBM3`, `cpu AMD EPYC 9B14`."""
    kind, _, number = device.partition(":")
    if kind == "cpu":
        model = _processor()
    elif kind in {"cuda", "xpu"}:
        import torch

        model = str(getattr(torch, kind).get_device_name(int(number or 0)))
    else:
        model = platform.machine()
    return f"{kind} {model}".strip()


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    return platform.processor() or platform.machine()


@contextmanager
def device_errors(device: str, batch_size: int) -> Iterator[None]:
    """Raise DeviceError where a model ran out of the device's memory, or the device failed.

    Nothing goes on with a smaller batch by itself: numbers depend on it, so that it would be another encoder.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_of_device(error):
            raise
        reason = _first_line(error)
        if any(words in reason for words in _TOO_LITTLE):
            raise DeviceError(
                f"`batch_size` must fit the memory of `{device}`; {batch_size} do not. Give a smaller one (that "
                "is another encoder, whose rows are all made anew), or another `device`."
            ) from error
        raise DeviceError(
            f"`{device}` must answer; it failed: {reason}. What was stored stays; run again, or name another `device`."
        ) from error


def is_of_device(error: Exception) -> bool:
    """Whether an error of torch is about the device, not about what it was asked for."""
    if type(error).__name__ in {"OutOfMemoryError", "AcceleratorError"}:  # AcceleratorError: of torch from 2.8 on
        return True
    reason = _first_line(error)
    return isinstance(error, RuntimeError) and any(words in reason for words in (*_TOO_LITTLE, *_FAILED))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200].rstrip(" .")
