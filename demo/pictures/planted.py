"""A small pool of known worth: swapped captions, a frequent class, a score that tells the right ones, a score of noise.

What can be found in it by judging other settings of its recipe (`evenly tune`) was put there by seed.
"""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evenly.demo.captions import good_caption
from evenly.demo.draws import DEMO_SEED, demo_draw
from evenly.demo.errors import FolderError
from evenly.demo.files import csv_text, write_bytes
from evenly.demo.labels import class_labels
from evenly.demo.names import name_picture, toneless
from evenly.demo.pictures.openmoji import draw_into, list_codes
from evenly.demo.processes import Progress, no_progress, run_all

PAIRS = 2000
HEAD, HEAD_SHARE, WRONG_SHARE = "person", 0.25, 0.3
OTHER = "something else"
"""The label of pictures that are of no class of the demo."""
LIST, TRUTH, RECIPE = "metadata.csv", "truth.csv", "planted.yaml"
_RIGHT_GAINS = 0.3  # of good_score; the rest of it is noise
_RECIPE_TEXT = f"""\
# A recipe for a pool of known worth, which `evenly demo --planted` has drawn: docs/what-if.md.
name: planted
seed: 1
sources: [{{kind: folder, path: pictures}}]
labels: {{column: label, group: group}}
curate:
  match: {{metadata: wordnet, mode: normalized, plurals: true}}
  download: {{}}
  values:
    score: {{column: noise_score, keep_top: 0.7}}    # tells nothing; good_score tells right captions, with noise
  balance: {{t: 1000}}                               # drops nothing; {HEAD_SHARE:.0%} of the pictures: class {HEAD}
features: {{model: embedded}}
"""


@dataclass(frozen=True, kw_only=True)
class PlantedPair:
    """A picture by code with its class and group, and the code of the picture that its caption is of."""

    code: str
    label: str
    group: str
    caption_of: str

    @property
    def file(self) -> str:
        """The picture's path below the pool's folder."""
        return f"{self.label}/{self.code}.png"

    @property
    def is_right(self) -> bool:
        """Whether the caption is that of the picture."""
        return self.code == self.caption_of


def make_planted_pool(
    folder: Path, *, count: int = PAIRS, seed: int = DEMO_SEED, progress: Progress = no_progress
) -> dict[str, int]:
    """Draw the pool into `<folder>/pictures`, with planted.yaml and truth.csv beside it; how many pairs are of what.

    metadata.csv of the pool: file_name, caption, label, group, good_score, noise_score and permuted_score, which is the
    good one of other pairs. May be killed and called again.
    FolderError if a list, a truth or a recipe with another content is there.
    """
    pairs, pool = plan_pairs(count, seed=seed), folder / "pictures"
    files = {
        pool / LIST: _list(pairs, seed),
        folder / TRUTH: csv_text(
            [
                ("file_name", "label", "is_right", "caption_of"),
                *((pair.file, pair.label, pair.is_right, pair.caption_of) for pair in pairs),
            ]
        ),
        folder / RECIPE: _RECIPE_TEXT,
    }
    for path, text in files.items():
        if path.exists() and path.read_bytes() != text.encode():
            raise FolderError(
                f"`folder` must hold no other {path.name}; got one in {path.parent}. Name another folder."
            )
    for label in {pair.label for pair in pairs}:
        (pool / label).mkdir(parents=True, exist_ok=True)
    missing = [pool / pair.file for pair in pairs if not (pool / pair.file).exists()]
    progress(len(pairs) - len(missing))
    for _ in run_all(functools.partial(_draw, seed=seed), missing, progress=progress):
        pass
    for path, text in files.items():
        write_bytes(path, text.encode())
    wrong = sum(not pair.is_right for pair in pairs)
    return {"pairs": len(pairs), HEAD: sum(pair.label == HEAD for pair in pairs), "wrong captions": wrong}


def plan_pairs(count: int, *, seed: int) -> list[PlantedPair]:
    """So many pictures, of which HEAD_SHARE are of class HEAD; WRONG_SHARE have the caption of one of another class."""
    labels = _labels()
    by_draw = sorted(labels, key=lambda code: (labels[code][0] == OTHER, demo_draw(seed, "planted", code)))
    heads = [code for code in by_draw if labels[code][0] == HEAD][: round(HEAD_SHARE * count)]
    codes = sorted([*heads, *[code for code in by_draw if labels[code][0] != HEAD][: count - len(heads)]])
    by_fault = sorted(codes, key=lambda code: demo_draw(seed, "swapped", code))
    wrong = sorted(by_fault[: round(WRONG_SHARE * count)], key=lambda code: labels[code])
    caption_of = dict(zip(wrong, _shifted(wrong, labels), strict=True))
    return [
        PlantedPair(code=code, label=labels[code][0], group=labels[code][1], caption_of=caption_of.get(code, code))
        for code in codes
    ]


def _labels() -> Mapping[str, tuple[str, str]]:
    """Class and group by code; of pictures of no class those without a skin tone that have a name."""
    classes = class_labels()
    labels = {code: classes.get(code) or classes.get(toneless(code)) for code in list_codes()}
    return {
        code: label or (OTHER, code)
        for code, label in labels.items()
        if label or (toneless(code) == code and name_picture(code).text)
    }


def _shifted(codes: Sequence[str], labels: Mapping[str, tuple[str, str]]) -> Sequence[str]:
    """Codes that are sorted by class, each moved on by the size of the largest class, which is at most half of all."""
    places = max(Counter(labels[code][0] for code in codes).values(), default=0)
    return [*codes[places:], *codes[:places]]


def _draw(path: Path, *, seed: int) -> None:
    draw_into(path.stem, folder=path.parent, seed=seed)


def _list(pairs: Sequence[PlantedPair], seed: int) -> str:
    rows, good = [], {pair.code: _good_score(pair, seed) for pair in pairs}
    permuted = sorted(good, key=lambda code: demo_draw(seed, "permuted", code))
    for pair, permuted_code in zip(pairs, permuted, strict=True):
        caption = good_caption(name_picture(pair.caption_of), seed, pair.caption_of)
        scores = (good[pair.code], demo_draw(seed, "noise", pair.code), good[permuted_code])
        rows.append((pair.file, caption, pair.label, pair.group, *(f"{score:.4f}" for score in scores)))
    return csv_text([("file_name", "caption", "label", "group", "good_score", "noise_score", "permuted_score"), *rows])


def _good_score(pair: PlantedPair, seed: int) -> float:
    noise = (demo_draw(seed, "good", pair.code) + demo_draw(seed, "noise of good", pair.code)) / 2
    return _RIGHT_GAINS * pair.is_right + (1 - _RIGHT_GAINS) * noise
