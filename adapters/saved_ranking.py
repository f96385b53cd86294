"""A fitted ranking head as a card of plain values and a dict of arrays, and back."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.features import Floats
from evenly.adapters.ranking import RankingHead

NAME = "ranking"
_ARRAYS = ("direction_", "weight_", "bias_")
_TEXTS = ("encoder_", "fallback_")
PARAMETERS = {item.name: item.type for item in fields(RankingHead) if item.init}
"""The hyper-parameters and their types."""


def ranking_card(head: RankingHead) -> dict[str, Any]:
    """The card of a fitted head: as `evenly.adapters.saved.to_card`, under the name `ranking`."""
    return {
        "adapter": NAME,
        "parameters": {name: getattr(head, name) for name in PARAMETERS},
        "learned": {name: getattr(head, name) for name in _TEXTS},
        "arrays": {
            name: {"shape": list(array.shape), "dtype": str(array.dtype)}
            for name, array in ranking_arrays(head).items()
        },
    }


def ranking_arrays(head: RankingHead) -> dict[str, Floats]:
    """The learned arrays by name, C-contiguous."""
    return {name: np.ascontiguousarray(getattr(head, name)) for name in _ARRAYS}


def ranking_head(arrays: Mapping[str, Floats], card: Mapping[str, Any]) -> RankingHead:
    """The fitted head again: its scores equal those of the one that was saved."""
    if set(arrays) != set(_ARRAYS) or card["parameters"].keys() - PARAMETERS.keys():
        raise InvalidFeaturesError(
            f"`arrays` of a ranking must be {', '.join(_ARRAYS)}; got {', '.join(sorted(arrays)) or 'none'}. "
            "Load the arrays and the card of one saved head."
        )
    head = RankingHead(**card["parameters"])
    for name, value in {**arrays, **{text: str(card["learned"].get(text, "")) for text in _TEXTS}}.items():
        setattr(head, name, value)
    return head
