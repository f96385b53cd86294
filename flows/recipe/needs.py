"""The needs of a recipe beside evenly itself: packages of extras, and those that hold models.

Nothing is loaded: each check looks for the files that the step would load, and raises what the step would.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from evenly.demo.errors import PicturesError
from evenly.demo.pictures.openmoji import check_openmoji
from evenly.descriptions.chat.embedded import check_embedded_llm
from evenly.descriptions.chat.endpoint import EndpointRule
from evenly.descriptions.errors import EmbeddedModelError
from evenly.features.embedded_weights import LITE0, LITE2, check_packaged
from evenly.features.encoders.engines import check_onnxruntime
from evenly.features.errors import TowerEngineError, WeightsUnavailableError
from evenly.features.open_clip_models import EMBEDDED, EMBEDDED_SECOND
from evenly.flows.recipe import Recipe
from evenly.flows.recipe.problems import RecipeError
from evenly.flows.recipe.recaptioning import Recaption
from evenly.storage.errors import InputError
from evenly.storage.stores.connection import check_client, is_url
from evenly.tasks.ray.cluster import check_ray

_MISSING = (WeightsUnavailableError, TowerEngineError, EmbeddedModelError, PicturesError, InputError)
_ENCODERS: Mapping[str, Callable[[], None]] = {
    EMBEDDED: partial(check_packaged, LITE0),
    EMBEDDED_SECOND: partial(check_packaged, LITE2),
}
DEFAULTS: Mapping[str, Callable[[], None]] = {
    "the default encoder": _ENCODERS[EMBEDDED],
    "the default language model": check_embedded_llm,
}
"""What a recipe needs that names no models, by what needs it."""


def refuse_missing(recipe: Recipe, *, limit: int | None = None) -> None:
    """Raise RecipeError for what a rebuild needs and is not here; one of a `limit` describes no classes."""
    chosen = recipe if limit is None else recipe.model_copy(update={"classes": ()})
    if problems := missing_needs(chosen):
        raise RecipeError("\n".join(problems))


def missing_needs(recipe: Recipe) -> list[str]:
    """A line for each field of a recipe whose packages or packaged models are not here, with what installs them."""
    return [f"`{field}`: {trouble}" for field, trouble in troubles(dict(_needs(recipe)))]


def troubles(checks: Mapping[str, Callable[[], None]]) -> Iterator[tuple[str, str]]:
    """The names of the checks that fail, each with what is missing and what installs it."""
    for name, check in checks.items():
        try:
            check()
        except _MISSING as error:
            yield name, str(error)


def _needs(recipe: Recipe) -> Iterator[tuple[str, Callable[[], None]]]:
    """The needs of each field of a recipe."""
    if recipe.has_pictures and (recipe.features.encode or recipe.curate.needing("features")):
        yield "features.model", _ENCODERS.get(recipe.features.model, _nothing)
        if recipe.features.engine == "onnxruntime":
            yield "features.engine", check_onnxruntime
    for field, model in recipe.curate.models.items():
        yield field, _ENCODERS.get(model.model, _nothing)
    if recipe.features.second is not None and recipe.features.second.model == EMBEDDED:
        yield "features.second", partial(check_packaged, LITE2)
    if recipe.classes and recipe.llm.is_embedded:
        yield "llm", check_embedded_llm
    if recipe.curate.recaption is not None:
        yield from _of_captions(recipe.curate.recaption)
    if recipe.curate.safety is not None and recipe.curate.safety.detector is not None:
        from evenly.features.safety_detector import check_detector

        yield "curate.safety.detector", check_detector
    if recipe.engine.name == "ray":
        yield "engine", check_ray
    if recipe.web == "openmoji":
        yield "web", check_openmoji
    stores = {place: source.path for place, source in enumerate(recipe.sources) if is_url(source.path)}
    yield from ((f"sources.{place}.path", partial(check_client, path)) for place, path in stores.items())


def _of_captions(recaption: Recaption) -> Iterator[tuple[str, Callable[[], None]]]:
    for place, captioner in enumerate(recaption.captioners):
        if isinstance(captioner.rule, EndpointRule) and captioner.rule.is_embedded:
            yield f"curate.recaption.captioners.{place}", check_embedded_llm
    if recaption.judge is not None:
        yield "curate.recaption.judge", _ENCODERS.get(recaption.judge.model, _nothing)
    if recaption.read_text:
        from evenly.features.pictures.text_reader import check_text_reader

        yield "curate.recaption.read_text", check_text_reader


def _nothing() -> None:
    """Weights of a hub, which are downloaded when they are first used."""
