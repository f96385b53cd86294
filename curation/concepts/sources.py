"""The offers of each source to a concept list, in a stated order, down to a threshold and a cap; the rest is listed.

Source: MetaCLIP v1 (arXiv:2309.16671) for English, MetaCLIP 2 (arXiv:2507.22062) for other languages. Differs: equal
values stand by their text, so that neither the order of a file nor a hash seed moves an entry; shares are exact.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column
from evenly.curation.concepts.collocations import pair_pmi
from evenly.curation.errors import RuleError

Lemmas = Literal["all", "first"]
Source = Literal["number", "list", "wordnet", "unigram", "bigram", "title"]
SOURCES: tuple[Source, ...] = get_args(Source)
"""In the order in which they fill a list."""

_WHITE = "".join(
    character for character in map(chr, range(0x3001)) if character.isspace()
)  # what str.strip() takes away
_METACLIP = {"min_unigram_count": 100, "top_unigram_share": 1.0, "title_min_views": 70, "top_title_share": 1.0}
_METACLIP |= {"pmi_above_least": False}
_METACLIP_2 = {"min_unigram_count": 1, "top_unigram_share": 0.1, "title_min_views": 0, "top_title_share": 0.76}
_METACLIP_2 |= {"pmi_above_least": True}


@dataclass(frozen=True, kw_only=True)
class MetadataRule:
    """Limits on the entries of a concept list. Shares are of the distinct words or titles of their source.

    lemmas: `all` of a synset, or the `first`, as MetaCLIP v1 reads it off the synset's id: in lower case and up to its
    first full stop. pmi_above_least: a pair at `min_pmi` itself stays out. numbers: "0" to "99" come first.
    function_words: English words of grammar, single letters and what is another entry with its article stay in, as in
    the papers; words of your own always do.
    max_entries: where the list ends, whatever is still offered.
    """

    numbers: bool = True
    function_words: bool = True
    lemmas: Lemmas = "all"
    min_unigram_count: int = 100
    top_unigram_share: float = 1.0
    unigram_cap: int = 251_465
    min_pmi: float = 30.0
    pmi_above_least: bool = False
    min_bigram_count: int = 1
    bigram_cap: int = 100_646
    title_min_views: int = 70
    top_title_share: float = 1.0
    title_cap: int = 61_235
    max_entries: int = 500_000
    max_characters: int = 256

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        if self.lemmas not in get_args(Lemmas):
            raise RuleError(f"`lemmas` must be one of {', '.join(get_args(Lemmas))}; got {self.lemmas!r}. Choose one.")
        for name in ("top_unigram_share", "top_title_share"):
            if not 0 < (share := getattr(self, name)) <= 1:
                raise RuleError(f"`{name}` must be above 0 and at most 1; got {share}. Correct it.")
        if not math.isfinite(self.min_pmi):
            raise RuleError(f"`min_pmi` must be a number; got {self.min_pmi}. Correct it.")
        for name in ("unigram_cap", "bigram_cap", "title_cap", "max_entries", "max_characters"):
            if (value := getattr(self, name)) < 1:
                raise RuleError(f"`{name}` must be at least 1; got {value}. Raise it, or leave the source out.")

    @classmethod
    def of_language(cls, language: str, **chosen: Any) -> "MetadataRule":  # noqa: ANN401 - the fields
        """The thresholds of MetaCLIP v1 for English, of MetaCLIP 2 for any other; `chosen` ones but None go first.

        `function_words` stay out of an English list unless they are chosen.
        """
        paper = _METACLIP | {"function_words": False} if language == "en" else _METACLIP_2
        return cls(**{**paper, **{name: value for name, value in chosen.items() if value is not None}})


@dataclass(frozen=True, kw_only=True)
class Offer:
    """The offer of one source, in its order.

    entries: [entry, value columns]. left_out: the same and `why`. facts: further figures for the list's card.
    """

    source: Source
    entries: pa.Table
    left_out: pa.Table
    facts: Mapping[str, Any] = field(default_factory=dict)


def synset_names(synsets: pa.Table, lemmas: Lemmas = "all") -> Iterator[tuple[str, str]]:
    """Yield (name, synset) of `synsets` [synset, lemmas list<string>] in their order; underscores become spaces."""
    names = column(synsets, "synset", pa.string()).to_pylist()
    for synset, named in zip(names, column(synsets, "lemmas", pa.list_(pa.string())).to_pylist(), strict=True):
        for lemma in (named or []) if lemmas == "all" else [_id_name(lemma_name) for lemma_name in (named or [])[:1]]:
            yield lemma.replace("_", " "), synset


def offer_unigrams(words: pa.Table, rule: MetadataRule, *, refused: pa.Table | None = None) -> Offer:
    """Offer `words` [entry, count] by falling count: `below_min_count`, `beyond_top_share`, `beyond_cap` stay out.

    So does `refused` [entry, count, why]: texts among the words that are no words.
    """
    limits = _Limits(least=rule.min_unigram_count, below="below_min_count", cap=rule.unigram_cap)
    offer = _ranked("unigram", _summed(words, "count"), "count", limits, share=rule.top_unigram_share)
    return offer if refused is None else replace(offer, left_out=_joined(refused, offer.left_out))


def offer_bigrams(
    pairs: pa.Table, words: pa.Table, total: int, rule: MetadataRule, *, refused: pa.Table | None = None
) -> Offer:
    """Offer `pairs` [entry, count] by falling PMI: entries `below_min_pmi` or `beyond_cap` stay out.

    So does what is `below_min_count`, has `no_unigram_count`, and `refused` [entry, count, why]. `words` [entry, count]
    and `total`, the number of words, are of the corpus that the pairs were counted in.
    """
    pairs = _summed(pairs, "count")
    pairs = pairs.append_column("pmi", pair_pmi(pairs, _summed(words, "count"), total))
    is_frequent = pc.greater_equal(pairs["count"], rule.min_bigram_count)
    least = math.nextafter(rule.min_pmi, math.inf) if rule.pmi_above_least else rule.min_pmi
    limits = _Limits(least=least, below="below_min_pmi", cap=rule.bigram_cap, missing="no_unigram_count")
    offer = _ranked("bigram", pairs.filter(is_frequent), "pmi", limits)
    rare = _with_reason(pairs.filter(pc.invert(is_frequent)).sort_by("entry"), "below_min_count")
    left_out = pa.concat_tables([rare, offer.left_out])
    pmi = pairs.filter(is_frequent)["pmi"].drop_null().to_numpy()
    facts = {
        "words_in_corpus": total,
        "highest_pmi": round(float(pmi.max()), 4) if len(pmi) else None,
        "pairs_by_pmi": {str(least): int((pmi >= least).sum()) for least in (30, 25, 20, 15, 10, 5, 0)},
    }
    return replace(offer, left_out=left_out if refused is None else _joined(refused, left_out), facts=facts)


def offer_titles(titles: pa.Table, rule: MetadataRule) -> Offer:
    """Offer `titles` [entry, views] by falling views, equal or null ones by their text; underscores become spaces.

    `holds_a_colon` (a namespace, in the papers' reading), `below_min_views`, `beyond_top_share` and `beyond_cap` stay
    out; views that are null are below no threshold.
    """
    spaced = [title.replace("_", " ") for title in column(titles, "entry", pa.string()).to_pylist()]
    summed = _summed(pa.table({"entry": spaced, "views": titles["views"]}), "views")
    colon = pa.array([":" in title for title in summed["entry"].to_pylist()], pa.bool_())
    limits = _Limits(least=rule.title_min_views, below="below_min_views", cap=rule.title_cap, missing="")
    plain = summed.filter(pc.invert(colon))
    offer = _ranked("title", plain, "views", limits, share=rule.top_title_share)
    names = _with_reason(summed.filter(colon).sort_by("entry"), "holds_a_colon")
    return replace(offer, left_out=pa.concat_tables([names, offer.left_out]))


@dataclass(frozen=True, kw_only=True)
class _Limits:
    """The limits of a source. `missing`: why entries without a value stay out, "" where they do not."""

    least: float
    below: str
    cap: int
    missing: str = "missing"


def _ranked(source: Source, table: pa.Table, column_name: str, limits: _Limits, *, share: float = 1.0) -> Offer:
    """The entries by falling `column_name`; equal ones by their text, those without a value last."""
    table = table.sort_by([(column_name, "descending"), ("entry", "ascending")])
    n = table.num_rows
    has_value = table[column_name].is_valid().to_numpy()
    low = np.zeros(n, dtype=bool)
    low[has_value] = table[column_name].drop_null().to_numpy() < limits.least
    rank = np.arange(n)
    reasons = np.select(
        [~has_value & bool(limits.missing), low, rank >= int(Fraction(str(share)) * n), rank >= limits.cap],
        [limits.missing, limits.below, "beyond_top_share", "beyond_cap"],
        default="",
    )
    stays = pa.array(reasons == "")
    left_out = table.append_column("why", pa.array(reasons, pa.string())).filter(pc.invert(stays))
    return Offer(source=source, entries=table.filter(stays), left_out=left_out)


def _summed(table: pa.Table, value: str) -> pa.Table:
    """[entry, value]: each entry once, without white space around it, repeated ones with the sum of their values."""
    trimmed = pc.utf8_trim(column(table, "entry", pa.string()), characters=_WHITE)
    plain = pa.table({"entry": trimmed, value: column(table, value, pa.int64())})
    summed = plain.group_by("entry", use_threads=False).aggregate([(value, "sum")])
    return summed.rename_columns({f"{value}_sum": value}).select(["entry", value])


def _with_reason(table: pa.Table, reason: str) -> pa.Table:
    return table.append_column("why", pa.array([reason] * table.num_rows, pa.string()))


def _joined(refused: pa.Table, left_out: pa.Table) -> pa.Table:
    """The refused entries, each once and in the order of its text, then those left out."""
    distinct = refused.group_by(["entry", "why"], use_threads=False).aggregate([("count", "sum")])
    distinct = distinct.rename_columns({"count_sum": "count"}).sort_by("entry")
    return pa.concat_tables([distinct, left_out], promote_options="default").select(left_out.column_names)


def _id_name(lemma: str) -> str:
    """The name in a synset's id, such as dog.n.01, as MetaCLIP v1 cuts it off: "U.S." gives "u"."""
    return lemma.lower().split(".")[0]
