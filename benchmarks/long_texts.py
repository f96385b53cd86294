"""Hold what becomes of long texts against cutting them: long captions of scenes, of which a late sentence is their own.

A long caption has 30 sentences, of which its seven neighbours share 29; the one that tells what the picture shows comes
24th to 29th (docs/scenes.md). Printed for each way to encode texts, with 95 % intervals bootstrapped over the eights of
neighbours: R@1 of long captions among all pictures and among the eight, the gain over cutting, R@1 of short captions,
and milliseconds for a long and a short text. Beside the ways that `long_texts` has, two that it has not: the tower's
own positions beyond its context, as they are, where it has some, and the late sentence alone, which is what could be
reached.

Run: python -m benchmarks.long_texts [--count N] [--model NAME --pretrained TAG] [--folder DIR]
"""

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from evenly.adapters.evaluation.measures.bootstrap import percentile_interval, resampled_means
from evenly.demo.scenes.folder import TRUTH, make_scene_folder
from evenly.features import load_encoder
from evenly.features.encoder import OpenClipEncoder
from evenly.features.errors import UnknownModelError
from evenly.features.texts.positions import stretched_length
from evenly.features.texts.tokens import TokenCounts
from evenly.storage.files.identities import default_cache

SEED = 0
Hits = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenes:
    """Unit rows of pictures (n, d), their captions, and the eight that each is one of."""

    pictures: npt.NDArray[np.float64]
    long: list[str]
    short: list[str]
    late: list[str]
    neighbours: npt.NDArray[np.int64]

    def hits(self, rows: npt.NDArray[np.float32]) -> Hits:
        """Whether the row (n, d) of each text is nearest to its own picture: of all, and of its neighbours (n, 2)."""
        scores = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float64) @ self.pictures.T
        own = np.diag(scores)[:, None]
        before = (scores >= own) & ~np.eye(len(scores), dtype=np.bool_)
        is_near = self.neighbours[:, None] == self.neighbours
        return np.stack([~before.any(axis=1), ~(before & is_near).any(axis=1)], axis=1).astype(np.float64)

    def shown(self, hits: Hits, *, signed: bool = False) -> str:
        """The mean of a column of hits (n,) with its interval."""
        replicates = resampled_means(hits[:, None], seed=SEED, groups=self.neighbours)[:, 0]
        interval = percentile_interval(float(hits.mean()), replicates)
        form = "{:+.3f} [{:+.3f}, {:+.3f}]" if signed else "{:.3f} [{:.3f}, {:.3f}]"
        return form.format(*interval)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=400, help="scenes to draw")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--pretrained")
    parser.add_argument("--folder", type=Path, help="where scenes are kept, so that a second run is short")
    options = parser.parse_args()
    encoder = load_encoder(options.model, options.pretrained, cache=default_cache() / "encoders", device="cpu")
    with tempfile.TemporaryDirectory() as temporary:
        scenes = read_scenes(options.folder or Path(temporary), options.count, encoder)
    print(f"{options.model}, {len(scenes.long)} scenes; a text may take {encoder.context_length} tokens")
    for name, texts in (("long", scenes.long), ("short", scenes.short)):
        counts = TokenCounts()
        counts.add(encoder.token_counts(texts))
        print(f"{name} captions: median {counts.quantile(0.5)}, longest {counts.quantile(1)} tokens; "
              f"{counts.over(encoder.context_length)} too long")  # fmt: skip
    print("| long texts | R@1 of all | of eight | gain of all | gain of eight | short: R@1 | ms, long | ms, short |")
    print("|---" * 8 + "|")
    base = show(scenes, "cut", encoder, None)
    for name, other in ways(encoder):
        show(scenes, name, other, base)
    alone = scenes.hits(encoder.encode_texts(scenes.late))
    print(f"| the late sentence alone | {scenes.shown(alone[:, 0])} | {scenes.shown(alone[:, 1])} | | | | | |")


def ways(encoder: OpenClipEncoder) -> list[tuple[str, OpenClipEncoder]]:
    """The encoders that do otherwise than cut; what a model cannot do is said."""
    others = [("chunks", encoder.with_long_texts("chunks"))]
    try:
        longer = encoder.with_long_texts("stretched")
    except UnknownModelError as error:
        print(error)
        return others
    others.append(("stretched", longer))
    tower = getattr(encoder.opened.model, "text", None)
    positions = getattr(getattr(tower, "config", None), "max_position_embeddings", 0)
    if positions >= (reach := stretched_length(encoder.context_length)):
        lengths = longer.opened.text_lengths
        own = replace(encoder.opened, context_length=reach, text_lengths=lengths)
        settings = {"batch_size": encoder.images.batch_size, "threads": encoder.images.threads}
        others.append((f"own positions to {reach}", OpenClipEncoder(own, precision="fp32", device="cpu", **settings)))
    return others


def show(scenes: Scenes, name: str, encoder: OpenClipEncoder, base: Hits | None) -> Hits:
    """Print a line; the hits of the long captions."""
    hits, speeds = list[Hits](), list[float]()
    for texts in (scenes.long, scenes.short):
        start = time.perf_counter()
        rows = encoder.encode_texts(texts)
        speeds.append(1000 * (time.perf_counter() - start) / len(texts))
        hits.append(scenes.hits(rows))
    long, short = hits
    gains = ["", ""] if base is None else [scenes.shown(long[:, at] - base[:, at], signed=True) for at in (0, 1)]
    columns = [scenes.shown(long[:, 0]), scenes.shown(long[:, 1]), *gains, scenes.shown(short[:, 0])]
    print(f"| {name} | {' | '.join(columns)} | {speeds[0]:.1f} | {speeds[1]:.1f} |", flush=True)
    return long


def read_scenes(folder: Path, count: int, encoder: OpenClipEncoder) -> Scenes:
    """Scenes drawn in a folder, and the rows of their pictures, which are the same for all ways."""
    make_scene_folder(folder, count=count)
    rows = pq.read_table(folder / TRUTH).to_pylist()
    pictures = encoder.encode_images([(folder / row["file_name"]).read_bytes() for row in rows]).astype(np.float64)
    return Scenes(
        pictures=pictures / np.linalg.norm(pictures, axis=1, keepdims=True),
        long=[row["long_caption"] for row in rows],
        short=[row["short_caption"] for row in rows],
        late=[row["late_sentence"] for row in rows],
        neighbours=np.array([row["neighbours"] for row in rows]),
    )


if __name__ == "__main__":
    main()
