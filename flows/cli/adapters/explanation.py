"""`evenly predict --explain`: the texts by which a picture got its class, beside those of the runner-up (VCD)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenly.adapters.contract import Adapter
from evenly.adapters.features import Features
from evenly.adapters.methods.vcd import PROTOTYPE, DescribedClasses
from evenly.adapters.ranking import RankingHead
from evenly.flows.cli.errors import UsageError

Card = Mapping[str, Any]
Reasons = list[dict[str, Any]]


def check_explains(path: Path, card: Card, fitted: Adapter | RankingHead) -> None:
    """Refuse an adapter that does not judge by texts that can be shown."""
    if not isinstance(fitted, DescribedClasses):
        kept = card.get("chosen_on") and card["adapter"] == "zero_shot" and path.stem.startswith("vcd")
        why = "where validation kept zero-shot in its place" if kept else f"which is `{card['adapter']}`"
        raise UsageError(
            f"`--explain` must get an adapter that judges by descriptions, vcd; got `{path}`, {why}. "
            "Fit vcd with the recipe's `adapters`, or on arrays with `--adapter vcd --no-guard`."
        )


def explained(fitted: DescribedClasses, features: Features, card: Card) -> list[Reasons]:
    """For each picture the texts of its class and then of the runner-up, the nearest first.

    Each is `side` ("class", "runner-up"), `class` (its name), `text` and `similarity`, the cosine of picture and text;
    under the mean of similarities a class's logit is the scale times the mean of its texts'. A class without texts has
    its prototype; a card without the words of the texts gives their positions among `class_texts`.
    """
    table = fitted.explain(features)
    names = [str(name) for name in card.get("classes") or range(len(fitted.prototypes_))]
    found: list[Reasons] = [[] for _ in range(len(features))]
    sides = {"class": "class", "against": "runner-up"}
    for row in table.to_dict("records"):
        found[int(row["row"])].append(
            {
                "side": sides[row["side"]],
                "class": names[int(row["class"])],
                "text": _text(card, int(row["text"])),
                "similarity": float(row["similarity"]),
            }
        )
    return [sorted(reasons, key=lambda one: (one["side"], -one["similarity"])) for reasons in found]


def _text(card: Card, place: int) -> str:
    if place == PROTOTYPE:
        return f"the class by its {card.get('texts', 'prototype')}, for want of texts"
    texts = card.get("class_texts")
    return str(texts[place]) if texts else f"class text {place}"
