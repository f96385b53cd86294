"""Measure deduplication by looks and by features on real pictures: all of OpenMoji, with near-duplicates made of them.

Every picture (skin tones and flags included: these are no duplicates of each other) is drawn at a size of the web and
varied: six edits that keep its colours, and three that shift them. Rules are chosen on one half of the drawings and
measured on the other: the limits by the edits, what a shift may leave by all kinds. Then the default rule meets the
whole set. Precision is that of the merges in a pool in which 10 % of the pictures have a near-duplicate; pictures that
OpenMoji draws equal to the pixel under several codes are duplicates, but count neither way. At last a table says recall
and precision per kind, by looks and by the features of the embedded encoder, on at most 1,000 of the pictures: a
variant that was merged counts as right if all that it was merged with have the same looks. More pictures in a pool give
more chances of a wrong merge.

Run: python -m benchmarks.near_duplicates [--every N] (N = 10 takes every tenth drawing); the whole takes minutes.
"""

import argparse
import hashlib
import io
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from PIL import Image, ImageEnhance, ImageOps

from evenly.curation.duplicates.feature_duplicates import Semantic, deduplicate_semantic
from evenly.curation.duplicates.fingerprints import measure_fingerprints
from evenly.curation.duplicates.image_duplicates import (
    Perceptual,
    deduplicate_perceptual,
)
from evenly.curation.duplicates.merging import Duplicates
from evenly.demo.pictures.openmoji import draw_picture, list_codes
from evenly.features import load_encoder, to_unit_rows
from evenly.storage.files.identities import default_cache

TONES = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}
SIZES = (160, 192, 224, 256)
RATE, ROUNDS = 0.1, 6
EDITS = ("resize", "jpeg", "resize and jpeg", "webp", "pad", "crop")
SHIFTS = ("brightness", "saturation", "hue")
ENCODED = 1000
BITS, COLOURS = (6, 8, 10, 12, 14, 16), (12, 14, 16, 18, 20, 22, 24, 28)
SHIFTED = (8, 12, 16, 20, 24)


def on_white(picture: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA")).convert("RGB")


def resized(picture: Image.Image, chance: random.Random) -> Image.Image:
    scale = chance.uniform(0.5, 1.5)
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    return picture.resize((round(picture.width * scale),) * 2, chance.choice(filters))


def encoded(picture: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def vary(picture: Image.Image, chance: random.Random) -> dict[str, bytes]:
    white, cut = on_white(picture), round(picture.width * chance.uniform(0.01, 0.04))
    border = round(picture.width * chance.uniform(0.01, 0.05))
    return {
        "resize": encoded(resized(picture, chance)),
        "jpeg": encoded(white, "JPEG", quality=chance.randint(50, 90)),
        "resize and jpeg": encoded(resized(white, chance), "JPEG", quality=chance.randint(50, 90)),
        "webp": encoded(white, "WEBP", quality=chance.randint(60, 90)),
        "pad": encoded(ImageOps.expand(white, border, "white")),
        "crop": encoded(picture.crop((cut, cut, picture.width - cut, picture.height - cut))),
        "brightness": encoded(
            ImageEnhance.Brightness(white).enhance(chance.choice((-1, 1)) * chance.uniform(0.05, 0.2) + 1)
        ),
        "saturation": encoded(ImageEnhance.Color(white).enhance(chance.choice((-1, 1)) * chance.uniform(0.1, 0.5) + 1)),
        "hue": encoded(turned(white, chance.choice((-1, 1)) * chance.uniform(5, 20))),
    }


def turned(picture: Image.Image, degrees: float) -> Image.Image:
    hue, saturation, value = picture.convert("HSV").split()
    shift = round(degrees / 360 * 256)
    return Image.merge("HSV", (hue.point(lambda level: (level + shift) % 256), saturation, value)).convert("RGB")


def draw(code: str) -> tuple[int, dict[str, bytes]]:
    """The size of a picture, and the files of it and its variants by kind; the picture's own is ""."""
    chance = random.Random(code)  # noqa: S311 - a benchmark's picture, not a secret
    size, background = chance.choice(SIZES), chance.choice([None, "white"])
    data = draw_picture(code, size_px=size, background=background)
    with Image.open(io.BytesIO(data)) as picture:
        return size, {"": data, **vary(picture, chance)}


def measure(code: str) -> pa.Table:
    """The fingerprints of a picture and its variants: uid, code, kind ("" for the picture), looks, phash, colour."""
    size, files = draw(code)
    with Image.open(io.BytesIO(draw_picture(code, size_px=160, background="white"))) as drawn:
        looks = hashlib.sha256(drawn.convert("RGB").tobytes()).hexdigest()
    names = {"uid": [f"{code} {kind}" for kind in files], "code": [code] * len(files), "kind": list(files)}
    same = {"looks": [looks] * len(files), "width": [size] * len(files), "height": [size] * len(files)}
    prints = measure_fingerprints(list(files.values()))
    return pa.table(names | same | {name: prints[name] for name in prints.column_names})


Search = Callable[[list[int]], Duplicates]


@dataclass
class Tally:
    """What was merged over several pools, by kind of variant; `wrong` counts all wrong merges by relation."""

    made: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    claimed: Counter[str] = field(default_factory=Counter)
    mistaken: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    @property
    def recall(self) -> float:
        return self.found.total() / max(self.made.total(), 1)

    @property
    def precision(self) -> float:
        return self.found.total() / max(self.found.total() + self.wrong.total(), 1)

    def of_kind(self, kind: str) -> tuple[float, float]:
        """Recall and precision of one kind."""
        right = self.claimed[kind] - self.mistaken[kind]
        return self.found[kind] / max(self.made[kind], 1), right / max(self.claimed[kind], 1)


def half_of(code: str) -> int:
    """0 to choose by, 1 to measure on; all drawings that begin with one code point lie in one half."""
    return hashlib.sha256(code.split("-", maxsplit=1)[0].encode()).digest()[0] % 2


def tally(rows: list[dict[str, str]], kinds: Sequence[str], search: Search) -> Tally:
    """What `search` finds in pools of some of `rows`, whose numbers it is given."""
    total = Tally()
    for number in range(ROUNDS):
        taken = [i for i, row in enumerate(rows) if in_pool(row["code"], row["kind"], number, kinds)]
        some = [rows[i] for i in taken]
        into = dict(zip((row["uid"] for row in some), search(taken).decisions.into.to_pylist(), strict=True))
        sizes = Counter(uid or own for own, uid in into.items())
        by_uid = {row["uid"]: row for row in some}
        looks = defaultdict(set)
        for row in some:
            looks[into[row["uid"]] or row["uid"]].add(row["looks"])
        for row in some:
            twin = by_uid.get(into[row["uid"]] or "")
            if row["kind"]:
                total.made[row["kind"]] += 1
                own = into[row["uid"]] or row["uid"]
                original = f"{row['code']} "
                total.found[row["kind"]] += own == (into[original] or original)
                total.claimed[row["kind"]] += sizes[own] > 1
                total.mistaken[row["kind"]] += len(looks[own]) > 1
            if twin is not None and twin["looks"] != row["looks"]:
                total.wrong[relation(row["code"], twin["code"])] += 1
    return total


def in_pool(code: str, kind: str, number: int, kinds: Sequence[str]) -> bool:
    """Whether a pool holds the file: every picture, and one variant of one picture in ten."""
    if not kind:
        return True
    chance = random.Random(f"{code} {number}")  # noqa: S311 - same
    return chance.random() < RATE and kind == kinds[chance.randrange(len(kinds))]


def relation(code: str, other: str) -> str:
    plain, other_plain = ([part for part in each.split("-") if part not in TONES] for each in (code, other))
    if plain == other_plain:
        return "skin tone"
    return "flag" if code.startswith("1F1") and other.startswith("1F1") else "another drawing"


def by_looks(table: pa.Table, rule: Perceptual) -> Search:
    return lambda taken: deduplicate_perceptual(table.take(taken), rule)


def by_features(table: pa.Table, features: np.ndarray, rule: Semantic) -> Search:
    return lambda taken: deduplicate_semantic(table.take(taken), features[taken], rule)


def show(name: str, found: Tally) -> None:
    print(f"\n{name}: recall {found.recall:.3f}, precision {found.precision:.3f}")
    for kind in found.made:
        print(f"  {kind:16} recall {found.of_kind(kind)[0]:.3f} of {found.made[kind]}")
    pools = {why: round(n / ROUNDS, 1) for why, n in found.wrong.most_common()}
    print(f"  wrongly merged per pool: {pools}")


def show_kinds(tallies: dict[str, Tally]) -> None:
    """A line per kind, recall and precision by each search."""
    print(f"\n{'recall / precision':18}" + "".join(f"{name:>24}" for name in tallies))
    for kind in (*EDITS, *SHIFTS):
        shares = (each.of_kind(kind) for each in tallies.values())
        print(f"{kind:18}" + "".join(f"{recall:>16.3f} / {precision:.3f}" for recall, precision in shares))
    print(f"{'all':18}" + "".join(f"{each.recall:>16.3f} / {each.precision:.3f}" for each in tallies.values()))


def choose(rows: list[dict[str, str]], table: pa.Table) -> Perceptual:
    """The rule with the best F1 by the edits alone, then with the limit after a shift of the best precision by all."""
    scores = {}
    for bits, colour in itertools.product(BITS, COLOURS):
        rule = Perceptual(max_distance=bits, max_colour=colour, max_shifted=None)
        found = tally(rows, EDITS, by_looks(table, rule))
        scores[bits, colour] = 2 / (1 / max(found.recall, 1e-9) + 1 / max(found.precision, 1e-9))
    best = max(scores, key=lambda key: scores[key])
    near = [key for key, score in scores.items() if score > scores[best] - 0.005]
    print(f"best F1 {scores[best]:.4f} at {best}; within 0.005 of it (bits, levels): {near}")
    rule = Perceptual(max_distance=best[0], max_colour=best[1], max_shifted=None)
    tallies = {}
    for levels in (None, *SHIFTED):
        tallies[levels] = tally(rows, (*EDITS, *SHIFTS), by_looks(table, replace(rule, max_shifted=levels)))
        print(f"shifted {levels}: recall {tallies[levels].recall:.3f}, precision {tallies[levels].precision:.3f}")
    return replace(rule, max_shifted=max(tallies, key=lambda levels: tallies[levels].precision))


def encode(codes: Sequence[str]) -> np.ndarray:
    """Unit features (n, d) of the files of `codes`, in the order of `measure`."""
    with ProcessPoolExecutor() as workers:
        files = [data for _, kinds in workers.map(draw, codes, chunksize=32) for data in kinds.values()]
    encoder = load_encoder("embedded", cache=default_cache() / "encoders")
    return to_unit_rows(encoder.encode_images(files))[0]


def compare_kinds(codes: Sequence[str], table: pa.Table) -> None:
    """Looks and features side by side on the same pools."""
    some = codes[:: -(-len(codes) // ENCODED)]
    place = {code: number for number, code in enumerate(some)}
    table = table.filter(pa.array([code in place for code in table["code"].to_pylist()]))
    rows, features = table.select(["uid", "code", "kind", "looks"]).to_pylist(), encode(some)
    searches = {
        "looks": by_looks(table, Perceptual()),
        "looks, none shifted": by_looks(table, Perceptual(max_shifted=None)),
        "features": by_features(table, features, Semantic()),
        "no colour limit": by_features(table, features, Semantic(max_colour=None)),
        "same, cosine 0.98": by_features(table, features, Semantic(min_cosine=0.98, max_colour=None)),
    }
    print(f"\n{len(some)} pictures, embedded encoder, default rules unless it is said:")
    show_kinds({name: tally(rows, (*EDITS, *SHIFTS), search) for name, search in searches.items()})


def run(codes: Sequence[str]) -> None:
    with ProcessPoolExecutor() as workers:
        table = pa.concat_tables(workers.map(measure, codes, chunksize=32)).combine_chunks()
    rows = table.select(["uid", "code", "kind", "looks"]).to_pylist()
    looks = Counter(row["looks"] for row in rows if not row["kind"])
    print(f"{looks.total()} pictures; {sum(n - 1 for n in looks.values())} are equal to the pixel to another one")
    halves = [[i for i, row in enumerate(rows) if half_of(row["code"]) == half] for half in (0, 1)]
    chosen = choose([rows[i] for i in halves[0]], table.take(halves[0]))
    other, other_rows = table.take(halves[1]), [rows[i] for i in halves[1]]
    for rule, name in ((chosen, "chosen rule"), (Perceptual(), "default rule")):
        print(f"\n{name}: {rule}")
        show("other half", tally(other_rows, EDITS, by_looks(other, rule)))
        show("whole set", tally(rows, EDITS, by_looks(table, rule)))
        show("other half, shifts too", tally(other_rows, (*EDITS, *SHIFTS), by_looks(other, rule)))
        show("whole set, shifts too", tally(rows, (*EDITS, *SHIFTS), by_looks(table, rule)))
    grey = Perceptual(max_distance=Perceptual().max_distance, max_colour=255)
    show("whole set without the colour grid", tally(rows, EDITS, by_looks(table, grey)))
    compare_kinds(codes, table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    run(list_codes()[:: parser.parse_args().every])
