"""Captions of pairs made wrong in one thing, and long ones: by rule, and by the truth where a pool has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from evenly.curation.captions.swaps import swapped_words
from evenly.features.refining.pairs import Names, PairRows, raw_rows
from evenly.features.unit_rows import Single
from evenly.storage.feature_store import text_id
from evenly.storage.files.caption_truth import TRUTH_FILE, CaptionTruth, read_caption_truth
from evenly.storage.files.wordnets import load_noun_synsets
from evenly.storage.pools.source import source_files
from evenly.storage.tables.hashing import file_hash
from evenly.tasks.encoders import store_texts
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
    for place, (caption, known) in enumerate(zip(pairs.captions.tolist(), truth, strict=True)):
        by_rule = {f"two {kind} swapped": (caption, text) for kind, text in swapped_words(caption, _nouns()).items()}
        for kind, both in {**known.wrong, **by_rule}.items():
            wrong.setdefault(kind, []).append((place, *both))
        if known.long or len(caption.split()) >= LONG_WORDS:
            long[place] = known.long or caption
    return CaptionProbes(
        wrong={kind: _wrong_captions(run, pairs, rows) for kind, rows in sorted(wrong.items())},
        long=_with_captions(run, pairs, long) if len(long) > 1 else None,
    )


def raw_text_rows(run: Run, texts: Sequence[str]) -> Single:
    """Rows (n, d) of texts as they are stored, not normalised; those that are not are encoded."""
    return raw_rows(*store_texts(run, texts).read([text_id(text) for text in texts]))


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
    known: dict[str, CaptionTruth] = {}
    for path in truth_files(run):
        known = read_caption_truth(path, set(digests)) | known
    return [known.get(digest, _UNKNOWN) for digest in digests]


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
