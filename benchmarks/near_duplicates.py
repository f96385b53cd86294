"""Measure perceptual deduplication on real pictures: all of OpenMoji, with near-duplicates made of them.

Every picture (skin tones and flags included: these are no duplicates of each other) is drawn at a size of the web and
varied in six ways. Rules are chosen on one half of the drawings and measured on the other; at last the default rule
meets the whole set. Precision is that of the merges in a pool in which 10 % of the pictures have a near-duplicate;
pictures that OpenMoji draws equal to the pixel under several codes are duplicates, but count neither way.

Run: python benchmarks/near_duplicates.py [--every N] (N = 10 takes every tenth drawing); the whole takes minutes.
"""

import argparse
import hashlib
import io
import itertools
import random
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
from PIL import Image, ImageOps

from curation.deduplicate import Perceptual, deduplicate_perceptual
from curation.fingerprints import measure_fingerprints
from demo.pictures import draw_picture, list_codes

TONES = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}
SIZES = (160, 192, 224, 256)
RATE, ROUNDS = 0.1, 6
BITS, COLOURS = (6, 8, 10, 12, 14, 16), (12, 14, 16, 18, 20, 22, 24, 28)


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
    }


def measure(code: str) -> pa.Table:
    """The fingerprints of a picture and its variants: uid, code, kind ("" for the picture), looks, phash, colour."""
    chance = random.Random(code)  # noqa: S311 - a benchmark's picture, not a secret
    size, background = chance.choice(SIZES), chance.choice([None, "white"])
    data = draw_picture(code, size_px=size, background=background)
    with Image.open(io.BytesIO(draw_picture(code, size_px=160, background="white"))) as drawn:
        looks = hashlib.sha256(drawn.convert("RGB").tobytes()).hexdigest()
    with Image.open(io.BytesIO(data)) as picture:
        files = {"": data, **vary(picture, chance)}
    names = {"uid": [f"{code} {kind}" for kind in files], "code": [code] * len(files), "kind": list(files)}
    same = {"looks": [looks] * len(files), "width": [size] * len(files), "height": [size] * len(files)}
    prints = measure_fingerprints(list(files.values()))
    return pa.table(names | same | {name: prints[name] for name in prints.column_names})


@dataclass
class Tally:
    """What was merged over several pools."""

    made: Counter[str]
    found: Counter[str]
    wrong: Counter[str]

    @property
    def recall(self) -> float:
        return self.found.total() / max(self.made.total(), 1)

    @property
    def precision(self) -> float:
        return self.found.total() / max(self.found.total() + self.wrong.total(), 1)


def half_of(code: str) -> int:
    """0 to choose by, 1 to measure on; all drawings that begin with one code point lie in one half."""
    return hashlib.sha256(code.split("-", maxsplit=1)[0].encode()).digest()[0] % 2


def tally(rows: list[dict[str, object]], table: pa.Table, rule: Perceptual) -> Tally:
    total = Tally(Counter(), Counter(), Counter())
    for number in range(ROUNDS):
        taken = [i for i, row in enumerate(rows) if in_pool(str(row["code"]), str(row["kind"]), number)]
        pool, some = table.take(taken), [rows[i] for i in taken]
        found = deduplicate_perceptual(pool, rule).decisions
        into = dict(zip(pool["uid"].to_pylist(), found.into.to_pylist(), strict=True))
        by_uid = {row["uid"]: row for row in some}
        for row in some:
            twin = by_uid.get(into[row["uid"]] or "")
            if row["kind"]:
                total.made[str(row["kind"])] += 1
                own = into[row["uid"]] or row["uid"]
                original = f"{row['code']} "
                total.found[str(row["kind"])] += own == (into[original] or original)
            if twin is not None and twin["looks"] != row["looks"]:
                total.wrong[relation(str(row["code"]), str(twin["code"]))] += 1
    return total


def in_pool(code: str, kind: str, number: int) -> bool:
    """Whether a pool holds the file: every picture, and one variant of one picture in ten."""
    if not kind:
        return True
    chance = random.Random(f"{code} {number}")  # noqa: S311 - same
    return chance.random() < RATE and kind == KINDS[chance.randrange(len(KINDS))]


KINDS = ("resize", "jpeg", "resize and jpeg", "webp", "pad", "crop")


def relation(code: str, other: str) -> str:
    plain, other_plain = ([part for part in each.split("-") if part not in TONES] for each in (code, other))
    if plain == other_plain:
        return "skin tone"
    return "flag" if code.startswith("1F1") and other.startswith("1F1") else "another drawing"


def show(name: str, found: Tally) -> None:
    print(f"\n{name}: recall {found.recall:.3f}, precision {found.precision:.3f}")
    for kind in KINDS:
        made = found.made[kind]
        print(f"  {kind:16} recall {found.found[kind] / max(made, 1):.3f} of {made}")
    pools = {why: round(n / ROUNDS, 1) for why, n in found.wrong.most_common()}
    print(f"  wrongly merged per pool: {pools}")


def choose(rows: list[dict[str, object]], table: pa.Table) -> Perceptual:
    """The rule of the grid with the best F1."""
    scores = {}
    for bits, colour in itertools.product(BITS, COLOURS):
        found = tally(rows, table, Perceptual(max_distance=bits, max_colour=colour))
        scores[bits, colour] = 2 / (1 / max(found.recall, 1e-9) + 1 / max(found.precision, 1e-9))
    best = max(scores, key=lambda key: scores[key])
    near = [key for key, score in scores.items() if score > scores[best] - 0.005]
    print(f"best F1 {scores[best]:.4f} at {best}; within 0.005 of it (bits, levels): {near}")
    return Perceptual(max_distance=best[0], max_colour=best[1])


def run(codes: Iterable[str]) -> None:
    with ProcessPoolExecutor() as workers:
        table = pa.concat_tables(workers.map(measure, codes, chunksize=32)).combine_chunks()
    rows = table.select(["uid", "code", "kind", "looks"]).to_pylist()
    looks = Counter(row["looks"] for row in rows if not row["kind"])
    print(f"{looks.total()} pictures; {sum(n - 1 for n in looks.values())} are equal to the pixel to another one")
    halves = [[i for i, row in enumerate(rows) if half_of(row["code"]) == half] for half in (0, 1)]
    chosen = choose([rows[i] for i in halves[0]], table.take(halves[0]))
    for rule, name in ((chosen, "chosen rule"), (Perceptual(), "default rule")):
        print(f"\n{name}: {rule}")
        show("other half", tally([rows[i] for i in halves[1]], table.take(halves[1]), rule))
        show("whole set", tally(rows, table, rule))
    grey = Perceptual(max_distance=Perceptual().max_distance, max_colour=255)
    show("whole set without the colour grid", tally(rows, table, grey))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    run(list_codes()[:: parser.parse_args().every])
