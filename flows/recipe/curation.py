"""The steps of curation in a recipe."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from evenly.curation import CAPTIONERS
from evenly.curation.balance.thresholds import Law, Texts
from evenly.curation.exclusions.safety import EXPOSED
from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS, Filter
from evenly.flows.recipe.presets import with_preset
from evenly.flows.recipe.section import LocalPath, Section, Share, exactly_one, known_name

# Parts of a recipe that leave pictures out: unsafe ones, those of evaluation sets, those unlike a target set.


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


class Match(Section):
    """Which concepts a caption names: `wordnet`, or a concept list.

    A list is what `evenly metadata build` wrote (.parquet), a text file with one concept per line, or JSON: a list, or
    an object of language -> list, whose languages are taken together.
    `plurals`, in normalized mode only, also finds a concept in the plain plural of its last word.
    `language` names a column, the pool's or `detected_language` of the filter caption_language: a caption is then
    matched against the list of its language alone, by the rule of MetaCLIP 2.
    """

    metadata: LocalPath = "wordnet"
    mode: Literal["faithful", "normalized"] = "faithful"
    plurals: bool = False
    language: str | None = None

    @model_validator(mode="after")
    def _options_go_together(self) -> "Match":
        if self.plurals and self.mode == "faithful":
            raise ValueError("plurals needs mode normalized; got faithful")
        if self.plurals and self.language is not None:
            raise ValueError("plurals are of English and cannot go with language; leave one out")
        if self.metadata == "wordnet" and self.language is not None:
            raise ValueError("language needs metadata with a list per language; got wordnet, which names none")
        return self


class Preselect(Section):
    """Balancing before the download, at `headroom` times the final threshold, to allow for losses."""

    headroom: Annotated[float, Field(ge=1)] = 2.0


class Download(Section):
    """How pictures are collected, as `evenly.storage.web.DownloadRule` says; `respect` names the opt-outs.

    A run stops where nearly all URLs fail for one reason (a network that is down), unless `tolerate` names it.
    """

    timeout_s: Annotated[float, Field(gt=0)] = 10.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    max_wait_s: Annotated[float, Field(ge=0)] = 30.0
    max_bytes: Annotated[int, Field(gt=0)] = 20_000_000
    max_pixels: Annotated[int, Field(gt=0)] = 80_000_000
    respect: tuple[Literal["robots", "x-robots-tag", "tdmrep"], ...] = ("robots", "x-robots-tag", "tdmrep")
    tolerate: tuple[str, ...] = ()
    user_agent_token: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z_-]*$")] = "evenly"  # noqa: S105 - a name


class NearCaptions(Section):
    """Merge pairs of one picture, or of the whole pool, whose captions have a Jaccard index of `min_jaccard`."""

    min_jaccard: Annotated[float, Field(ge=0.3, le=1)] = 0.8
    scope: Literal["image", "pool"] = "image"


class LinkedRecords(Section):
    """Merge pairs whose features of picture and caption, mixed by `weight`, have a cosine of `min_cosine`.

    No cosine fits all encoders: choose it on labelled pairs of your own.
    """

    min_cosine: Share
    weight: Annotated[float, Field(ge=0, le=1)] = 0.636


class Deduplicate(Section):
    """Merge pictures: equal bytes; perceptual hashes within `perceptual` of 64 bits; cosine of at least `semantic`.

    For the last, colours must agree within `colour` levels (null: features decide alone). Looks may also agree within
    `shifted` levels after one change of brightness, saturation or hue (null: not). `tables` of hashing are searched for
    features: more take more time and keep large pools near-linear; docs/deduplication.md.
    """

    exact: bool = True
    perceptual: Annotated[int, Field(ge=0, le=64)] | None = 16
    shifted: Annotated[float, Field(ge=0, le=255)] | None = 12.0
    semantic: Share | None = 0.95
    colour: Annotated[float, Field(ge=0, le=255)] | None = 22.0
    captions: NearCaptions | None = None
    linked: LinkedRecords | None = None
    tables: Annotated[int, Field(ge=1, le=1024)] = 64


class Recaption(Section):
    """Offer other captions; one that was made must beat the given ones by `margin` in image-text score."""

    captioner: str = "retrieved_concepts"
    keep: Literal["best_by_clip_score"] = "best_by_clip_score"
    candidates: Annotated[int, Field(ge=1, le=100)] = 3
    margin: Annotated[float, Field(ge=0)] = 0.0


class Align(Section):
    """Keep the best share by image-text score of the chosen caption (ties kept), or all at or above a score."""

    keep_top: Share | None = None
    min_score: Annotated[float, Field(ge=-1, le=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> "Align":
        return exactly_one(self, ("keep_top", "min_score"))


class Rank(Section):
    """Keep the best share by the score of a ranking head (ties kept), or all at or above a score in its own units.

    `adapter` is the folder that `evenly fit --arrays graded.npz --adapter ranking` wrote.
    """

    adapter: str
    keep_top: Share | None = None
    min_score: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one(self) -> "Rank":
        return exactly_one(self, ("keep_top", "min_score"))


class Balance(Section):
    """Threshold of matches per concept: `t` itself, or what leaves `tail_share`, or what gives `target` pairs.

    `law`: v1 draws for each concept of a pair, v2 once. `texts`: judge each text of a picture, or one that is picked.
    `language` names a column: each language then has a threshold of its own, by the tail share of `reference`, whose
    threshold is `t`; or all by `tail_share`.
    """

    t: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    tail_share: Share | None = None
    target: Annotated[int, Field(gt=0)] | None = None
    law: Law = "v1"
    texts: Texts = "each"
    language: str | None = None
    reference: str = "en"

    @model_validator(mode="after")
    def _one(self) -> "Balance":
        if "reference" in self.model_fields_set and (self.language is None or self.tail_share is not None):
            raise ValueError("reference needs language, and t or target: tail_share is the same in every language")
        return exactly_one(self, ("t", "tail_share", "target"))


class Curate(Section):
    """The steps of curation; one that is left out is switched off, but for the download and `match`.

    `preset` fills in the sections of a published filter: flows/recipe/presets.py. `balance: null` keeps all pairs,
    those that name no concept as well: captions are then not matched, and what reads their matches cannot be on.
    """

    preset: str | None = None
    text: dict[str, dict[str, Any]] = Field(default_factory=dict)
    match: Match = Match()
    preselect: Preselect | None = None
    download: Download = Download()
    image: dict[str, dict[str, Any]] = Field(default_factory=dict)
    deduplicate: Deduplicate = Deduplicate()
    safety: Safety | None = None
    decontaminate: Decontaminate | None = None
    recaption: Recaption | None = None
    rank: Rank | None = None
    align: Align | None = None
    image_based: ImageBased | None = None
    balance: Balance | None

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: object) -> object:
        return with_preset(value) if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _known(self) -> "Curate":
        for section, rules, known in (("text", self.text, TEXT_FILTERS), ("image", self.image, IMAGE_FILTERS)):
            _check_filters(section, rules, known)
        if self.recaption is not None:
            known_name("captioner", self.recaption.captioner, CAPTIONERS)
        return self

    @model_validator(mode="after")
    def _nothing_reads_matches(self) -> "Curate":
        given = ("match" in self.model_fields_set, self.preselect is not None, self.recaption is not None)
        if self.balance is None and any(given):
            names = [name for name, is_on in zip(("match", "preselect", "recaption"), given, strict=True) if is_on]
            raise ValueError(f"balance: null leaves captions unmatched and takes no {', '.join(names)}; leave that out")
        return self


def _check_filters(section: str, rules: Mapping[str, Mapping[str, Any]], known: Mapping[str, Filter]) -> None:
    for name, values in rules.items():
        known_name(f"{section} filter", name, known)
        try:
            known[name].rule(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{section}.{name}: {error}") from None
