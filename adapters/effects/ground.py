"""The proving ground as arrays: rows of its pictures and texts by an encoder, and the truth about each picture."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evenly.adapters.evaluation.regions.truth import RegionTruth
from evenly.adapters.features import Booleans, Features, Floats, Integers, Strings
from evenly.adapters.prompts.tower import PromptTower

if TYPE_CHECKING:
    import pandas as pd

TEMPLATES = ("{}", "a {}")
"""What a name stands in, on average, where a claim says nothing else."""

Encode = Callable[[Sequence[str]], Floats]
"""Texts to unit rows (n, d) float32."""


@dataclass(frozen=True, kw_only=True)
class TowerRule:
    """The training of parts of `blocks` of a text tower, by the words of `evenly refine --tune`."""

    tune: str
    blocks: int
    steps: int
    learning_rate: float


@dataclass(frozen=True, kw_only=True, eq=False)
class TowerProblem:
    """Rows (n, d) of pictures, their names `uids` (n,), and `labels` (n,), among which a text tower is trained.

    classes: the names that rows are made of; labels are some of them, or all.
    """

    image: Floats
    uids: Strings
    labels: Strings
    classes: Sequence[str]
    rule: TowerRule
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class MethodAnswer:
    """The values that a method gives for a part of a ground, and what was chosen for it on `val`, by name.

    values: what the function that judges them says (`naming`, `tagging`, `segmenting`, `outlining`, `ordering`).
    """

    values: Any
    chosen: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class GroundRegions:
    """The true regions of a ground's pictures, in their order, and the answers of methods by their names.

    Answers are on the pictures of `test` that show several objects (`truth.crowded`), in order, and on their regions.
    """

    truth: RegionTruth
    answers: Mapping[str, Callable[[], MethodAnswer]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """Pictures of a ground by one encoder (docs/ground.md).

    image (n, d) and second (n, e): unit rows by the encoder and by another one; norms (n,): lengths of the former.
    truth: a line for each picture with part, kind, hand, code, label, group, background, given_colour ("" where it is
    the drawing's own), count, is_confounded, caption, long_caption, order and turned_order (a caption of how two things
    lie, and the same turned round; "" where there is none), and name, which no other picture has. classes: all of them
    in order; known, near and unknown: three parts of these. synonyms: class to read to word. sentences: class
    to sentences on its members. planted: (name, colour, background, sentence). links: positions (m, 2) of two pictures
    on white of one code by different hands. text and long_text: rows of texts, cut and in chunks. tagged:
    gives tags and the caption that a language model made of them, by name, for pictures of `test`. frozen (n, d): rows
    by the encoder that this one was refined from. regions: gives the regions of its pictures. tower: binds the
    encoder's text tower to names. tuned: gives unit rows (c, d) of classes after equal shares of a training of
    parts of that tower. crops: gives rows (v, n, d) of so many crops of pictures.
    """

    image: Floats
    norms: Floats
    second: Floats
    truth: "pd.DataFrame"
    classes: tuple[str, ...]
    known: tuple[str, ...]
    near: tuple[str, ...]
    unknown: tuple[str, ...]
    synonyms: Mapping[str, Mapping[str, str]]
    sentences: Mapping[str, Sequence[str]]
    planted: Sequence[Mapping[str, str]]
    links: Integers
    text: Encode
    long_text: Encode
    tagged: Callable[[], Mapping[str, tuple[str, str]]]
    crops: Callable[[Integers, int], Floats]
    frozen: Floats | None = None
    regions: Callable[[], GroundRegions] | None = None
    tower: Callable[[tuple[str, ...]], PromptTower] | None = None
    tuned: Callable[[TowerProblem], Iterator[Floats]] | None = None

    def where(self, part: str, *, kind: str = "texture", **values: Any) -> Integers:  # noqa: ANN401 - any column
        """Positions (m,) of the pictures of a part and kind; of `values` a column must have one, or one of several."""
        chosen = (self.truth["part"] == part) & (self.truth["kind"] == kind)
        for column, wanted in values.items():
            chosen &= self.truth[column].isin(wanted if isinstance(wanted, (list, tuple, set)) else [wanted])
        return np.flatnonzero(chosen)

    def column(self, name: str, rows: Integers) -> Strings:
        """A column of the truth (m,), as text."""
        return np.asarray(self.truth[name].to_numpy()[rows], dtype=np.str_)

    def labels(self, rows: Integers, classes: Sequence[str] | None = None) -> Integers:
        """The position of each picture's class among `classes` (m,), by default all."""
        place = {name: number for number, name in enumerate(classes or self.classes)}
        return np.array([place[label] for label in self.column("label", rows)], dtype=np.int64)

    def groups(self, rows: Integers) -> tuple[Integers, int]:
        """The number of each picture's group (m,), and how many there are."""
        names, numbers = np.unique(self.column("group", rows), return_inverse=True)
        return np.asarray(numbers, dtype=np.int64), len(names)

    def hands(self) -> list[str]:
        """The hands, in the order of their names."""
        return sorted(set(self.truth["hand"]))

    def features(self, rows: Integers, prototypes: Floats, **further: Any) -> Features:  # noqa: ANN401 - fields of Features
        """The record that adapters get of pictures."""
        return Features(
            image=self.image[rows], norms=self.norms[rows], second=self.second[rows], prototypes=prototypes, **further
        )

    def prototypes(self, words: Sequence[str | Sequence[str]], templates: Sequence[str] = TEMPLATES) -> Floats:
        """The direction of each class's words in the templates: (c, d)."""
        texts = [
            [t.format(word) for word in ([one] if isinstance(one, str) else one) for t in templates] for one in words
        ]
        rows = self.text([text for of_class in texts for text in of_class])
        starts = np.cumsum([0, *map(len, texts)])[:-1]
        return unit(np.add.reduceat(rows.astype(np.float64), starts, axis=0))


def permuted_test(ground: Ground, *, seed: int) -> Ground:
    """The ground with everything known of its test pictures, but for part, kind and hand, dealt to others of these."""
    truth = ground.truth.copy()
    kept = ["part", "kind", "hand", "name"]
    for _, rows in truth[truth["part"] == "test"].groupby(["kind", "hand"]):
        columns = [column for column in truth if column not in kept]
        order = np.random.default_rng(seed).permutation(len(rows))
        truth.loc[rows.index, columns] = rows[columns].to_numpy()[order]
    regions = ground.regions
    dealt = None if regions is None else lambda: _permuted_regions(regions(), seed)
    return replace(ground, truth=truth, regions=dealt)


def _permuted_regions(regions: GroundRegions, seed: int) -> GroundRegions:
    """The same places in test pictures, each with the thing and the drawing of another; defects of others."""
    truth = regions.truth
    rows = np.flatnonzero(truth.parts[truth.picture] == "test")
    order = np.arange(len(truth.picture))
    order[rows] = np.random.default_rng(seed).permutation(rows)
    names = ("labels", "kinds", "colours", "codes")
    places, tested = np.arange(len(truth.sizes)), np.flatnonzero(truth.parts == "test")
    places[tested] = np.random.default_rng(seed).permutation(tested)
    words = {name: getattr(truth, name)[order] for name in names}
    return replace(regions, truth=replace(truth, **words, defects=places[truth.defects]))


def unit(rows: Floats) -> Floats:
    """Rows (n, d) of length 1, float32."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def nearest_class(image: Floats, prototypes: Floats) -> Integers:
    """The class of the prototype nearest to each picture (n,)."""
    return np.asarray((image @ prototypes.T).argmax(axis=1), dtype=np.int64)


def finds(queries: Floats, gallery: Floats, sought: Integers) -> Booleans:
    """Whether the row of the gallery nearest to each query (n,) is the one sought (n,); a tie counts against it."""
    cosines = queries @ gallery.T
    sought_cosine = np.take_along_axis(cosines, sought[:, None], axis=1)
    return np.asarray((cosines >= sought_cosine).sum(axis=1) == 1)
