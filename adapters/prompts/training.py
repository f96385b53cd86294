"""Training of context vectors through a text tower: SGD as CoOp's, in stages that are kept and gone on from."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from evenly.adapters.features import Features, Integers
from evenly.adapters.prompts.tower import States, Vectors
from evenly.adapters.training import torch_threads

if TYPE_CHECKING:
    from torch import Tensor

Parameters = Mapping[str, "Tensor"]
_MOMENTUM = "momentum."
VERSION = 1
"""Raised when a training of the same arrays would now come to other parameters: those of before are not gone on from."""


@dataclass(frozen=True, kw_only=True)
class PromptSchedule:
    """SGD with momentum: `warmup_steps` steps at `warmup_rate`, and a cosine from the rate to 0 over all steps.

    CoOp's public code warms up for an epoch at 1e-5 and changes the rate from epoch to epoch; here from step to step.
    The parameters are kept after each of `stages` equal parts.
    """

    learning_rate: float
    weight_decay: float = 5e-4
    momentum: float = 0.9
    warmup_steps: int = 0
    warmup_rate: float = 1e-5
    stages: int = 5

    def rate(self, step: int, *, steps: int) -> float:
        """The learning rate at `step` of `steps`, counted from 0."""
        if step < self.warmup_steps:
            return self.warmup_rate
        return 0.5 * self.learning_rate * (1 + math.cos(math.pi * step / steps))


def trained_stages(
    start: Mapping[str, "Tensor"],
    loss: Callable[[Parameters, Integers], "Tensor"],
    batches: Sequence[Integers],
    *,
    rule: PromptSchedule,
    states: States,
    key: str,
) -> list[dict[str, Vectors]]:
    """The parameters at the start and after each of the rule's `stages`, equal parts of the batches, a step per batch.

    After each stage they are kept in `states` under `key` with their momentum: a training that was broken off goes on
    there, to the same bits, and one that is whole is read. One thread of the processor.
    """
    import torch

    parameters = {name: values.clone().requires_grad_() for name, values in start.items()}
    optimiser = torch.optim.SGD(
        parameters.values(), lr=rule.learning_rate, momentum=rule.momentum, weight_decay=rule.weight_decay
    )
    kept: dict[str, Vectors] = dict(states.get(key, {})) or _arrays("0.", parameters)
    done = max(int(name.partition(".")[0]) for name in kept if not name.startswith(_MOMENTUM))
    with torch.no_grad():
        for name, values in parameters.items():
            values.copy_(torch.from_numpy(np.array(kept[f"{done}.{name}"])))
            if (momentum := kept.get(f"{_MOMENTUM}{name}")) is not None:
                optimiser.state[values]["momentum_buffer"] = torch.from_numpy(np.array(momentum))
    stages = rule.stages
    ends = [round(len(batches) * (stage + 1) / stages) for stage in range(stages)]
    with torch_threads(1):
        for stage in range(done, stages):
            for step in range(ends[stage - 1] if stage else 0, ends[stage]):
                optimiser.param_groups[0]["lr"] = rule.rate(step, steps=len(batches))
                optimiser.zero_grad(set_to_none=True)
                loss(parameters, batches[step]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            moments = {
                name: optimiser.state[values]["momentum_buffer"]
                for name, values in parameters.items()
                if optimiser.state[values].get("momentum_buffer") is not None
            }
            kept = kept | _arrays(f"{stage + 1}.", parameters) | _arrays(_MOMENTUM, moments)
            states[key] = kept
    return [{name: kept[f"{stage}.{name}"] for name in parameters} for stage in range(stages + 1)]


def training_key(features: Features, labels: Integers, **facts: object) -> str:
    """The key of a training by all that it depends on: VERSION, arrays of the record, labels, tower, names, facts."""
    tower = features.tower
    basis = (VERSION, sorted(facts.items()), tower and tower.identity, tower and tower.names, features.rejection_names)
    digest = hashlib.sha256(repr(basis).encode())
    for name, array in [("labels", labels), *((item.name, getattr(features, item.name)) for item in fields(features))]:
        if isinstance(array, np.ndarray):
            digest.update(f"\0{name}\0{array.dtype}\0{array.shape}\0".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def _arrays(prefix: str, tensors: Parameters) -> dict[str, Vectors]:
    return {f"{prefix}{name}": np.array(values.detach().cpu().numpy()) for name, values in tensors.items()}
