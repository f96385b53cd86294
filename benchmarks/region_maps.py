"""Methods that map things on pictures of a ground, against plain score maps: mIoU, and IoU of a thing that is known.

Pictures of two or more objects. Of `fit` 400 teach convolutions and all are the pool to retrieve from; gamma, delta,
the pictures retrieved and thresholds are chosen on `val`; `test` is judged once, at every fourth line and column.
Intervals (95 %) are of the paired difference over resampled groups of codes.

Run: python -m benchmarks.region_maps GROUND [--refine ground] [--limit PICTURES]
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from benchmarks.region_ground import Part, compared, open_ground, read_part
from evenly.adapters.evaluation.regions.overlaps import map_overlaps
from evenly.adapters.evaluation.regions.weighted import Measure, class_mean, ratio_measure
from evenly.features import to_unit_rows
from evenly.features.dense.method import Vocabulary
from evenly.features.dense.methods.correlations import Correlations
from evenly.features.dense.methods.cosegment import Cosegment
from evenly.features.dense.methods.score_maps import ScoreMaps
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense, interpolated
from evenly.features.dense.towers import dense_encoder
from evenly.features.unit_rows import Single
from evenly.tasks.encoders import open_encoder, open_second
from evenly.tasks.run import SecondChoice

STEP, TAUGHT = 4, 400
GAMMAS, DELTAS, RETRIEVED = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8), (0.5, 0.8, 0.9, 0.99, 1.0), (5, 10, 20)


@dataclass(frozen=True)
class MapPart(Part):
    """A part with class maps of every fourth line and column."""

    maps: Sequence[np.ndarray]
    names: Sequence[str]

    def pixels(self, maps: Single, place: int) -> Single:
        """The layers (h, w, c) of maps over pixels that are judged."""
        (width, height), (x0, y0, x1, y1) = self.dense.sizes[place], self.dense.frames[place]
        x, y = (np.arange(STEP // 2, side, STEP) + 0.5 for side in (width, height))
        lines, columns = maps.shape[2:]
        layers = np.moveaxis(maps[place], 0, 2).astype(np.float32)
        return interpolated(layers, (y - y0) / (y1 - y0) * lines - 0.5, (x - x0) / (x1 - x0) * columns - 0.5)

    def miou(self, maps: Single, background: Single | None = None, *, judged: bool = False) -> Measure:
        """mIoU of the likeliest things; judged: background is a class."""
        layers = maps if background is None else np.concatenate([background[:, None], maps], axis=1)
        first = int(background is None)
        predicted = (self.pixels(layers, place).argmax(axis=2) + first for place in range(len(self.maps)))
        return ratio_measure(*map_overlaps(predicted, self.maps, n_classes=len(self.names), background=judged))

    def known(self, maps: Single, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """IoU (m, t) of each thing of each picture above thresholds, and its picture (m,)."""
        values, pictures = [], []
        for place, truth in enumerate(self.maps):
            layers = self.pixels(maps, place)
            for number in np.unique(truth[truth > 0]):
                above = layers[:, :, number - 1, None] > thresholds
                true = (truth == number)[:, :, None]
                values.append((above & true).sum(axis=(0, 1)) / (above | true).sum(axis=(0, 1)))
                pictures.append(place)
        return np.array(values), np.array(pictures)


def part_of(folder: Path, names: Sequence[str], limit: int | None, encode: Callable[[list[bytes]], Dense]) -> MapPart:
    part = read_part(folder, limit, encode)
    drawn = part.truth.maps(part.truth, names, part.places)
    return MapPart(**vars(part), maps=[of_one[STEP // 2 :: STEP, STEP // 2 :: STEP] for of_one in drawn], names=names)


def value(measure: Measure, n: int) -> float:
    return float(class_mean(measure, np.ones((1, n)))[0])


def best(options: Sequence[float], score: Callable[[Any], float]) -> Any:  # noqa: ANN401 - an option
    scores = {option: round(score(option), 4) for option in options}
    print("  on val", scores, flush=True)
    return max(scores, key=scores.get)


def judge(fit: MapPart, val: MapPart, test: MapPart, things: Vocabulary) -> None:
    texts, plain, n = things.prototypes, ScoreMaps(), len(val.maps)
    few = np.unique(np.linspace(0, len(fit.dense) - 1, TAUGHT).astype(int))
    kept = fit.regions[np.isin(fit.regions.picture, few)]
    taught = (fit.dense[few], replace(kept, picture=np.searchsorted(few, kept.picture)), things)
    leaning = plain.fit(*taught)
    gamma = best(GAMMAS, lambda g: value(val.miou(Correlations(gamma=g).maps(val.dense, texts)), n))
    second = Correlations(gamma=gamma)
    learned = replace(second, dimension=64, epochs=6).fit(*taught)

    def background(part: MapPart, maps: Single, of_delta: float) -> Single | None:
        return replace(learned, delta=of_delta).with_arrays(learned.arrays()).background(part.dense, maps)

    alone = learned.maps(val.dense, texts)
    delta = best(DELTAS, lambda d: value(val.miou(alone, background(val, alone, d), judged=True), n))
    shared = {k: Cosegment(retrieved=k).fit(fit.dense, Regions.from_rows([]), things) for k in RETRIEVED}
    retrieved = best(RETRIEVED, lambda k: value(val.miou(shared[k].maps(val.dense, texts)), n))
    arms = {
        "plain": lambda part: expit(10 * plain.cosines(part.dense, texts)),
        "cosegment": lambda part: shared[retrieved].maps(part.dense, texts),
    }
    ious = {}
    for name, maps in arms.items():
        of_val = maps(val)
        tried = np.quantile(of_val, np.linspace(0.02, 0.98, 33))
        ious[name], pictures = test.known(maps(test), tried[[val.known(of_val, tried)[0].mean(axis=0).argmax()]])

    maps = plain.probabilities(plain.cosines(test.dense, texts))
    base, groups = test.miou(maps), test.groups
    print(f"{len(test.maps)} test pictures; gamma of texts {leaning.gamma}", flush=True)
    compared("12 texts that lean", test.miou(plain.probabilities(leaning.cosines(test.dense, texts))), base, groups)
    compared("28 pooled by the second backbone", test.miou(second.maps(test.dense, texts)), base, groups)
    pooled = learned.maps(test.dense, texts)
    compared("28 pooled by convolutions", test.miou(pooled), base, groups)
    without = test.miou(pooled, judged=True)
    for d in (0.99, delta):
        ruled = test.miou(pooled, background(test, pooled, d), judged=True)
        compared(f"28 background rule, delta {d}, against none", ruled, without, groups)
        plainly = test.miou(maps, background(test, maps, d), judged=True)
        compared("   against plain maps with it", ruled, plainly, groups)
    compared("24 co-segmented", test.miou(arms["cosegment"](test)), test.miou(arms["plain"](test)), groups)
    method, rival = (ratio_measure(ious[name], np.ones_like(ious[name])) for name in ("cosegment", "plain"))
    compared("24 thing known, IoU", method, rival, groups[pictures])


def main() -> None:
    ground, run, names, limit = open_ground(__doc__ or "", second=SecondChoice())
    encoder = open_encoder(run)
    first, second = dense_encoder(encoder, "embedded"), dense_encoder(open_second(run), "second")
    rows = np.asarray(to_unit_rows(encoder.encode_texts([f"a {name}" for name in names]))[0], np.float32)

    def encode(files: list[bytes]) -> Dense:
        further = second.encode_dense(files)
        return first.encode_dense(files).with_second(further.cells, further.frames)

    parts = [part_of(ground / name, names, limit, encode) for name in ("fit", "val", "test")]
    judge(*parts, Vocabulary(texts=names, labels=names, rows=rows))


if __name__ == "__main__":
    main()
