"""The recipe: a YAML file that says what a dataset is made of and how. Data, not code.

Unknown keys are refused; every problem of a file is reported at once, each with field, value, rule and remedy.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from adapters import ADAPTERS
from adapters.methods.vcd import Aggregate
from curation import CAPTIONERS
from curation.filters import IMAGE_FILTERS, TEXT_FILTERS, Filter
from curation.thresholds import Law, Texts
from descriptions.methods import METHODS
from flows.recipe_exclusions import Decontaminate, ImageBased, Safety
from flows.recipe_presets import with_preset
from flows.recipe_problems import RecipeError, describe_problems
from flows.recipe_section import Section, Share

SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
_SHARES_WITHIN = 1e-6
SectionT = TypeVar("SectionT", bound="Section")


def _with_place(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError("needs {} once, where the class name goes")
    return template


Template = Annotated[str, AfterValidator(_with_place)]


class EncoderName(Section):
    """An encoder by name, as in the recipe's `features`."""

    model: str
    pretrained: str | None = None

    def __str__(self) -> str:
        return self.model if self.pretrained is None else f"{self.model} ({self.pretrained})"


class Source(Section):
    """A pool of image-text pairs. `url`, `caption`, `id` and `source` name its columns; docs/sources.md.

    webdataset and folder hold pictures: the caption of one is the `.txt` beside it, else the key `caption`; `caption`
    names another key, and in shards no `.txt` is looked at then. `name` fills the column `source`; `weight` keeps a
    pair with that probability, `quota` that many pairs, `share` the source's share of the largest mix.
    features hold `vector` in place of a picture, made by `encoder`, which must be that of the recipe.
    """

    kind: Literal["parquet", "csv", "jsonl", "wat", "webdataset", "folder", "features"]
    path: str
    url: str = "url"
    caption: str | None = None
    id: str | None = None
    source: str | None = None
    name: SourceName | None = None
    vector: str | None = None
    encoder: EncoderName | None = None
    weight: Share | None = None
    quota: Annotated[int, Field(gt=0)] | None = None
    share: Share | None = None

    @property
    def mix(self) -> dict[str, float | int]:
        """How much of the source is kept: weight, quota and share, where given."""
        return self.model_dump(include={"weight", "quota", "share"}, exclude_none=True)

    @model_validator(mode="after")
    def _fields_fit(self) -> "Source":
        if self.kind in ("webdataset", "folder", "features") and "url" in self.model_fields_set:
            raise ValueError(f"kind {self.kind} downloads nothing and takes no url; got {self.url}")
        if (self.kind == "features") != (self.encoder is not None) or (self.vector and self.kind != "features"):
            raise ValueError(
                f"vector and encoder belong to kind features, which needs the latter; got kind {self.kind}"
            )
        if self.mix and self.name is None:
            raise ValueError(f"{', '.join(self.mix)} needs a name for the source; got none")
        return self


class Labels(Section):
    """Class and group per picture, from a file keyed by `key`, or without one from two columns of the pool.

    Members of a group never part in a split. `split`, a file, says which part a picture belongs to; its keys are URLs.
    """

    file: str | None = None
    key: str = "url"
    column: str = "label"
    group: str | None = "group"
    split: str | None = None


class Match(Section):
    """Which concepts a caption names: `wordnet`, or a concept list.

    A list is what `evenly metadata build` wrote (.parquet), a text file with one concept per line, or JSON: a list, or
    an object of language -> list, whose languages are taken together.
    `plurals`, in normalized mode only, also finds a concept in the plain plural of its last word.
    `language` names a column, the pool's or `detected_language` of the filter caption_language: a caption is then
    matched against the list of its language alone, by the rule of MetaCLIP 2.
    """

    metadata: str = "wordnet"
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
    """How pictures are collected, as `storage.web.DownloadRule` says; `respect` names the opt-outs.

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

    For the last, colours must agree within `colour` levels (null: features decide alone). `tables` of hashing are
    searched for features: more take more time and keep large pools near-linear; docs/deduplication.md.
    """

    exact: bool = True
    perceptual: Annotated[int, Field(ge=0, le=64)] | None = 16
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
        return _exactly_one(self, ("keep_top", "min_score"))


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
        return _exactly_one(self, ("t", "tail_share", "target"))


class Curate(Section):
    """The steps of curation; one that is left out is switched off, but for the download and `match`.

    `preset` fills in the sections of a published filter: flows/recipe_presets.py.
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
    align: Align | None = None
    image_based: ImageBased | None = None
    balance: Balance

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: object) -> object:
        return with_preset(value) if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _known(self) -> "Curate":
        for section, rules, known in (("text", self.text, TEXT_FILTERS), ("image", self.image, IMAGE_FILTERS)):
            _check_filters(section, rules, known)
        if self.recaption is not None:
            _known_name("captioner", self.recaption.captioner, CAPTIONERS)
        return self


class SecondBackbone(Section):
    """An image-only encoder beside the main one, for adapters that use two: `embedded`, or a model by name."""

    model: str = "embedded"
    pretrained: str | None = None


class Features(Section):
    """The encoder: `embedded`, or any open_clip model with its pretrained tag; `second` is for adapters that ask."""

    model: str = "embedded"
    pretrained: str | None = None
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    threads: Annotated[int, Field(ge=1)] | None = None
    second: SecondBackbone | None = None


class Unseen(Section):
    """Labels that are not classes of the list: pictures of what a classifier should refuse, near to it and far."""

    near: tuple[str, ...] = ()
    far: tuple[str, ...] = ()


class Pairs(Section):
    """Which classes are taken for each other: pairs with both in the `top` likeliest of a train or val picture.

    Of these the most frequent, as few as make up the share `cover` of all occurrences. FuDD has 10 and 1.
    """

    top: Annotated[int, Field(ge=2)] = 5
    cover: Share = 0.9


class ClassListing(Section):
    """A class list, the ways to describe it and the adapters to fit on it.

    `contexts` and `negations` are templates with {} for the class ("a drawing of a {}", "a photo without a {}") and
    `rejections` names of what is none of the classes: texts for the adapters and scores that use them, beside those of
    the methods contexts, negations and near_misses. `pairs` are what differential is about. `templates` make
    a set of texts of that name, each class the mean of its filled templates. `aggregate` says how the texts of a class
    count together for the adapter `vcd` and the audit of descriptions; None: the mean of similarities, as published.
    """

    list: str
    methods: Annotated[tuple[str, ...], AfterValidator(lambda names: _known_names("methods", names, METHODS))] = (
        "description",
        "synonyms",
    )
    adapters: Annotated[tuple[str, ...], AfterValidator(lambda names: _known_names("adapters", names, ADAPTERS))] = (
        "linear",
        "gda",
    )
    aggregate: Aggregate | None = None
    pairs: Pairs = Pairs()
    templates: tuple[Template, ...] = ()
    contexts: tuple[Template, ...] = ()
    negations: tuple[Template, ...] = ()
    rejections: tuple[str, ...] = ()
    unseen: Unseen = Unseen()

    @model_validator(mode="after")
    def _texts_for_adapters(self) -> "ClassListing":
        if "fudd" in self.adapters and "differential" not in self.methods:
            raise ValueError(
                "adapter fudd needs texts about pairs of classes: the method differential; it is not there"
            )
        if "perceptionclip" in self.adapters and not self.contexts and "contexts" not in self.methods:
            raise ValueError("adapter perceptionclip needs contexts or the method contexts; got neither")
        return self


class LanguageModel(Section):
    """An OpenAI-compatible endpoint; `embedded` starts the packaged one. The key comes from OPENAI_API_KEY.

    Prices are US dollars for a million tokens. What a class list costs in all its runs stays within `budget_usd`.
    `batch` sends the requests through the endpoint's Batch API, and the prices are then those of batches.
    """

    base_url: str = "embedded"
    model: str = "smollm2"
    budget_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    prompt_usd_per_million: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    completion_usd_per_million: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    batch: bool = False

    @model_validator(mode="after")
    def _options_go_together(self) -> "LanguageModel":
        if self.budget_usd is not None and not self.prompt_usd_per_million and not self.completion_usd_per_million:
            raise ValueError("budget_usd needs prompt_usd_per_million or completion_usd_per_million; got neither")
        if self.batch and self.base_url == "embedded":
            raise ValueError("batch needs the base_url of an endpoint that has a Batch API; got embedded")
        return self


class Guard(Section):
    """A build whose share of kept pairs differs from `latest` by more than `max_change` is not promoted."""

    max_change: Share = 0.2


class Schedule(Section):
    """When `evenly serve` rebuilds this recipe."""

    cron: str
    timezone: str = "UTC"


class Recipe(Section):
    """Everything that a build is made from."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    seed: Annotated[int, Field(ge=0)]
    web: Literal["openmoji"] | None = None
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    labels: Labels | None = None
    curate: Curate
    features: Features = Features()
    classes: tuple[ClassListing, ...] = ()
    llm: LanguageModel = LanguageModel()
    schedule: Schedule | None = None
    guard: Guard = Guard()

    @model_validator(mode="after")
    def _features_fit(self) -> "Recipe":
        given = [one.encoder for one in self.sources if one.encoder is not None]
        chosen = EncoderName(model=self.features.model, pretrained=self.features.pretrained)
        other = next((one for one in given if one != chosen), None)
        if other is not None:
            raise ValueError(f"features of sources must be of the recipe's encoder {chosen}; got {other}")
        if given and (asked := _asks_for_bytes(self.curate)):
            raise ValueError(f"sources of features hold no pictures: {', '.join(asked)} must be null or left out")
        return self

    @model_validator(mode="after")
    def _sources_mix(self) -> "Recipe":
        names = [source.name for source in self.sources if source.name is not None]
        shares = [source.share for source in self.sources if source.share is not None]
        if len({*names}) < len(names):
            raise ValueError(f"the names of sources must differ; got {', '.join(names)}")
        if shares and (len(shares) < len(self.sources) or abs(sum(shares) - 1) > _SHARES_WITHIN):
            raise ValueError(f"share must be given for every source and sum to 1; got {', '.join(map(str, shares))}")
        return self


def _asks_for_bytes(curate: Curate) -> list[str]:
    """The fields that would judge pictures by their bytes or colours, and so pass those that are not there."""
    asked = []
    for name in ("deduplicate", "decontaminate"):
        section = getattr(curate, name)
        if section is not None and section.semantic is not None and section.colour is not None:
            asked.append(f"{name}.colour")
    if curate.decontaminate is not None and curate.decontaminate.perceptual is not None:
        asked.append("decontaminate.perceptual")
    if curate.safety is not None:
        asked += [f"safety.{name}" for name in ("detector", "files", "looks") if getattr(curate.safety, name)]
    return asked


def read_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe file.

    Raises RecipeError, whose text has one line per problem.
    """
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(
            f"recipe `{path}` must be a readable file; {error.strerror}. `evenly init` writes one."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe `{path}` must be YAML; {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise RecipeError(f"recipe `{path}` must be a mapping of fields; got {kind}. See `evenly init`.")
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        raise RecipeError("\n".join(describe_problems(error, Recipe))) from None


def _check_filters(section: str, rules: Mapping[str, Mapping[str, Any]], known: Mapping[str, Filter]) -> None:
    for name, values in rules.items():
        _known_name(f"{section} filter", name, known)
        try:
            known[name].rule(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{section}.{name}: {error}") from None


def _exactly_one(model: SectionT, names: tuple[str, ...]) -> SectionT:
    given = [name for name in names if getattr(model, name) is not None]
    if len(given) != 1:
        raise ValueError(f"needs exactly one of {', '.join(names)}; got {', '.join(given) or 'none'}")
    return model


def _known_name(what: str, name: str, known: Mapping[str, object]) -> str:
    if name not in known:
        raise ValueError(f"{what} `{name}` is unknown; known: {', '.join(sorted(known))}")
    return name


def _known_names(what: str, names: tuple[str, ...], known: Mapping[str, object]) -> tuple[str, ...]:
    for name in names:
        _known_name(what, name, known)
    return names
