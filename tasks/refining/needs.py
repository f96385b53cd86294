"""Needs of objectives beside the rows of pairs, stored once; captions made wrong in one thing, by rule or truth."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.adapters.splits import joined_groups
from evenly.curation.captions.swaps import swapped_words
from evenly.features.pictures.views import View
from evenly.features.refining.hold import HeldTexts, noun_texts
from evenly.features.refining.pairs import MOST, Names, PairRows, SharedRows, raw_rows
from evenly.features.refining.training import TrainingRule
from evenly.features.unit_rows import Single
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore, text_id
from evenly.storage.files.caption_truth import TRUTH_FILE, CaptionTruth, read_caption_truth
from evenly.storage.files.wordnets import load_noun_synsets, load_wordnet_nouns
from evenly.storage.ledger import Ledger
from evenly.storage.pools.source import source_files
from evenly.storage.samples import BuildSamples
from evenly.storage.tables.hashing import file_hash
from evenly.tasks.encoders import encoder_identity, open_second, second_identity, store_texts
from evenly.tasks.pictures.encoded import store_images
from evenly.tasks.pictures.views import view_rows
from evenly.tasks.run import Run

LONG_WORDS = 40
"""From how many words on a pair's own caption is a long one."""
_DIGEST = "sha256:"
_UNKNOWN = CaptionTruth(wrong={}, long="")


@dataclass(frozen=True, kw_only=True, eq=False)
class WrongCaptions:
    """Rows (n, d) of pictures, of a caption that is right, of one that is wrong in one thing, and groups (n,).

    uids (n,) name the pictures, `right_said` and `wrong_said` (n,) are the captions.
    """

    image: Single
    right: Single
    wrong: Single
    groups: Names
    uids: Names
    right_said: Names
    wrong_said: Names


@dataclass(frozen=True, kw_only=True, eq=False)
class CaptionProbes:
    """Probes of pairs beside finding each other: wrong captions by kind, and pairs with long captions, if any."""

    wrong: Mapping[str, WrongCaptions] = field(default_factory=dict)
    long: PairRows | None = None


def caption_probes(run: Run, pairs: PairRows, kept: pa.Table) -> CaptionProbes:
    """The wrong and the long captions of `pairs`, which are of the rows `kept` that `kept_pairs` gave.

    Wrong ones are those of TRUTH_FILE in a folder of the pool, and `two colours swapped` and `two nouns swapped` of the
    pairs' own captions. A long caption is that of the truth, else the own one of LONG_WORDS words and more.
    """
    truth = _truth_of(run, pairs, kept)
    wrong: dict[str, list[tuple[int, str, str]]] = {}
    long: dict[int, str] = {}
    for place, (caption, facts) in enumerate(zip(pairs.captions.tolist(), truth, strict=True)):
        by_rule = {f"two {kind} swapped": (caption, text) for kind, text in swapped_words(caption, _nouns()).items()}
        for kind, texts in {**facts.wrong, **by_rule}.items():
            wrong.setdefault(kind, []).append((place, *texts))
        if facts.long or len(caption.split()) >= LONG_WORDS:
            long[place] = facts.long or caption
    return CaptionProbes(
        wrong={kind: _wrong_captions(run, pairs, rows) for kind, rows in sorted(wrong.items())},
        long=_with_captions(run, pairs, long) if len(long) > 1 else None,
    )


def raw_text_rows(run: Run, texts: Sequence[str]) -> Single:
    """Rows (n, d) of texts as they are stored, not normalised; those that are not are encoded."""
    return raw_rows(*store_texts(run, texts).read([text_id(text) for text in texts]))


def held_texts(run: Run, training: TrainingRule) -> HeldTexts | None:
    """The nouns that a rule holds; None where it holds nothing."""
    if not training.hold:
        return None
    synsets = load_wordnet_nouns()
    texts = noun_texts(zip(synsets["synset"].to_pylist(), synsets["lemmas"].to_pylist(), strict=True))
    return HeldTexts(texts=np.array(texts, np.str_), rows=raw_text_rows(run, texts))


def truth_files(run: Run) -> list[Path]:
    """The TRUTH_FILEs of the run's folders of pictures."""
    folders = [folder for source in run.sources if source.kind == "folder" for folder in source_files(source)]
    return [folder / TRUTH_FILE for folder in folders if (folder / TRUTH_FILE).is_file()]


def truth_inputs(run: Run) -> dict[str, str]:
    """The files of `truth_files` and their hashes: what a step depends on that asks for `caption_probes`."""
    return {f"{TRUTH_FILE} {number}": file_hash(path) for number, path in enumerate(truth_files(run), 1)}


def _truth_of(run: Run, pairs: PairRows, kept: pa.Table) -> list[CaptionTruth]:
    """Of each pair what is known of its captions: pictures of folders go by the hash of their bytes."""
    urls = dict(zip(kept["uid"].to_pylist(), kept["url"].to_pylist(), strict=True))
    digests = [(urls[uid] or "").removeprefix(_DIGEST) for uid in pairs.uids.tolist()]
    truths: dict[str, CaptionTruth] = {}
    for path in truth_files(run):
        truths = read_caption_truth(path, set(digests)) | truths
    return [truths.get(digest, _UNKNOWN) for digest in digests]


def _wrong_captions(run: Run, pairs: PairRows, rows: Sequence[tuple[int, str, str]]) -> WrongCaptions:
    places = [place for place, _, _ in rows]
    right, wrong = ([row[1] for row in rows], [row[2] for row in rows])
    return WrongCaptions(
        image=pairs.image[places],
        right=raw_text_rows(run, right),
        wrong=raw_text_rows(run, wrong),
        groups=pairs.groups[places],
        uids=pairs.uids[places],
        right_said=np.array(right, np.str_),
        wrong_said=np.array(wrong, np.str_),
    )


def _with_captions(run: Run, pairs: PairRows, captions: Mapping[int, str]) -> PairRows:
    chosen = pairs.rows(np.array(list(captions), np.int64))
    texts = list(captions.values())
    return PairRows(**vars(chosen) | {"text": raw_text_rows(run, texts), "captions": np.array(texts, np.str_)})


@cache
def _nouns() -> frozenset[str]:
    """Names of one word that ImageNet-21k has: things that can be seen."""
    lemmas = load_noun_synsets()["lemmas"].combine_chunks().flatten().to_pylist()
    return frozenset(name.casefold() for name in lemmas if name.isalpha())


LONG_CAPTION = "long_caption"
"""A column of the pool with a longer text of each pair."""
QUARTERS = tuple(View(quarter=number) for number in range(4))
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Source:
    """Sources of needs: the kept pairs (n) that are trained on, as `kept_pairs` has them, of a build.

    phrases: of a label, the first as a class list names it, the others with other names.
    """

    run: Run
    manifest: Mapping[str, Any]
    kept: pa.Table
    pairs: PairRows
    phrases: Mapping[str, Sequence[str]]

    def samples(self, columns: Sequence[str]) -> pa.Table:
        """Columns of all pairs of the build, uid first; those that it lacks are left out."""
        samples = BuildSamples(self.run.workspace, self.manifest)
        return samples.read(["uid", *(name for name in columns if name in samples.columns)])

    def of_kept(self, column: str) -> list[Any]:
        """The values of a column for each pair; None for all where the build lacks it."""
        table = self.samples([column])
        if column not in table.column_names:
            return [None] * len(self.kept)
        return list(table[column].take(pc.index_in(self.kept["uid"], table["uid"].combine_chunks())).to_pylist())

    def refuse(self, name: str, need: str, remedy: str) -> InputError:
        """Why the build cannot give it."""
        return InputError(f"`build` must have {need} for `{name}`; `{self.manifest['build']}` has none. {remedy}")


def with_needs(
    run: Run,
    manifest: Mapping[str, Any],
    kept: pa.Table,
    pairs: PairRows,
    *,
    phrases: Mapping[str, Sequence[str]],
    needs: Sequence[str],
) -> PairRows:
    """The pairs with the fields that an objective needs. Raises InputError where the build has nothing for one."""
    source = _Source(run=run, manifest=manifest, kept=kept, pairs=pairs, phrases=phrases)
    values: dict[str, Any] = {name: _MAKERS[name](source) for name in needs}
    return replace(pairs, **values)


def needed_inputs(run: Run, needs: Sequence[str]) -> dict[str, str]:
    """Inputs of needs that neither the build nor its encoder says."""
    return {"second": second_identity(run)} if "second" in needs else {}


def _views(source: _Source) -> SharedRows:
    """The quarters of each picture."""
    ids = source.kept["image_id"].to_pylist()
    return _stacked(view_rows(source.run, source.pairs.image, ids, [QUARTERS] * len(ids)).rows)


def _second(source: _Source) -> SharedRows:
    """The quarters of each picture by the second backbone."""
    backbone, ids = open_second(source.run), source.kept["image_id"].to_pylist()
    no_rows = np.zeros((len(ids), backbone.dimension), np.float32)
    return _stacked(view_rows(source.run, no_rows, ids, [QUARTERS] * len(ids), backbone=backbone).rows)


def _stacked(rows: Single) -> SharedRows:
    """Rows (v, n, d) of n pictures."""
    v, n, d = rows.shape
    return SharedRows(rows=rows.reshape(v * n, d), places=np.arange(v * n).reshape(v, n).T)


def _words(source: _Source) -> SharedRows:
    """The different words of each caption, in their order."""
    return _shared_texts(source.run, [_WORD.findall(text.casefold()) for text in source.pairs.captions.tolist()])


def _texts(source: _Source) -> SharedRows:
    """Captions that captioners offered for each pair, and those of its duplicates; its own where no pair has any."""
    offered = _offered(source)
    if not any(offered):
        offered = [[caption] for caption in source.pairs.captions.tolist()]
    return _shared_texts(source.run, offered)


def _offered(source: _Source) -> list[list[str]]:
    by_uid: dict[str, list[str]] = {}
    for step in source.manifest["steps"]:
        if "candidates" in step.get("hashes", {}):
            ledger = Ledger(source.run.workspace)
            table = ledger.table(ledger.get(step["key"]), "candidates", ["uid", "caption", "refused"])
            for row in table.filter(pc.equal(table["refused"], "")).to_pylist():
                by_uid.setdefault(row["uid"], []).append(row["caption"])
    merged = source.of_kept("merged_captions")
    return [
        [text for text in dict.fromkeys([*(texts or ()), *by_uid.get(uid, ())]) if text and text != caption]
        for uid, caption, texts in zip(source.pairs.uids.tolist(), source.pairs.captions.tolist(), merged, strict=True)
    ]


def _long_texts(source: _Source) -> npt.NDArray[np.object_]:
    """The pool's long caption of each pair, else the longest of its captions."""
    longest = [
        max([caption, *offered], key=len)
        for caption, offered in zip(source.pairs.captions.tolist(), _offered(source), strict=True)
    ]
    stored = source.of_kept(LONG_CAPTION)
    texts = np.empty(len(longest), np.object_)
    texts[:] = [text if isinstance(text, str) and text else long for text, long in zip(stored, longest, strict=True)]
    return texts


def _duplicates(source: _Source) -> SharedRows:
    """Picture and caption of the records that were merged into each pair, by uid."""
    steps = [step["name"] for step in source.manifest["steps"] if step["counts"].get("merged")]
    table = source.samples(["image_id", "caption", *(f"{name}_into" for name in steps)])
    uids = table["uid"].to_pylist()
    targets = [column for name in steps for column in table[f"{name}_into"].to_pylist()]
    edges = [(uid, target) for uid, target in zip(uids * len(steps), targets, strict=True) if target]
    records = joined_groups(uids, [None] * len(uids), edges)
    of_record: dict[str, list[int]] = {}
    image_ids, captions = table["image_id"].to_pylist(), table["caption"].to_pylist()
    for place, record in enumerate(records.tolist()):
        if image_ids[place] and captions[place]:
            of_record.setdefault(record, []).append(place)
    record_of = dict(zip(uids, records.tolist(), strict=True))
    of_pairs = [
        [place for place in of_record.get(record_of[uid], ()) if uids[place] != uid][:MOST]
        for uid in source.pairs.uids.tolist()
    ]
    distinct = sorted({place for places in of_pairs for place in places})
    if not distinct:
        raise source.refuse("duplicates", "merged duplicates", "Let `curate.deduplicate` merge some.")
    ids = [image_ids[place] for place in distinct]
    store_images(source.run, sorted(set(ids)))
    images = raw_rows(*FeatureStore(source.run.workspace, encoder_identity(source.run), "images").read(ids))
    texts = raw_text_rows(source.run, [captions[place] for place in distinct])
    return SharedRows(rows=np.stack([images, texts], axis=1), places=_places(of_pairs, distinct))


def _synonyms(source: _Source) -> SharedRows:
    """Phrases with another name of the label of each pair."""
    of_pairs = [source.phrases.get(label, ())[1:] for label in source.pairs.labels.tolist()]
    if not any(of_pairs):
        raise source.refuse(
            "synonyms",
            "labels with other names",
            "Describe a class list whose classes have some by `methods: [synonyms]`: `evenly describe`.",
        )
    return _shared_texts(source.run, of_pairs)


def _named(source: _Source) -> SharedRows:
    """The text of each pair's label: as a class list says it, else the label alone."""
    labels = source.pairs.labels.tolist()
    if len({*labels} - {""}) < 2:
        raise source.refuse("named", "pairs of two labels to train on", "Say in the recipe where `labels` are.")
    return _shared_texts(source.run, [[source.phrases.get(label, [label])[0]] if label else [] for label in labels])


def _shared_texts(run: Run, of_pairs: Sequence[Sequence[str]]) -> SharedRows:
    """Rows of the first texts of each pair, each once."""
    distinct_of_pairs = [list(dict.fromkeys(texts))[:MOST] for texts in of_pairs]
    distinct = sorted({text for texts in distinct_of_pairs for text in texts})
    places = _places(distinct_of_pairs, distinct)
    return SharedRows(rows=raw_text_rows(run, distinct), places=places, texts=np.array(distinct, np.str_))


def _places(of_pairs: Sequence[Sequence[Any]], distinct: Sequence[Any]) -> npt.NDArray[np.int64]:
    place_of = {value: place for place, value in enumerate(distinct)}
    places = np.full((len(of_pairs), max(1, *map(len, of_pairs))), -1, np.int64)
    for row, values in enumerate(of_pairs):
        places[row, : len(values)] = [place_of[value] for value in values]
    return places


_MAKERS: dict[str, Callable[[_Source], SharedRows | npt.NDArray[np.object_]]] = {
    "views": _views,
    "words": _words,
    "second": _second,
    "texts": _texts,
    "duplicates": _duplicates,
    "synonyms": _synonyms,
    "named": _named,
    "long_texts": _long_texts,
}
