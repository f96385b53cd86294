"""Functions for texts and class lists at hand: match, balance, describe."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from evenly.options import DescribeOptions
from evenly.signatures import taking
from evenly.storage.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from evenly.curation.balance.thresholds import Law
    from evenly.curation.concepts.matching import Mode

_DECIDED = ("p_keep", "kept", "reason", "deciding", "draw")


@dataclass(frozen=True, kw_only=True, eq=False)
class TextMatches:
    """Which concepts each of n texts names.

    concepts: the list, each concept once, in its order. entries: per text the positions in that list, ascending.
    index: names the texts in the tables; that of a pandas Series where one was handed in.
    """

    texts: "pa.Array"
    concepts: Sequence[str]
    entries: "pa.ListArray"
    index: "pd.Index"

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def names(self) -> list[list[str]]:
        """The concepts that each text names."""
        return [[self.concepts[number] for number in numbers] for numbers in self.entries.to_pylist()]

    @property
    def counts(self) -> "pd.Series[int]":
        """The number of texts that name each concept, in the order of the list; 0 for those that none names."""
        import pandas as pd

        from evenly.curation.balance.matched_pairs import count_entries

        numbers = count_entries(self.entries, len(self.concepts))
        return pd.Series(numbers, index=pd.Index(self.concepts, name="concept"), name="texts")

    def to_pandas(self) -> "pd.DataFrame":
        """One row per text: text and concepts (a list)."""
        import pandas as pd

        return pd.DataFrame({"text": self.texts.to_pylist(), "concepts": self.names}, index=self.index)

    def __repr__(self) -> str:
        matched = sum(bool(numbers) for numbers in self.entries.to_pylist())
        return f"<{matched:,} of {len(self):,} texts name some of {len(self.concepts):,} concepts>"


def match_texts(
    texts: "Sequence[str | None] | pd.Series[str]",
    concepts: Iterable[str] | os.PathLike[str] | str,
    *,
    mode: "Mode" = "faithful",
    plurals: bool = False,
) -> TextMatches:
    """Say which concepts each text names, as `evenly match` does.

    concepts: strings, a file of them, or "wordnet". mode: "faithful" is MetaCLIP v1's substring matching, which is
    case-sensitive; "normalized" lets case and punctuation pass, and with `plurals` plain plurals too. None names none.
    """
    import pandas as pd
    import pyarrow as pa

    from evenly.curation.concepts.matching import Matcher

    entries = _concept_entries(concepts)
    captions = pa.array(_texts("texts", texts), pa.string())
    return TextMatches(
        texts=captions,
        concepts=entries,
        entries=Matcher(entries, mode, plurals=plurals).match(captions),
        index=texts.index if isinstance(texts, pd.Series) else pd.RangeIndex(len(captions)),
    )


def balance_matches(
    matches: TextMatches,
    *,
    t: float | None = None,
    tail_share: float | None = None,
    target: float | None = None,
    law: "Law" = "v1",
    seed: int = 1,
    uids: Sequence[str] | None = None,
) -> "pd.DataFrame":
    """Decide which texts stay so that no concept dominates, as `evenly balance` does: one row per text.

    Exactly one of t (texts from which a concept is thinned), tail_share and target (texts that are expected to stay).
    Columns: uid, p_keep, kept, reason ("" where kept), deciding (the concept that kept it) and draw; `attrs` of the
    table hold t and how many were expected to stay. Draws are hashes of seed, uid and concept. uids: name the texts,
    so that the same text is decided alike in any order; default: their positions.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from evenly.curation.balance.balancing import decide_rows
    from evenly.curation.balance.matched_pairs import MatchedPairs, count_matches
    from evenly.curation.balance.thresholds import UNIT, BalanceRule, choose_thresholds, entry_probabilities

    if not isinstance(matches, TextMatches):
        raise InputError(f"`matches` must be what `evenly.match` gives; got {type(matches).__name__}. Match the texts.")
    rule = BalanceRule(t=t, tail_share=tail_share, target=target, law=law)
    names = [str(place) for place in range(len(matches))] if uids is None else _texts("uids", uids)
    pairs = MatchedPairs.of(pa.array(names, pa.string()), matches.entries, matches.concepts)
    counts = count_matches(pairs)
    thresholds = choose_thresholds(rule, pairs, counts)
    decided = decide_rows(pairs, entry_probabilities(counts, thresholds), law=rule.law, seed=seed)
    columns = dict(zip(_DECIDED, decided.columns(pairs, pa.scalar("no_concept")), strict=True))
    columns["deciding"] = pairs.concepts.take(columns["deciding"])
    table = pd.DataFrame({"uid": names, **{name: column.to_pandas() for name, column in columns.items()}})
    table.index = matches.index
    expected = float(decided.units(pairs).astype(np.float64).sum() * UNIT)
    table.attrs = {"t": float(thresholds[0]), "expected": expected, "seed": seed}
    return table


@dataclass(frozen=True, kw_only=True, eq=False)
class DescribedList:
    """Texts about the classes of a list.

    table: one row per text with class, method, text, phrase, verdict (accepted, rejected or failed), reason and more.
    facts: counts, requests and cost, as `evenly describe --json` prints them.
    """

    name: str
    classes: Sequence[str]
    table: "pd.DataFrame"
    facts: Mapping[str, Any] = field(repr=False)

    def texts(self, method: str | None = None) -> dict[str, list[str]]:
        """The accepted texts of each class, in the order of the list; of one method, or of all."""
        accepted = self.table[self.table["verdict"] == "accepted"]
        if method is not None:
            if method not in self.facts["methods"]:
                raise InputError(
                    f"`method` must be of {', '.join(self.facts['methods'])}; got `{method}`. Describe the list by it."
                )
            accepted = accepted[accepted["method"] == method]
        texts: dict[str, list[str]] = {name: [] for name in self.classes}
        for name, text in zip(accepted["class"], accepted["text"], strict=True):
            texts.setdefault(name, []).append(text)
        return texts

    def __repr__(self) -> str:
        return f"<{self.facts['accepted']:,} texts about {len(self.classes):,} classes of {self.name}>"


@dataclass(frozen=True, kw_only=True)
class NamesToDescribe(DescribeOptions):
    """Options of `describe_names`."""

    name: Annotated[str, "Under which a list of names is stored; a file has its own."] = "classes"


@taking(NamesToDescribe)
def describe_names(classes: Sequence[str] | os.PathLike[str], options: NamesToDescribe) -> DescribedList:
    """Write checked descriptions and synonyms for classes, as `evenly describe` does; what is known is not asked again.

    classes: names, or a file with one per line. methods: default `description` and `synonyms`; docs/classes.md has
    all. budget_usd: at prices in US dollars for a million tokens. build: its pictures say which classes are confused.
    Raises ClassListError and UnknownMethodError before anything is asked.
    """
    import pandas as pd

    from evenly.flows.cli.classes.class_list import describe_list, language_model, list_context
    from evenly.flows.recipe.files import ListingText, read_class_file

    if isinstance(classes, os.PathLike):
        listing = read_class_file(Path(classes))
    elif isinstance(classes, str):
        raise InputError(f"`classes` must be a list of names or a Path; got the text {classes!r}. Write [{classes!r}].")
    else:
        listing = ListingText(name=options.name, text="\n".join(_class_names(classes)))
    names = listing.class_list.classes
    facts = describe_list(
        listing,
        methods=options.methods,
        llm=language_model(options),
        root=options.root,
        context=list_context(options.build, root=options.root),
    )
    table = pd.DataFrame(facts.pop("descriptions"))
    return DescribedList(name=listing.name, classes=names, table=table, facts=facts)


def _concept_entries(concepts: Iterable[str] | os.PathLike[str] | str) -> list[str]:
    if isinstance(concepts, str | os.PathLike):
        from evenly.tasks.rebuild.concepts import recipe_concepts

        return recipe_concepts(os.fspath(concepts)).entries
    from evenly.storage.files.concept_lists import concepts_of

    return concepts_of(concepts).entries


def _class_names(classes: Sequence[str]) -> list[str]:
    wrong = next((name for name in classes if not isinstance(name, str) or {*"\r\n"} & {*name}), None)
    if wrong is not None:
        raise InputError(f"`classes` must be names of one line each; got {wrong!r:.80}. Correct it.")
    return list(classes)


def _texts(name: str, texts: Any) -> list[str | None]:  # noqa: ANN401 - checked here
    """A list of strings and None, from any sequence of them; pandas has NaN for None."""
    if isinstance(texts, str | bytes):
        raise InputError(f"`{name}` must be a list of texts; got one text, {texts!r:.80}. Write it in a list.")
    entries = [None if text is None or text != text else text for text in texts]  # noqa: PLR0124 - NaN
    wrong = next((place for place, text in enumerate(entries) if text is not None and not isinstance(text, str)), None)
    if wrong is not None:
        raise InputError(f"`{name}` must be texts; got {entries[wrong]!r:.80} at {wrong}. Convert it.")
    return entries
