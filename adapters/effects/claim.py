"""A claim of a paper, and how it is judged on the proving ground."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy.typing as npt

from evenly.adapters.effects.effect import Arm, PairedArms, mean_arm, worst_arm
from evenly.adapters.effects.ground import Ground
from evenly.adapters.features import Integers


class NotMeasurableError(ValueError):
    """A ground lacks what a claim is judged on; the words say what."""


@dataclass(frozen=True, kw_only=True)
class JudgedClaim:
    """A comparison, and what was chosen on validation for it, by name."""

    comparison: PairedArms
    chosen: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`method` of the system `number` of ../shared/methods gains over `rival` by `measure`, where `condition` holds.

    control: what should gain nothing. ceiling: what bounds the method. compare: the comparison of a ground and a seed,
    on which nothing depends unless it `draws`.
    """

    number: int
    system: str
    method: str
    rival: str
    measure: str
    condition: str
    compare: Callable[[Ground, int], JudgedClaim]
    control: str = ""
    ceiling: str = ""
    draws: bool = True


def arms_of(
    ground: Ground, rows: Integers, values: Mapping[str, npt.ArrayLike], *, cells: Integers | None = None
) -> PairedArms:
    """The comparison of values (n,) of the same pictures, by the arm's name: method, rival, control, ceiling.

    Means over the pictures, or the least over `cells` (n,).
    """
    groups, n_groups = ground.groups(rows)

    def arm(of_arm: npt.ArrayLike) -> Arm:
        if cells is None:
            return mean_arm(of_arm, groups, n_groups=n_groups)
        return worst_arm(of_arm, groups, cells, n_groups=n_groups)

    return PairedArms(n_groups=n_groups, **{name: arm(of_arm) for name, of_arm in values.items()})
