"""Parts of a recipe that leave pictures out: unsafe ones, those of evaluation sets, those unlike a target set."""

from typing import Annotated

from pydantic import Field, model_validator

from evenly.curation.exclusions.safety import EXPOSED
from evenly.flows.recipe.section import LocalPath, Section, Share


class Detector(Section):
    """Drop pictures in which the detector sees one of `classes` with a score of at least `threshold`."""

    threshold: Share = 0.25
    classes: Annotated[tuple[str, ...], Field(min_length=1)] = EXPOSED


class Safety(Section):
    """Drop unsafe pictures: by a detector (null: none; it needs the extra `safety`), and by lists, a file or several.

    `files` are sha256 hashes of files, `looks` perceptual hashes that a picture's comes within `max_distance` bits of,
    `domains` with all below them; URLs on these are not asked for.
    """

    detector: Detector | None = Detector()
    files: tuple[LocalPath, ...] = ()
    looks: tuple[LocalPath, ...] = ()
    max_distance: Annotated[int, Field(ge=0, le=64)] = 4
    domains: tuple[LocalPath, ...] = ()

    @model_validator(mode="after")
    def _looks_for_something(self) -> "Safety":
        if self.detector is None and not (self.files or self.looks or self.domains):
            raise ValueError("needs a detector, files, looks or domains; got none")
        return self


class Decontaminate(Section):
    """Drop pictures of evaluation `sets`: a name for each, and its folder, Parquet of pictures, or file of features.

    `perceptual`, `semantic` and `colour` are limits as for duplicates; null: not looked at.
    """

    sets: Annotated[dict[str, LocalPath], Field(min_length=1)]
    perceptual: Annotated[int, Field(ge=0, le=64)] | None = 16
    semantic: Share | None = 0.95
    colour: Annotated[float, Field(ge=0, le=255)] | None = 22.0

    @model_validator(mode="after")
    def _looks_for_something(self) -> "Decontaminate":
        if self.perceptual is None and self.semantic is None:
            raise ValueError("needs perceptual or semantic; got neither")
        return self


class ImageBased(Section):
    """Keep pictures in a cluster that a picture of `target` is in: a folder, Parquet of pictures, or file of features.

    `clusters` are made of the pool in `iterations` of k-means; null: one for each 128 pictures.
    """

    target: LocalPath
    clusters: Annotated[int, Field(ge=1)] | None = None
    iterations: Annotated[int, Field(ge=1, le=1000)] = 20
