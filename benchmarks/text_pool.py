"""Write a pool of made-up captions to measure rebuilds on: Parquet files of 250,000 rows, and a text-only recipe.

Captions are frames around lemmas and glosses of WordNet's nouns, some lemmas far more frequent than others (by Zipf's
law), as in pools of the web. One in eight is in another language (names of emoji in up to 13), a few are too short, too
long, empty or null. Every URL is there once. A pool is a function of its seed, and a smaller one is the beginning of a
larger one. A later version of a pool, in a folder of its own, has other captions in a random share of its rows, and a
recipe of the same name: rebuild both in one workspace to measure what a change costs, and `evenly diff`.

Run: python -m benchmarks.text_pool --pairs N --out FOLDER [--seed S] [--t T] [--changed SHARE] [--seed-of-change S]
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import emoji
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenly.curation.filters.caption_language import LANGUAGES
from evenly.storage.files.wordnets import load_noun_synsets

FILE_ROWS = 250_000
HOSTS = 1_000
FRAMES = (
    *("a photo of a", "a picture of the", "drawing of a", "close-up of a", "vintage postcard with a", "buy this"),
    *("my new", "the old", "stock image:", "black and white photograph of a", "how to find a good", "we looked at a"),
)
LINKS = ("in front of a", "and a", "next to the", "near a", "with a", "on a", "beside the old", "made for a", "or", "-")
FOREIGN_FRAMES = {
    "de": ("ein Foto von", "das ist hier ein", "Bild mit"),
    "fr": ("une photo de", "voici un dessin avec", "image du"),
    "es": ("una foto de", "este es un dibujo con", "imagen del"),
    "it": ("una foto di", "questo disegno mostra", "immagine del"),
    "pt": ("uma foto de", "este desenho mostra", "imagem do"),
}
RECIPE = """\
name: text-pool
seed: {seed}
sources:
  - {{kind: parquet, path: "{folder}/*.parquet", url: url, caption: text, name: made}}
curate:
  text:
    caption_length: {{min_words: 3, max_words: 40}}
    caption_language: {{languages: [en]}}
  match: {{metadata: wordnet, mode: faithful}}
  preselect: {{headroom: 2.0}}
  balance: {{t: {t}}}
"""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Range:
    """Phrases [start, stop) of the list of all."""

    start: int
    stop: int

    def drawn(self, u: npt.NDArray[np.float64]) -> Ints:
        """The places of draws in [0, 1), all alike."""
        return self.start + (u * (self.stop - self.start)).astype(np.int64)

    def drawn_by_rank(self, u: npt.NDArray[np.float64]) -> Ints:
        """The places of draws in [0, 1), the one of rank r with a probability of about 1 / r."""
        return self.start + np.exp(u * np.log(self.stop - self.start)).astype(np.int64) - 1


class Phrases:
    """All that captions are put together from, in one Arrow array, and where each kind stands in it."""

    def __init__(self, seed: int) -> None:
        synsets = load_noun_synsets()
        glosses = synsets["gloss"].to_pylist()
        lemmas = sorted({lemma for lemmas in synsets["lemmas"].to_pylist() for lemma in lemmas})
        order = np.random.default_rng([seed, 0])
        self._texts: list[str | None] = [None, ""]
        self.frames, self.links = self._added(FRAMES), self._added(LINKS)
        self.lemmas = self._added([lemmas[place] for place in order.permutation(len(lemmas))])
        self.glosses = self._added([glosses[place] for place in order.permutation(len(glosses))])
        self.long = self._added([" ".join(glosses[place : place + 12]) for place in range(0, 2000, 12)])
        self.foreign = self._added(list(foreign_texts()))
        self.array = pa.array(self._texts, pa.string())

    def _added(self, texts: list[str] | tuple[str, ...]) -> Range:
        start = len(self._texts)
        self._texts += texts
        return Range(start, len(self._texts))


def foreign_texts() -> Iterator[str]:
    """Names of emoji in other languages than English, in frames where we have some."""
    for language in sorted(set(LANGUAGES) - {"en"}):
        emoji.config.load_language(language)
        names = sorted(
            {data[language].strip(":").replace("_", " ") for data in emoji.EMOJI_DATA.values() if language in data}
        )
        for frame in FOREIGN_FRAMES.get(language, ("",)):
            yield from (f"{frame} {name}".strip() for name in names)


def captions(phrases: Phrases, rng: np.random.Generator, n: int) -> pa.Array:
    """Captions (n,): up to four phrases each, joined by spaces."""
    kind, *draws = rng.random((5, n))
    first = phrases.frames.drawn(draws[0])
    second, fourth = phrases.lemmas.drawn_by_rank(draws[1]), phrases.lemmas.drawn_by_rank(draws[3])
    third = phrases.links.drawn(draws[2])
    shares = {
        "scene": (0.45, (first, second, third, fourth)),
        "defined": (0.15, (second, third, phrases.glosses.drawn(draws[3]), 1)),
        "named": (0.17, (first, second, 1, 1)),
        "foreign": (0.125, (phrases.foreign.drawn(draws[0]), 1, 1, 1)),
        "short": (0.06, (second, 1, 1, 1)),
        "long": (0.025, (first, second, phrases.long.drawn(draws[2]), phrases.glosses.drawn(draws[3]))),
        "empty": (0.01, (1, 1, 1, 1)),
        "null": (0.01, (0, 0, 0, 0)),
    }
    ends = np.cumsum([share for share, _ in shares.values()])
    is_kind = [kind < end for end in ends]
    columns = [np.select(is_kind, [parts[place] for _, parts in shares.values()], 0) for place in range(4)]
    texts = (phrases.array.take(pa.array(column)) for column in columns)
    return pc.utf8_rtrim_whitespace(pc.binary_join_element_wise(*texts, " "))


def urls(seed: int, first: int, n: int) -> pa.Array:
    """URLs (n,) of the rows from `first` on, of as many lengths as there are seeds: all differ."""
    rows = np.arange(first, first + n)
    hosts = (rows * 7919 + rows // HOSTS) % HOSTS
    parts = (b"https://images", digits(hosts, 3), f".example/{seed}/".encode(), digits(rows, 12), b".jpg")
    columns = [np.tile(np.frombuffer(part, np.uint8), (n, 1)) if isinstance(part, bytes) else part for part in parts]
    characters = np.concatenate(columns, axis=1)
    ends = np.arange(n + 1, dtype=np.int32) * characters.shape[1]
    return pa.Array.from_buffers(pa.string(), n, [None, pa.py_buffer(ends), pa.py_buffer(characters)])


def digits(numbers: Ints, width: int) -> npt.NDArray[np.uint8]:
    """The decimal digits (n, width) of numbers (n,), as ASCII."""
    powers = 10 ** np.arange(width - 1, -1, -1)
    return (numbers[:, None] // powers % 10 + ord("0")).astype(np.uint8)


@dataclass(frozen=True)
class Change:
    """Other captions in a share of the rows, drawn by a seed of their own."""

    share: float
    seed: int

    def applied(self, texts: pa.Array, phrases: Phrases, number: int) -> pa.Array:
        """The captions of file `number`, of which a share is exchanged."""
        rng = np.random.default_rng([self.seed, 2, number])
        return pc.if_else(pa.array(rng.random(len(texts)) < self.share), captions(phrases, rng, len(texts)), texts)


def write_pool(folder: Path, pairs: int, *, seed: int, t: int = 20_000, change: Change | None = None) -> Path:
    """Write `pairs` rows of url and text to `folder`, and a recipe, whose path comes back. Holds one file at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    if pairs < 1 or any(folder.glob("*.parquet")):
        sys.exit(f"`--pairs` must be at least 1 and `--out` hold no Parquet files; got {pairs}, `{folder}`. Change it.")
    phrases = Phrases(seed)
    for number, start in enumerate(range(0, pairs, FILE_ROWS)):
        texts = captions(phrases, np.random.default_rng([seed, 1, number]), FILE_ROWS)
        texts = texts if change is None else change.applied(texts, phrases, number)
        table = pa.table({"url": urls(seed, start, FILE_ROWS), "text": texts}).slice(0, pairs - start)
        pq.write_table(table, folder / f"{number:06}.parquet", compression="zstd", use_dictionary=False)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(seed=seed, folder=folder.resolve(), t=t), encoding="utf-8")
    return recipe


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, required=True, help="rows to write")
    parser.add_argument("--out", type=Path, required=True, help="a folder without Parquet files")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another pool")
    parser.add_argument("--t", type=int, default=20_000, help="the threshold of balancing in the recipe")
    parser.add_argument("--changed", type=float, default=0.0, help="share of rows with other captions, 0 to 1")
    parser.add_argument("--seed-of-change", type=int, default=2, help="another seed, other rows with other captions")
    options = parser.parse_args()
    started = time.perf_counter()
    change = Change(options.changed, options.seed_of_change) if options.changed else None
    recipe = write_pool(options.out, options.pairs, seed=options.seed, t=options.t, change=change)
    seconds = time.perf_counter() - started
    size = sum(file.stat().st_size for file in options.out.glob("*.parquet"))
    print(
        f"{options.pairs:,} pairs, {size:,} bytes in {seconds:.1f} s: {options.pairs / seconds:,.0f} rows/s; {recipe}"
    )


if __name__ == "__main__":
    main()
