"""Crowded pictures of a ground by a run's encoder: rows of cells and crops, made when a method asks for them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from evenly.adapters.effects.ground import TEMPLATES, Encode
from evenly.adapters.effects.regions import STEP, likeliest, true_maps
from evenly.adapters.evaluation.regions.overlaps import map_overlaps
from evenly.adapters.evaluation.regions.truth import RegionTruth
from evenly.adapters.evaluation.regions.weighted import class_mean, ratio_measure
from evenly.adapters.features import Floats, Integers
from evenly.features.dense.crops import CropRule, crop_rows
from evenly.features.dense.method import Vocabulary
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense
from evenly.features.dense.towers import DenseEncoder, dense_encoder
from evenly.features.unit_rows import Single
from evenly.tasks.encoders import open_encoder, open_second
from evenly.tasks.regions.cells import dense_rows
from evenly.tasks.run import Run

MOST = {"fit": 700, "val": 350}
"""Crowded pictures of a part that are looked at, the first by hash; of `test` all."""
_AT_ONCE = 64
_Layers = Callable[[], Iterator[Floats]]


@dataclass(frozen=True, kw_only=True, eq=False)
class CrowdedPart:
    """Pictures of a ground at `places` of its truth, which has no words where they are of `test`.

    encode, encode_second: give rows of these pictures and their cells. crop: rows of the crops of regions by a rule.
    """

    truth: RegionTruth
    places: Integers
    classes: Sequence[str]
    encode: Callable[[], Dense]
    encode_second: Callable[[], Dense]
    crop: Callable[[Regions, CropRule], Single]

    @cached_property
    def regions(self) -> Regions:
        """The true regions; labels are classes, phrases the names of drawings, attributes known colours."""
        truth, rows = self.truth, self.truth.rows_of(self.places)
        colours = np.array([{colour: 1.0} if colour else {} for colour in truth.colours], object)
        columns = (truth.boxes, truth.masks, truth.kinds, truth.labels, colours)
        pictures = np.searchsorted(self.places, truth.picture[rows])
        listed = zip(pictures, *(column[rows] for column in columns), strict=True)
        keys = ("picture", "box", "mask", "label", "phrase", "attributes")
        return Regions.from_rows([dict(zip(keys, row, strict=True)) for row in listed])

    @cached_property
    def defects(self) -> Regions:
        """The boxes of defects, labelled so."""
        rows = np.flatnonzero(np.isin(self.truth.defects, self.places))
        pictures = np.searchsorted(self.places, self.truth.defects[rows])
        boxes = zip(pictures, self.truth.defect_boxes[rows], strict=True)
        return Regions.from_rows([{"picture": picture, "box": box, "label": "defect"} for picture, box in boxes])

    @cached_property
    def dense(self) -> Dense:
        """Rows of pictures and cells."""
        return self.encode()

    @cached_property
    def paired(self) -> Dense:
        """The same, with rows of the cells by the second backbone."""
        second = self.encode_second()
        return self.dense.with_second(second.cells, second.frames)

    def crops(self, *, masked: bool) -> Single:
        """Rows (m, d) of the crops of regions."""
        return self.crop(self.regions, CropRule(masked=masked))

    @cached_property
    def maps(self) -> list[Integers]:
        """True maps at the pixels that are judged."""
        return list(true_maps(self.truth, self.classes, self.places, step=STEP))

    def layers(self, maps: Single, background: Single | None = None) -> _Layers:
        """Maps (n, c, h, w) over cells, after that of background, at the pixels of each picture that are judged."""
        of_cells = maps if background is None else np.concatenate([background[:, None], maps], axis=1)
        return lambda: (self.dense.on_pixels(place, of_one, step=STEP) for place, of_one in enumerate(of_cells))

    def miou(self, maps: Single, background: Single | None = None) -> float:
        """MIoU of the likeliest classes, where background is one if there is a map of it."""
        predicted = (likeliest(layers, len(self.classes)) for layers in self.layers(maps, background)())
        overlaps = map_overlaps(predicted, self.maps, n_classes=len(self.classes), background=background is not None)
        return float(class_mean(ratio_measure(*overlaps), np.ones((1, len(self.maps))))[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class CrowdedParts:
    """Three parts of a ground, and its classes by their names, and by synonyms as well."""

    fit: CrowdedPart
    val: CrowdedPart
    test: CrowdedPart
    things: Vocabulary
    words: Vocabulary

    @property
    def texts(self) -> Single:
        """The row of each class by its names (c, d)."""
        return self.things.prototypes


def read_parts(
    run: Run,
    truth: RegionTruth,
    files: Mapping[str, Path],
    *,
    synonyms: Mapping[str, Mapping[str, str]],
    text: Encode,
) -> CrowdedParts:
    """The crowded pictures of a ground by a run's encoder and second backbone; files: by the picture's sha256.

    synonyms: those of each class, in the order of classes. text: rows of texts by the encoder.
    """
    classes, nothing = list(synonyms), np.full(len(truth.picture), "", object)
    wordless = replace(truth, labels=nothing, kinds=nothing, colours=nothing, codes=nothing)
    wordless = replace(wordless, defects=truth.defects[:0], defect_boxes=truth.defect_boxes[:0])

    def part(name: str) -> CrowdedPart:
        crowded = truth.crowded(name)
        places = np.sort(crowded[np.argsort(truth.images[crowded])][: MOST.get(name)])
        ids = [str(image) for image in truth.images[places]]

        def rows(encoder: DenseEncoder) -> Dense:
            chunks = list[Dense]()
            with run.progress.bar(f"encoding cells of {name}", len(ids)) as advance:
                for start in range(0, len(ids), _AT_ONCE):
                    chunk = ids[start : start + _AT_ONCE]
                    contents = [files[image].read_bytes() for image in chunk]
                    chunks.append(dense_rows(run, encoder, chunk, contents, stores_cells=False))
                    advance(len(chunk))
            return Dense.concatenated(chunks)

        return CrowdedPart(
            truth=wordless if name == "test" else truth,
            places=places,
            classes=classes,
            encode=lambda: rows(dense_encoder(open_encoder(run), str(run.encoder.model))),
            encode_second=lambda: rows(dense_encoder(open_second(run), "second")),
            crop=lambda regions, rule: crop_rows(
                open_encoder(run), [files[image].read_bytes() for image in ids], regions, rule
            ),
        )

    named = {name: [template.format(name) for template in TEMPLATES] for name in classes}
    worded = {name: [*of_one, *(f"a {word}" for word in synonyms[name].values())] for name, of_one in named.items()}
    return CrowdedParts(
        fit=part("fit"),
        val=part("val"),
        test=part("test"),
        things=vocabulary_of(named, text),
        words=vocabulary_of(worded, text),
    )


def vocabulary_of(texts: Mapping[str, Sequence[str]], encode: Encode) -> Vocabulary:
    """The texts of each name, each text once."""
    pairs = [(name, text) for name, of_name in texts.items() for text in dict.fromkeys(of_name)]
    labels, listed = zip(*pairs, strict=True)
    return Vocabulary(texts=listed, labels=labels, rows=encode(listed), encode=encode)
