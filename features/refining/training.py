"""The loop that trains: batches by hash, an epoch at a time, from a state that can be stored and gone on with."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from evenly.bounds import FINITE
from evenly.features.errors import RowsError
from evenly.features.refining.heads import HeadTraining
from evenly.features.refining.hold import HeldTexts, Hold
from evenly.features.refining.objective import Batch, Objective, Sampler, Sides, check_needs, codes
from evenly.features.refining.pairs import PairRows
from evenly.features.refining.refinement import Refinement, Trainable
from evenly.features.torch_session import torch_session

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_MOMENTS = ("exp_avg", "exp_avg_sq")
HOLD_WEIGHT = "hold.weight"
"""The name of a Hold's weight in a state."""
State = Mapping[str, npt.NDArray[np.float32]]
"""What is trained and the moments of AdamW, by name, as they are after an epoch."""


@dataclass(frozen=True, kw_only=True)
class TrainingRule:
    """Training of heads: AdamW, its rate falling as a cosine to 0 over all epochs.

    rank: columns of the heads' inner layer. batch_size: pairs; the last of an epoch, if smaller, is left out. hold: how
    far rows of texts outside the pool are to move, as `Hold` has it; 0: they move freely.
    """

    rank: Annotated[int, Ge(1), Le(4096)] = 64
    epochs: Annotated[int, Ge(1), Le(1000)] = 20
    batch_size: Annotated[int, Ge(2), Le(65536)] = 256
    learning_rate: Annotated[float, Gt(0), FINITE] = 1e-3
    weight_decay: Annotated[float, Ge(0), FINITE] = 0.01
    hold: Annotated[float, Ge(0), Le(1)] = 0.0


Tune = Literal["blocks", "singular", "deep_prompts", "prompts_and_norms"]
Side = Literal["both", "text", "image"]
TOWER_RULES: Mapping[str, TrainingRule] = {
    "blocks": TrainingRule(epochs=4, batch_size=64, learning_rate=1e-5),
    "singular": TrainingRule(epochs=10, batch_size=32, learning_rate=5e-3),
    "deep_prompts": TrainingRule(epochs=5, batch_size=32, learning_rate=2e-3),
    "prompts_and_norms": TrainingRule(epochs=5, batch_size=32, learning_rate=1e-3),
}
"""How towers are trained unless said otherwise, by what of them is tuned."""


def check_trained(experts: int, towers: int, rank: int, tune: Tune, side: Side) -> None:
    """Raise ValueError for experts beside towers, more experts than the rank, and words on towers without towers."""
    if not towers and (tune, side) != ("blocks", "both"):
        raise ValueError(f"`tune` and `side` must stand beside `towers`, the number of blocks; got `{tune}`, `{side}`")
    if towers and experts > 1:
        raise ValueError(f"`experts` must be 1 beside `towers`, which are trained without heads; got {experts}")
    if experts > rank:
        raise ValueError(f"`experts` must be at most the rank, {rank}, which they share; got {experts}")


def train_heads(
    pairs: PairRows,
    objective: Objective,
    rule: TrainingRule,
    *,
    seed: int,
    trained: Trainable | None = None,
    sampler: Sampler | None = None,
    texts: HeldTexts | None = None,
    start: tuple[int, State] | None = None,
) -> Iterator[tuple[int, Refinement, State]]:
    """Parameters and state after each epoch that is left, from 1; from the `start`, epochs and the state after them.

    trained: heads of the rule's rank, unless it is something else. texts: those that the rule's `hold` is of. The same
    pairs, rule and seed give the same bits, wherever it was broken off. Texts that are equal, and pictures of one
    group, never count against each other. Raises RowsError for fewer pairs than a batch has, for pairs without what the
    objective needs, and for `hold` without texts.
    """
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if len(pairs) < rule.batch_size:
        raise RowsError(
            f"`batch_size` must be at most {len(pairs)}, the pairs there are; got {rule.batch_size}. Take less."
        )
    check_needs(objective, pairs)
    hold = _hold(rule, texts)
    with threadpool_limits(1):  # by more, sums may come in another order
        objective.prepare(pairs, seed=seed)
    trained = trained or HeadTraining(pairs.image.shape[1], rule.rank, seed=seed)
    parameters = {name: values.requires_grad_() for name, values in trained.start().items()}
    parameters |= {f"own.{name}": values.requires_grad_() for name, values in objective.trained().items()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=rule.learning_rate, weight_decay=rule.weight_decay)
    if hold is not None:
        parameters[HOLD_WEIGHT] = hold.weight
    steps = len(pairs) // rule.batch_size
    done = 0
    if start is not None:
        done, state = start
        _restore(parameters, optimizer, state, steps=steps * done)
    captions, groups = codes(pairs.captions), codes(pairs.groups)
    for epoch in range(done, rule.epochs):
        order = np.argsort([_number(seed, "order", epoch, uid) for uid in pairs.uids.tolist()], kind="stable")
        batches = [order[step * rule.batch_size : (step + 1) * rule.batch_size] for step in range(steps)]
        with torch_session(trained.threads) as pool:
            for step, (places, inputs) in enumerate(zip(batches, trained.inputs(batches, pool), strict=True)):
                share = (epoch * steps + step) / (rule.epochs * steps)
                for group in optimizer.param_groups:
                    group["lr"] = 0.5 * rule.learning_rate * (1 + np.cos(np.pi * share))
                original = Sides(image=torch.from_numpy(pairs.image[places]), text=torch.from_numpy(pairs.text[places]))
                refined = trained.rows(parameters, original, inputs)
                allowed = _differ(captions[places]) & _differ(groups[places])
                batch = Batch(
                    places=places,
                    pairs=pairs,
                    negatives=allowed if sampler is None else sampler.negatives(allowed, refined),
                    progress=share,
                    generator=torch.Generator().manual_seed(_number(seed, "draws", epoch, str(step)) >> 1),
                    refined=partial(trained.rows, parameters, inputs=None),
                    texts=partial(trained.texts, parameters),
                )
                optimizer.zero_grad()
                loss = objective.loss(batch, refined, original) + trained.penalty(parameters, original)
                if hold is not None:
                    loss = loss + hold.penalty(trained, parameters, original, refined, batch.generator)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        arrays = {name: _array(values) for name, values in parameters.items()}
        yield epoch + 1, trained.refinement(arrays), arrays | _moments(parameters, optimizer)


def _hold(rule: TrainingRule, texts: HeldTexts | None) -> Hold | None:
    if not rule.hold:
        return None
    if texts is None:
        raise RowsError("`texts` must be rows that are held, since `hold` is not 0; got None. Give both or neither.")
    return Hold(texts, rule.hold)


def _array(values: "Tensor") -> npt.NDArray[np.float32]:
    """A copy on this side of a device."""
    return np.array(values.detach().cpu().numpy())


def _differ(numbers: npt.NDArray[np.int64]) -> "Tensor":
    import torch

    values = torch.from_numpy(numbers)
    return values[:, None] != values[None, :]


def _moments(
    parameters: Mapping[str, "Tensor"], optimizer: "torch.optim.Optimizer"
) -> dict[str, npt.NDArray[np.float32]]:
    return {
        f"{moment}.{name}": _array(optimizer.state[values][moment])
        for name, values in parameters.items()
        if values in optimizer.state
        for moment in _MOMENTS
    }


def _restore(
    parameters: Mapping[str, "Tensor"], optimizer: "torch.optim.Optimizer", state: State, *, steps: int
) -> None:
    import torch

    moments = {f"{moment}.{name}": name for name in parameters for moment in _MOMENTS}
    is_ours = set(parameters) <= set(state) <= {*parameters, *moments}
    if not is_ours or any(state[name].shape != tuple(values.shape) for name, values in parameters.items()):
        raise RowsError("`state` must be of the same heads; got that of others. Start from the beginning.")
    with torch.no_grad():
        for name, values in parameters.items():
            values.copy_(torch.from_numpy(np.array(state[name])))
            if f"{_MOMENTS[0]}.{name}" in state:  # else the loss does not reach it
                stored_moments = {
                    moment: torch.from_numpy(np.array(state[f"{moment}.{name}"])).to(values.device)
                    for moment in _MOMENTS
                }
                optimizer.state[values] = {"step": torch.tensor(float(steps)), **stored_moments}


def _number(seed: int, use: str, epoch: int, name: str) -> int:
    digest = hashlib.blake2b(f"{seed} {use} {epoch} {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
