"""The fields of rules and recipes that are stored, and that keys and content hashes are made of.

A field is stored where it is not as it is by default, or where it has always been stored. So a section, a rule or a
field that is new changes no key and no content hash of what leaves it out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from pydantic import BaseModel

# Per class, the fields with a default that have been stored since before this rule. Closed: a class or a field that is
# new is not added. Where a default changes, raise the version of the steps that read it.
ALWAYS: Mapping[str, str] = {
    "BalanceRule": "law texts reference headroom",
    "CaptionBlocklist": "sha256",
    "CaptionBoilerplate": "patterns",
    "CaptionCharacters": "min_characters max_characters",
    "CaptionEntities": "wordnet sha256",
    "CaptionLanguage": "languages min_confidence among",
    "CaptionLength": "min_words max_words",
    "CaptionRepeats": "n max_share",
    "CaptionTwins": "min_jaccard scope",
    "ChoiceRule": "by margin grammar rates forbid",
    "CollectRule": "limit",
    "ConfusableRule": "top cover classes split build",
    "CorruptionRule": "corruptions strengths",
    "DecodedRule": "pretrained samples top_p temperature max_tokens batch_size precision",
    "Decontamination": "perceptual semantic colour",
    "DescriptionAuditRule": "classes split neighbours most",
    "DiversityRule": "rows sigma frequencies",
    "EncoderChoice": "model pretrained batch_size threads",
    "EvaluationRule": "classes split texts phrases contexts negations rejections unseen describe",
    "FrequencyRule": "build prefix plurals judge",
    "GuardedList": "classes split template synonyms",
    "ImageAspect": "max_aspect",
    "ImageSize": "min_side",
    "Linked": "weight tables",
    "ListSplit": "classes split",
    "MatchRule": "metadata mode plurals",
    "OtherPictures": "template",
    "PairRetrievalRule": "pairs part",
    "PartOfList": "classes split",
    "Perceptual": "max_distance max_colour max_shifted",
    "PoolDownload": "timeout_s retries max_wait_s max_bytes max_pixels respect user_agent_token tolerate",
    "RealignedRule": "samples temperature max_tokens seed max_side prompt texts rounds",
    "RecaptionRule": "choose",
    "RefineRule": "sampler training lists margin",
    "RetrievedRule": "candidates sentence",
    "SafetyRule": "detector files looks max_distance domains",
    "SeenRule": "samples temperature max_tokens seed max_side prompt",
    "Semantic": "min_cosine max_colour tables",
    "SupportRule": "per_class min_image_cosine max_duplicate_cosine",
    "TagsRule": "base_url model samples temperature max_tokens seed max_side examples dropout most",
    "TargetClusters": "clusters iterations",
    "TrainingRule": "rank epochs batch_size learning_rate weight_decay",
    "Unsafe": "threshold classes",
    "UnseenLabels": "near far",
    "WorthRule": "variants seeds training lists unbalanced others",
}
_PAYMENT = "budget_usd prompt_usd_per_million completion_usd_per_million batch concurrency"
# The same of a recipe's content, beside those above.
ALWAYS_IN_RECIPES: Mapping[str, str] = {
    "Align": "keep_top min_score",
    "BalanceRule": "t tail_share target language",
    "Curate": "preset text match preselect download image deduplicate safety decontaminate recaption rank align "
    "image_based balance",
    "Deduplicate": "exact perceptual shifted semantic colour captions linked tables",
    "EncoderChoice": "precision resize long_texts refine device",
    "HeadRank": "keep_top min_score",
    "MatchRule": "language",
    "MixedCosine": "weight",
    "Preselect": "headroom",
    "RealignedRule": _PAYMENT,
    "Recaption": "choose judge read_text",
    "Recipe": "features",
    "RecipeFeatures": "model pretrained batch_size threads",
    "SeenRule": _PAYMENT,
    "TagsRule": _PAYMENT,
}


def stored_fields(value: Any, *, in_recipe: bool = False, without: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - as `value`
    """A rule, or what it holds, as JSON has it: of each class the fields that are stored, but those in `without`."""
    if isinstance(value, Mapping):
        return {name: stored_fields(entry, in_recipe=in_recipe, without=without) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [stored_fields(entry, in_recipe=in_recipe, without=without) for entry in value]
    if not isinstance(value, BaseModel) and not is_dataclass(value):
        return value
    kind = type(value).__name__
    always = {*ALWAYS.get(kind, "").split(), *(ALWAYS_IN_RECIPES.get(kind, "").split() if in_recipe else ())}
    out = (without or {}).get(kind, "").split()
    return {
        name: stored_fields(getattr(value, name), in_recipe=in_recipe, without=without)
        for name, default in _defaults(type(value))
        if name not in out and (name in always or default is MISSING or getattr(value, name) != default)
    }


def _defaults(kind: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - a class
    """Each field of a class, and its default: MISSING where it has none."""
    if issubclass(kind, BaseModel):
        for name, of_model in kind.model_fields.items():
            yield name, MISSING if of_model.is_required() else of_model.get_default(call_default_factory=True)
        return
    for one in fields(kind):
        yield one.name, one.default if one.default_factory is MISSING else one.default_factory()
