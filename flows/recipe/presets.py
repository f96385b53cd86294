"""Parts of a recipe by one name: the filters of DataComp (Gadre et al. 2023, arXiv:2304.14108) as published."""

from collections.abc import Mapping
from typing import Any

from evenly.flows.recipe.section import known_name

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
        chosen = curate.get(section)
        if chosen is None:
            filled[section] = values
        elif section in ("text", "image") and isinstance(chosen, Mapping):
            filled[section] = {**values, **chosen}
    return filled
