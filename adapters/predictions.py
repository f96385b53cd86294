"""Predictions of a fitted adapter in the words of its card: classes, confidences, and the texts that decided."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from evenly.adapters.contract import Adapter
from evenly.adapters.evaluation.measures.calibration import is_at_the_end
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.features import Features
from evenly.adapters.methods.vcd import PROTOTYPE, DescribedClasses
from evenly.adapters.ranking import RankingHead

Card = Mapping[str, Any]
Reasons = list[dict[str, Any]]


def predictions(fitted: Adapter | RankingHead, features: Features, card: Card, *, top: int) -> list[dict[str, Any]]:
    """A row per picture: class, confidence and the `top` classes with probabilities; of a ranking head its score."""
    if isinstance(fitted, RankingHead):
        return [{"score": float(score)} for score in fitted.score(features)]
    classes = class_names_of(card, len(fitted.prototypes_))
    probabilities = softmax(fitted.decision_function(features) / (temperature_of(card) or 1.0))
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return [
        {
            "class": classes[best[0]],
            "confidence": float(row[best[0]]),
            "top": [{"class": classes[place], "probability": float(row[place])} for place in best],
        }
        for row, best in zip(probabilities, order, strict=True)
    ]


def explained(fitted: DescribedClasses, features: Features, card: Card) -> list[Reasons]:
    """For each picture the texts of its class and then of the runner-up, the nearest first (VCD).

    Each is `side` ("class", "runner-up"), `class` (its name), `text` and `similarity`, the cosine of picture and text;
    under the mean of similarities a class's logit is the scale times the mean of its texts'. A class without texts has
    its prototype; a card without the words of the texts gives their positions among `class_texts`.
    """
    names = class_names_of(card, len(fitted.prototypes_))
    reasons_of_rows: list[Reasons] = [[] for _ in range(len(features))]
    sides = {"class": "class", "against": "runner-up"}
    for row in fitted.explain(features).to_dict("records"):
        reasons_of_rows[int(row["row"])].append(
            {
                "side": sides[row["side"]],
                "class": names[int(row["class"])],
                "text": _text(card, int(row["text"])),
                "similarity": float(row["similarity"]),
            }
        )
    return [sorted(reasons, key=lambda reason: (reason["side"], -reason["similarity"])) for reasons in reasons_of_rows]


def _text(card: Card, place: int) -> str:
    if place == PROTOTYPE:
        return f"the class by its {card.get('texts', 'prototype')}, for want of texts"
    texts = card.get("class_texts")
    return str(texts[place]) if texts else f"class text {place}"


def temperature_of(card: Card) -> float | None:
    """The temperature of the card; None where undetermined, as is one at an end of the search on an older card."""
    value = card.get("temperature")
    return None if value is None or is_at_the_end(float(value)) else float(value)


def class_names_of(card: Card, n_classes: int) -> list[str]:
    """The names of the card's classes; their positions where it names none."""
    return [str(name) for name in card.get("classes") or range(n_classes)]
