"""The steps of curation in a recipe: the rules of evenly.curation and evenly.storage, nested; and presets of them.

Presets are the filters of DataComp (Gadre et al. 2023, arXiv:2304.14108) as published.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from evenly.bounds import Bits, Levels, Share, Tables
from evenly.curation.balance.judgement import PRESELECT
from evenly.curation.balance.thresholds import BalanceRule, Headroom
from evenly.curation.captions.judgement import RECAPTION
from evenly.curation.duplicates.caption_duplicates import CaptionTwins
from evenly.curation.duplicates.feature_duplicates import Semantic
from evenly.curation.duplicates.image_duplicates import Perceptual
from evenly.curation.duplicates.judgement import (
    DEDUPLICATE_CAPTIONS,
    DEDUPLICATE_EXACT,
    DEDUPLICATE_LINKED,
    DEDUPLICATE_PERCEPTUAL,
    DEDUPLICATE_SEMANTIC,
)
from evenly.curation.duplicates.record_linkage import Linked, MixedCosine
from evenly.curation.encoder_name import EncoderName, StepModel
from evenly.curation.exclusions.judgement import BLOCK_DOMAINS
from evenly.curation.exclusions.safety import BlockedDomains
from evenly.curation.filters import CHECK_IMAGES, CHECK_TEXTS, IMAGE_FILTERS, TEXT_FILTERS, FilterRules
from evenly.curation.reservations.rule import PoolDownload
from evenly.curation.step import Judgement, Need, NoRule
from evenly.curation.steps import STEPS
from evenly.curation.values.judgement import VALUES
from evenly.curation.values.methods import SCORE_FEATURES, MethodsRule
from evenly.curation.values.rule import Place, ScorersRule, Value, ValuesRule
from evenly.curation.values.scoring import SCORES
from evenly.flows.recipe.problems import check_filters, known_name
from evenly.flows.recipe.recaptioning import Recaption
from evenly.flows.recipe.section import Section
from evenly.storage.pools.columns import COLUMNS_OF_STEPS, TAKEN
from evenly.tasks.pictures.pointing import PictureRegionRule

_ENGLISH = {"caption_language": {"languages": ["en"], "min_confidence": 0.5}}  # where English is the likeliest
_CAPTION_FILTER = {
    "caption_length": {"min_words": 2, "max_words": None},
    "caption_characters": {"min_characters": 6},
    **_ENGLISH,
}
# What `curate.preset` stands for. A filter or section that the recipe gives itself takes the place of the preset's.
PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "datacomp_basic": {
        "text": {**_CAPTION_FILTER, "caption_length": {"min_words": 3, "max_words": None}},
        "image": {"image_size": {"min_side": 200}, "image_aspect": {"max_aspect": 3.0}},
    },
    "datacomp_text_based": {"text": {**_ENGLISH, "caption_entities": {}}},
    "datacomp_clip_score": {"align": {"keep_top": 0.3}},
    "datacomp_image_based": {"text": _CAPTION_FILTER},
    "datacomp_image_based_and_clip_score": {"text": _CAPTION_FILTER, "align": {"keep_top": 0.3}},
}
NEED_TARGET = frozenset(name for name in PRESETS if "image_based" in name)


def with_preset(curate: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of curation, those of the preset that it names filled in.

    Raises ValueError for a preset that is unknown, or needs the section image_based where there is none.
    """
    name = curate.get("preset")
    if name is None:
        return dict(curate)
    known_name("preset", name, PRESETS)
    if name in NEED_TARGET and curate.get("image_based") is None:
        raise ValueError(f"preset `{name}` needs image_based with a target; got none")
    filled = dict(curate)
    for section, values in PRESETS[name].items():
        chosen = curate.get(section, values)  # null: off
        filled[section] = (
            {**values, **chosen} if section in ("text", "image") and isinstance(chosen, Mapping) else chosen
        )
    return filled


def _checked_balance(values: object) -> object:
    """The values of `balance` in a recipe, which has `headroom` in another section, if `reference` fits them."""
    if not isinstance(values, Mapping):
        return values
    if "headroom" in values:
        raise ValueError("headroom belongs to preselect, not to balance; move it there")
    if "reference" in values and (values.get("language") is None or values.get("tail_share") is not None):
        raise ValueError("reference needs language, and t or target: tail_share is the same in every language")
    return values


def _of_whole_target(rule: BalanceRule) -> BalanceRule:
    """The rule, whose target is a number of pairs."""
    if rule.target is None:
        return rule
    if rule.target != int(rule.target):
        raise ValueError(f"target must be a whole number of pairs; got {rule.target}")
    return replace(rule, target=int(rule.target))


_MERGING_OFF = {"exact": False, "perceptual": None, "semantic": None, "linked": None}

RecipeBalance = Annotated[BalanceRule, BeforeValidator(_checked_balance), AfterValidator(_of_whole_target)]


def _without_nulls(values: object) -> object:
    """What is named and not null: one that is null is left out."""
    if isinstance(values, Mapping):
        return {name: value for name, value in values.items() if value is not None}
    return {} if values is None else values


Filters = Annotated[
    dict[str, dict[str, Any]],
    BeforeValidator(_without_nulls, json_schema_input_type=dict[str, dict[str, Any] | None] | None),
]
ValueName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
Values = Annotated[
    dict[ValueName, Value], BeforeValidator(_without_nulls, json_schema_input_type=dict[ValueName, Value | None])
]


class Preselect(Section):
    """Balancing before the download, at `headroom` times the final threshold, to allow for losses."""

    headroom: Headroom = 2.0


class Deduplicate(Section):
    """Merge pictures: equal bytes; perceptual hashes within `perceptual` of 64 bits; cosine of at least `semantic`.

    For the last, colours must agree within `colour` levels (null: features decide alone). Looks may also agree within
    `shifted` levels after one change of brightness, saturation or hue (null: not). `tables` of hashing are searched for
    features: more take more time and keep large pools near-linear; docs/deduplication.md. `model`: the encoder of the
    features that `semantic` compares; null: the recipe's.
    """

    exact: bool = True
    perceptual: Bits | None = 16
    shifted: Levels | None = 12.0
    semantic: Share | None = 0.95
    colour: Levels | None = 22.0
    captions: CaptionTwins | None = None
    linked: MixedCosine | None = None
    tables: Tables = 64
    model: StepModel | None = None

    @property
    def perceptual_rule(self) -> Perceptual | None:
        """The rule by which looks are compared."""
        if self.perceptual is None:
            return None
        return Perceptual(max_distance=self.perceptual, max_shifted=self.shifted)

    @property
    def semantic_rule(self) -> Semantic | None:
        """The rule by which features are compared."""
        if self.semantic is None:
            return None
        return Semantic(min_cosine=self.semantic, max_colour=self.colour, tables=self.tables, model=self.model)

    @property
    def linked_rule(self) -> Linked | None:
        """The rule by which features and captions are compared together."""
        return None if self.linked is None else Linked(**vars(self.linked), tables=self.tables)


class _Sections(Section):
    """The sections that are more, or other, than the rule of one step."""

    preset: str | None = None
    text: Filters = Field(default_factory=dict)
    preselect: Preselect | None = None
    download: PoolDownload | None = None
    image: Filters = Field(default_factory=dict)
    deduplicate: Deduplicate | None = None
    recaption: Recaption | None = None
    regions: PictureRegionRule | None = None
    values: Values | None = None
    balance: RecipeBalance | None = None


if TYPE_CHECKING:

    class _AllSections(_Sections):
        def __getattr__(self, name: str) -> Any: ...  # noqa: ANN401 - a rule
else:
    _AllSections = create_model(
        "_AllSections",
        __base__=_Sections,
        **{
            judgement.section: (judgement.rule | None, None)
            for judgement in STEPS.values()
            if judgement.section and judgement.section not in _Sections.model_fields
        },
    )


class Curate(_AllSections):
    """The steps of curation; a section that is left out, or null, switches its step off.

    `preset` fills in the sections of a published filter: flows/recipe/curation.py. Without `download`, captions are
    curated alone: nothing that reads pictures can be on, and `deduplicate` merges near-equal captions of the pool only.
    Without `match`, captions are not matched, and what reads their matches cannot be on; without `balance`, all pairs
    that name a concept are kept.
    """

    @property
    def merging(self) -> Deduplicate:
        """What is merged: nothing without `deduplicate`."""
        return self.deduplicate or Deduplicate.model_validate(_MERGING_OFF)

    def rule_of(self, judgement: Judgement) -> Any | None:  # noqa: ANN401 - of its own class
        """The rule of a step as its section says it; None where that is left out."""
        rule = _RULES.get(judgement.name)
        return getattr(self, judgement.section, None) if rule is None else rule(self)

    @property
    def models(self) -> dict[str, EncoderName]:
        """The encoders that steps name for themselves, by the field that does."""
        named = {
            "align": self.align and self.align.model,
            "rank": self.rank and self.rank.model,
            "regions": self.regions and self.regions.model,
            "image_based": self.image_based and self.image_based.model,
            "deduplicate": self.deduplicate and self.deduplicate.model,
            **{f"values.{name}": value.model for name, value in (self.values or {}).items()},
        }
        return {f"curate.{section}.model": model for section, model in named.items() if model}

    def needing(self, need: Need) -> list[str]:
        """The fields that need something of the pool or of other sections, and are not switched off."""
        names = list[str]()
        for judgement in STEPS.values():
            if (rule := self.rule_of(judgement)) is not None:
                needs = judgement.needs(rule)
                names += [f"{judgement.section}{place}" for place, kinds in needs.items() if need in kinds]
        return names

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: object) -> object:
        return _text_only(with_preset(value)) if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _known(self) -> "Curate":
        for section, rules, filters in (("text", self.text, TEXT_FILTERS), ("image", self.image, IMAGE_FILTERS)):
            check_filters(section, rules, filters)
        return self

    @model_validator(mode="after")
    def _what_sections_read_is_there(self) -> "Curate":
        problems = [
            f"values.{name} must be called as no column of pairs is; got `{name}`. Rename it."
            for name, value in (self.values or {}).items()
            if value.column is None and (name in TAKEN | COLUMNS_OF_STEPS or name.endswith(("_value", "_verdict")))
        ]
        if self.match is None and (names := _reading_matches(self)):
            problems.append(
                f"match must be on for {', '.join(names)}; got none. Write `match: {{}}`, or leave that out."
            )
        of_regions = self.match is not None and self.match.texts == "regions"
        if of_regions and (self.regions is None or self.preselect is not None or self.match.language is not None):
            problems.append(
                "match.texts must be captions without regions, with preselect or with match.language; got regions. "
                "Write `regions: {texts: FILE}` and leave the others out, or leave it out."
            )
        keeps_unmatched = self.match is not None and self.match.unmatched == "keep"
        if keeps_unmatched and (self.recaption is None or self.preselect is not None):
            problems.append(
                "match.unmatched must be drop without recaption, which gives captions that may name a concept, and "
                "with preselect, which drops what names none; got keep. Write `unmatched: drop`."
            )
        if self.balance is None and self.preselect is not None:
            problems.append(
                "balance must be on for preselect; got none. Write `balance: {t: 20000}`, or leave that out."
            )
        if self.download is None and (names := self.needing("pictures")):
            problems.append(without_download(names))
        if problems:
            raise ValueError(" ".join(problems))
        return self


def _preselect_rule(curate: Curate) -> BalanceRule | Preselect | None:
    """The rule of balancing before the download; without `balance`, which is refused, the section."""
    balance, preselect = curate.balance, curate.preselect
    return preselect if balance is None or preselect is None else replace(balance, headroom=preselect.headroom)


def _values_rule(kind: type[ValuesRule] | type[ScorersRule], place: Place, curate: Curate) -> Any | None:  # noqa: ANN401 - of that kind
    """The rule of the values that are looked at there."""
    return kind.at(place, curate.values) if curate.values else None


_RULES: Mapping[str, Callable[[Curate], Any]] = {
    BLOCK_DOMAINS.name: lambda curate: (
        BlockedDomains(domains=curate.safety.domains) if curate.safety and curate.safety.domains else None
    ),
    CHECK_TEXTS.name: lambda curate: FilterRules.of(curate.text, TEXT_FILTERS) if curate.text else None,
    PRESELECT.name: _preselect_rule,
    CHECK_IMAGES.name: lambda curate: (
        FilterRules.of(curate.image, IMAGE_FILTERS) if curate.image or curate.download else None
    ),
    DEDUPLICATE_EXACT.name: lambda curate: NoRule() if curate.merging.exact else None,
    DEDUPLICATE_PERCEPTUAL.name: lambda curate: curate.merging.perceptual_rule,
    DEDUPLICATE_SEMANTIC.name: lambda curate: curate.merging.semantic_rule,
    DEDUPLICATE_LINKED.name: lambda curate: curate.merging.linked_rule,
    DEDUPLICATE_CAPTIONS.name: lambda curate: curate.merging.captions,
    RECAPTION.name: lambda curate: curate.recaption and curate.recaption.rule,
    SCORE_FEATURES.name: lambda curate: MethodsRule.of(curate.values) if curate.values else None,
    **{judgement.name: partial(_values_rule, ValuesRule, place) for place, judgement in VALUES.items()},
    **{judgement.name: partial(_values_rule, ScorersRule, place) for place, judgement in SCORES.items()},
}
"""The rules that are not the whole of a section, by the step's name; a picture without filters may be too costly."""


def without_download(names: Sequence[str]) -> str:
    """The problem of a recipe in which fields look at pictures, and nothing reads these."""
    fields_of_pictures = ", ".join(names)
    return (
        f"{fields_of_pictures} must have the pictures that `download` reads; curate has no `download`. Write a line "
        "`download: {}` in curate: of a folder or shards it reads the pictures that are there and fetches nothing. Or "
        f"leave {fields_of_pictures} out."
    )


def _reading_matches(curate: Curate) -> list[str]:
    """The fields of a recipe that need the concepts of captions, and are not switched off."""
    names = curate.needing("matches")
    if curate.recaption is not None and any(captioner.kind == "retrieved" for captioner in curate.recaption.captioners):
        names.insert(names.index("balance") if "balance" in names else len(names), "recaption by retrieved concepts")
    return names


def _text_only(curate: Mapping[str, Any]) -> Mapping[str, Any]:
    """The sections of curation; without a download, what merges pictures by default is off."""
    merging = curate.get("deduplicate")
    if curate.get("download") is not None or not isinstance(merging, Mapping):
        return curate
    return {**curate, "deduplicate": {**_MERGING_OFF, **merging}}
