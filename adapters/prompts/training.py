"""Training of context vectors through a text tower: SGD as CoOp's, in stages that are kept and gone on from."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from evenly.adapters.features import Features, Integers
from evenly.adapters.prompts.tower import States, Vectors
from evenly.adapters.training import torch_threads

if TYPE_CHECKING:
    from torch import Tensor

Parameters = Mapping[str, "Tensor"]
STAGES = 5
"""Equal parts of a training after each of which it is kept, and can be stopped."""
_MOMENTUM = "momentum."
VERSION = 1
"""Raised when a training of the same arrays would come to other parameters: none goes on from those of before."""


def rates(steps: int, *, highest: float, warmup_steps: int) -> list[float]:
    """The learning rate of each step: 1e-5 for `warmup_steps` steps, along a cosine from `highest` to 0 over all.

    CoOp's public code warms up for an epoch and changes the rate from epoch to epoch; here from step to step.
    """
    cosine = [0.5 * highest * (1 + math.cos(math.pi * step / steps)) for step in range(steps)]
    return [1e-5] * warmup_steps + cosine[warmup_steps:]


def trained_stages(
    start: Parameters,
    loss: Callable[[Parameters, Integers], "Tensor"],
    steps: Sequence[tuple[Integers, float]],
    *,
    weight_decay: float,
    states: States,
    key: str,
) -> list[dict[str, Vectors]]:
    """The parameters at the start and after each of STAGES parts of the steps of SGD, each a batch and its rate.

    After each stage they are kept in `states` under `key` with their momentum: a training that was broken off goes on
    there, to the same bits, and one that is whole is read. Momentum .9; one thread of the processor.
    """
    import torch

    parameters = {name: values.clone().requires_grad_() for name, values in start.items()}
    optimiser = torch.optim.SGD(parameters.values(), lr=steps[0][1], momentum=0.9, weight_decay=weight_decay)
    kept: dict[str, Vectors] = dict(states.get(key, {})) or arrays_of(parameters, "0.")
    done = max(int(name.partition(".")[0]) for name in kept if not name.startswith(_MOMENTUM))
    with torch.no_grad():
        for name, values in parameters.items():
            values.copy_(torch.from_numpy(np.array(kept[f"{done}.{name}"])))
            if (momentum := kept.get(f"{_MOMENTUM}{name}")) is not None:
                optimiser.state[values]["momentum_buffer"] = torch.from_numpy(np.array(momentum))
    ends = [round(len(steps) * stage / STAGES) for stage in range(STAGES + 1)]
    with torch_threads(1):
        for stage in range(done, STAGES):
            for batch, rate in steps[ends[stage] : ends[stage + 1]]:
                optimiser.param_groups[0]["lr"] = rate
                optimiser.zero_grad(set_to_none=True)
                loss(parameters, batch).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            state = {name: optimiser.state[values].get("momentum_buffer") for name, values in parameters.items()}
            moments = {name: momentum for name, momentum in state.items() if momentum is not None}
            kept = kept | arrays_of(parameters, f"{stage + 1}.") | arrays_of(moments, _MOMENTUM)
            states[key] = kept
    return [{name: kept[f"{stage}.{name}"] for name in parameters} for stage in range(STAGES + 1)]


def training_key(features: Features, labels: Integers, **facts: object) -> str:
    """The key of a training by all that it depends on: VERSION, facts, the labels, arrays and names of the record."""
    digest = hashlib.sha256(repr((VERSION, sorted(facts.items()), features.rejection_names)).encode())
    for name, array in sorted({**vars(features), "labels": labels}.items()):
        if isinstance(array, np.ndarray):
            digest.update(f"\0{name}\0{array.dtype}\0{array.shape}\0".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def arrays_of(tensors: Parameters, prefix: str = "") -> dict[str, Vectors]:
    """Copies of tensors by their names after a prefix."""
    return {f"{prefix}{name}": np.array(values.detach().cpu().numpy()) for name, values in tensors.items()}
