"""Devices that models run on: which one, and what went wrong there, said with its remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

from evenly.features.errors import DeviceError

_KINDS = ("cpu", "cuda", "mps", "xpu")


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
        there = ["cpu", *(f"{other}:{place}" for other in _KINDS[1:] for place in range(_count(other)))]
        raise DeviceError(
            f"`device` must be one that is here: {', '.join(f'`{one}`' for one in there)}; got `{name}`. "
            "Leave it out for a GPU where there is one."
        )
    return name


def _count(kind: str) -> int:
    import torch

    if kind == "mps":
        return int(torch.backends.mps.is_available())
    backend = getattr(torch, kind, None) if kind in _KINDS else None
    return int(backend.device_count()) if backend is not None and backend.is_available() else 0


@contextmanager
def device_errors(device: str, batch_size: int) -> Iterator[None]:
    """Raise DeviceError where a model ran out of the device's memory, or the device failed.

    Nothing goes on with a smaller batch by itself: numbers depend on it, so that it would be another encoder.
    """
    import torch

    try:
        yield
    except RuntimeError as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise DeviceError(
                f"`batch_size` must fit the memory of `{device}`; {batch_size} do not. Give a smaller one (that "
                "is another encoder, whose rows are all made anew), or another `device`."
            ) from error
        if type(error).__name__ == "AcceleratorError" or "CUDA error" in reason:  # a type of torch from 2.8 on
            raise DeviceError(
                f"`{device}` must answer; it failed: {reason}. What was stored stays; run again, or name another "
                "`device`."
            ) from error
        raise
