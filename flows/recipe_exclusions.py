"""Parts of a recipe that compare pictures with others: evaluation sets to stay clear of, a target to be like."""

from typing import Annotated

from pydantic import Field, model_validator

from flows.recipe_section import Section, Share


class Decontaminate(Section):
    """Drop pictures of evaluation `sets`: a name for each, and its folder, Parquet of pictures, or file of features.

    `perceptual`, `semantic` and `colour` are limits as for duplicates; null: not looked at.
    """

    sets: Annotated[dict[str, str], Field(min_length=1)]
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

    target: str
    clusters: Annotated[int, Field(ge=1)] | None = None
    iterations: Annotated[int, Field(ge=1, le=1000)] = 20
