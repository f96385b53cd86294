"""The sources of the texts of an evaluation: by hand in the recipe, or by a method."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from evenly.descriptions.methods.negations import LABEL as HAND_WRITTEN
from evenly.tasks.classes.texts import BESIDE, ClassTexts, generated_texts

SCHEMA = pa.schema([("use", pa.string()), ("source", pa.string()), ("texts", pa.int64()), ("about", pa.string())])
PROTOTYPES, PAIR_TEXTS, BY_HAND = "prototypes", "pair_texts", "recipe"
EDITED = "edited"
"""What is said `about` texts that a person wrote or edited, before the file's name."""


def text_sources(rule: ClassTexts) -> list[dict[str, Any]]:
    """Rows of SCHEMA for a rule of `evaluate_adapters`: a use, a source ("recipe" or a method), how many texts.

    Uses are "prototypes" (a row for each set by a method), "pair_texts" and those of BESIDE. `about` says in words what
    there is to say, "" where nothing.
    """
    rows = [
        _row(PROTOTYPES, method, sum(map(len, per_class.values())), _about_given(rule, method))
        for method, per_class in rule.texts.items()
        if method not in BESIDE.values()
    ]
    if rule.pair_texts is not None:
        n_asked, possible = ((rule.pairs or {}).get(name, 0) for name in ("pairs_asked", "pairs_possible"))
        note = f"about {n_asked:,} of {possible:,} pairs of classes"
        rows.append(_row(PAIR_TEXTS, "differential", len(rule.pair_texts), note))
    for kind, method in BESIDE.items():
        rows.append(_row(kind, BY_HAND, len(set(getattr(rule, kind)))))
        rows.append(_row(kind, method, len(generated_texts(rule, kind)), HAND_WRITTEN if kind == "negations" else ""))
    return [row for row in rows if row["texts"] or row["use"] == PAIR_TEXTS]


def in_words(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each use but the prototypes, whose sets are named by their methods, and for edited texts."""
    sentences: dict[str, list[str]] = {}
    edited = [f"texts of {row['source']}: {row['about']}" for row in rows if row["about"].startswith(EDITED)]
    for row in rows:
        author = "by hand in the recipe" if row["source"] == BY_HAND else f"by the method {row['source']}"
        note = f" ({row['about']})" if row["about"] else ""
        sentences.setdefault(str(row["use"]), []).append(f"{row['texts']:,} {author}{note}")
    uses = [f"{use.replace('_', ' ')}: {', '.join(parts)}" for use, parts in sentences.items() if use != PROTOTYPES]
    return [*edited, *uses]


def _about_given(rule: ClassTexts, method: str) -> str:
    if rule.given is None or method not in rule.given.methods:
        return ""
    return f"{EDITED} by hand: {rule.given.file}, sha256 {rule.given.sha256[:12]}"


def _row(use: str, source: str, texts: int, note: str = "") -> dict[str, Any]:
    return {"use": use, "source": source, "texts": texts, "about": note}
