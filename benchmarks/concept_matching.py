"""Measure concept matching against the automaton of the method's public code, on real words and real short texts.

Entries, over 500,000: the numbers 0 to 99, all lemmas of WordNet, and the 251,465 commonest words and 200,000 commonest
pairs of the package wordsegment. Texts, a million: definitions and examples of WordNet, sentences of six dictionaries
(GCIDE, FOLDOC, Jargon, VERA, Devil's, Elements), and descriptions of Debian packages, each once, in the order of their
hashes. They come from Debian (apt-get download); elsewhere give files with a line for each.

The automaton (pyahocorasick) is driven as in the public code: each padded entry is added, the spaced text is iterated,
ids are collected in a set and sorted. All sides take the same slices of the texts in turn, and what they find is
compared for all texts. Ratios are medians: on one core over slices, of processor time, so that other load on the
machine weighs little; of two cores to one over turns with all texts, of wall time, which needs an idle machine.

Run: python -m benchmarks.concept_matching [--texts FILE] [--entries FILE] [--count N]
"""

import argparse
import gzip
import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import pyarrow as pa

from evenly.curation.concepts.matching import FEW, Matcher

WORDS, PAIRS = 251_465, 200_000  # MetaCLIP's number of words; it has 100,646 pairs and 61,235 titles
PACKAGES = ("wordnet-base", "dict-gcide", "dict-foldoc", "dict-jargon", "dict-vera", "dict-devil", "dict-elements")
SLICE, BATCH = 100_000, 1 << 12
TURNS = 7
MARKS = ",.;:?!`"


def debian(folder: Path) -> Path:
    """Unpack PACKAGES in `folder` and return its usr/share."""
    if not shutil.which("apt-get"):
        raise SystemExit("`--texts` and `--entries` must be given where there is no apt-get; got none.")
    subprocess.run(["apt-get", "download", "--quiet", *PACKAGES], cwd=folder, check=True, capture_output=True)  # noqa: S603, S607
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)  # noqa: S603, S607
    return folder / "usr" / "share"


def wordnet_lines(share: Path, kind: str) -> Iterator[str]:
    for part in ("noun", "verb", "adj", "adv"):
        lines = (share / "wordnet" / f"{kind}.{part}").read_text(encoding="latin-1").splitlines()
        yield from (line for line in lines if not line.startswith("  "))


def real_entries(share: Path) -> list[str]:
    import wordsegment

    wordsegment.load()
    lemmas = [line.split(" ")[0].replace("_", " ") for line in wordnet_lines(share, "index")]
    words, pairs = (
        sorted(counts, key=counts.get, reverse=True) for counts in (wordsegment.UNIGRAMS, wordsegment.BIGRAMS)
    )
    pairs = [pair for pair in pairs if "<" not in pair]
    return list(dict.fromkeys([*map(str, range(100)), *lemmas, *words[:WORDS], *pairs[:PAIRS]]))


def real_texts(share: Path) -> Iterator[str]:
    for line in wordnet_lines(share, "data"):
        yield from (part.strip().strip('"') for part in line.partition("| ")[2].split(";"))
    for file in sorted((share / "dictd").glob("*.dict.dz")):
        for paragraph in re.split(r"\n\s*\n", gzip.decompress(file.read_bytes()).decode("utf-8", "replace")):
            yield from re.split(r"(?<=[.!?;])\s+", " ".join(paragraph.split()))
    listed = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True, text=True).stdout  # noqa: S607
    yield from re.findall(r"^Description(?:-en)?: (.+)$", listed, re.MULTILINE)


def shuffled(texts: Iterator[str], count: int) -> list[str]:
    distinct = dict.fromkeys(text for text in texts if len(text) >= 8)
    return sorted(distinct, key=lambda text: hashlib.blake2b(text.encode(), digest_size=8).digest())[:count]


def automaton(entries: list[str]) -> Callable[[list[str]], list[list[int]]]:
    import ahocorasick

    built = ahocorasick.Automaton()
    for number, entry in enumerate(entries):
        built.add_word(f" {entry} ", (number, entry))
    built.make_automaton()
    return lambda texts: [sorted({number for _, (number, _) in built.iter(spaced(text))}) for text in texts]


def spaced(text: str) -> str:
    text = f" {text} "
    for mark in MARKS:
        text = text.replace(mark, f" {mark} ")
    for blank in "\t\n\r":
        text = text.replace(blank, " ")
    return text


def on_cores(matcher: Matcher, texts: pa.Array, workers: int) -> pa.ChunkedArray:
    batches = [texts.slice(start, BATCH) for start in range(0, len(texts), BATCH)]
    return pa.chunked_array(list(matcher.match_batches(batches, workers=workers)))


def timed(call: Callable[[], object]) -> tuple[object, float, float]:
    """Return what `call` returns, its processor seconds and its wall seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    found = call()
    return found, time.process_time() - processor, time.perf_counter() - wall


def memory(side: str, entries: list[str], texts: list[str]) -> tuple[int, int]:
    """Return the MB by which the peak of this process grew by building the index, and by matching `texts` then."""
    Matcher(["a"]).match(pa.array(["a" * FEW]))
    array, peaks = pa.array(texts), [peak()]
    matcher = Matcher(entries) if side == "ours" else automaton(entries)
    peaks.append(peak())
    _ = on_cores(matcher, array, 1) if isinstance(matcher, Matcher) else matcher(texts)
    return peaks[1] - peaks[0], peak() - peaks[1]


def peak() -> int:
    """Return the most MB that this process has held; unlike getrusage, without what its parent held."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))[1]) // 1024


def compare(entries: list[str], texts: list[str]) -> None:
    size = sum(len(text.encode()) for text in texts) / len(texts)
    print(f"{len(entries):,} entries; {len(texts):,} texts of {size:.0f} bytes in the mean")
    Matcher(["a"]).match(pa.array(["a" * FEW]))  # compiles, or loads what was compiled
    matcher, seconds, _ = timed(lambda: Matcher(entries))
    public, public_seconds, _ = timed(lambda: automaton(entries))
    print(f"index built in {seconds:.1f} s of processor time; automaton {public_seconds:.1f} s")
    rates, ratios, matches = {"automaton": [], "one core": []}, [], 0
    for start in range(0, len(texts), SLICE):
        part = texts[start : start + SLICE]
        array = pa.array(part)
        one, one_cpu, _ = timed(lambda array=array: on_cores(matcher, array, 1))
        expected, public_cpu, _ = timed(lambda part=part: public(part))
        two = on_cores(matcher, array, 2)
        again, again_cpu, _ = timed(lambda array=array: on_cores(matcher, array, 1))
        expected = pa.chunked_array([pa.array(expected, one.type)])
        if not one.equals(expected) or not two.equals(expected) or not again.equals(expected):
            raise SystemExit(f"matches differ among texts {start} to {start + len(part)}")
        matches += sum(map(len, expected.chunk(0).to_pylist()))
        rates["automaton"].append(len(part) / public_cpu)
        rates["one core"].append(2 * len(part) / (one_cpu + again_cpu))
        ratios.append(2 * public_cpu / (one_cpu + again_cpu))
    print(f"the same {matches:,} matches on all sides")
    for name, some in rates.items():
        print(f"{name}: {median(some):,.0f} texts per second of processor time")
    print(f"one core against the automaton: {median(ratios):.1f} times ({min(ratios):.1f} to {max(ratios):.1f})")
    whole = pa.array(texts)
    walls = [[timed(lambda n=n: on_cores(matcher, whole, n))[2] for n in (1, 2)] for _ in range(TURNS)]
    cores = [one_wall / two_wall for one_wall, two_wall in walls]
    print(f"two cores against one: {median(cores):.2f} times ({min(cores):.2f} to {max(cores):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=Path, help="a file with a text per line")
    parser.add_argument("--entries", type=Path, help="a file with an entry per line")
    parser.add_argument("--count", type=int, default=1_000_000, help="texts to take")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        share = Path() if options.texts and options.entries else debian(Path(folder))
        given = [path and path.read_text(encoding="utf-8").splitlines() for path in (options.entries, options.texts)]
        entries = given[0] or real_entries(share)
        texts = shuffled(iter(given[1] or real_texts(share)), options.count)
    compare(entries, texts)
    for side in ("ours", "automaton"):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
            built, matched = apart.submit(memory, side, entries, texts[:SLICE]).result()
        print(f"peak memory, {side}: {built:,} MB for the index and {matched:,} MB for {SLICE:,} texts")


if __name__ == "__main__":
    main()
