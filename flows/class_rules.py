"""From class lists and recipes to the rules by which they are described and their adapters fitted."""

from pathlib import Path
from typing import Any

from descriptions.class_list import parse_class_list
from descriptions.methods import METHODS, UnknownMethodError
from flows.recipe import ClassListing, LanguageModel, Recipe
from flows.recipe_files import read_listing
from storage.builds import Builds
from tasks.describe import DESCRIBE, accepted_texts
from tasks.run import Payment, Run

DEFAULT_METHODS = ("description", "synonyms")


def describe_rule(
    *, name: str, text: str, methods: list[str] | tuple[str, ...] | None, llm: LanguageModel
) -> dict[str, Any]:
    """The rule of the step `describe`. Raises ClassListError and UnknownMethodError before anything is started."""
    parse_class_list(text, name)
    chosen = list(methods or DEFAULT_METHODS)
    unknown = [method for method in chosen if method not in METHODS]
    if unknown:
        raise UnknownMethodError(f"`methods` must be of {', '.join(METHODS)}; got `{unknown[0]}`. Choose one of these.")
    return {"list": name, "text": text, "methods": chosen, "base_url": llm.base_url, "model": llm.model}


def payment_of(llm: LanguageModel) -> Payment:
    """How requests to this language model are paid."""
    return Payment(**llm.model_dump(exclude={"base_url", "model"}))


def evaluation_rules(run: Run, recipe: Recipe, path: str | Path, build: str) -> list[dict[str, Any]]:
    """The rule of the step `evaluate_adapters` for each class list of a recipe, on one build.

    Texts are those of the newest description of the list by the recipe's methods and endpoint, where there is one.
    """
    manifest = Builds(run.workspace).read(f"{recipe.name}-latest" if build == "latest" else build)
    return [_evaluation_rule(run, recipe, path, manifest["build"], listing) for listing in recipe.classes]


def _evaluation_rule(run: Run, recipe: Recipe, path: str | Path, build: str, listing: ClassListing) -> dict[str, Any]:
    file = read_listing(path, listing)
    rule = describe_rule(name=file.name, text=file.text, methods=listing.methods, llm=recipe.llm)
    key = DESCRIBE.spec(run, (), rule).key
    described = run.ledger.find(key) is not None
    chosen = listing.model_dump(mode="json", include={"aggregate", "templates"})
    return {
        "build": build,
        "list": file.name,
        "classes": list(parse_class_list(file.text, file.name).classes),
        "adapters": list(listing.adapters),
        "describe": key if described else None,
        "texts": accepted_texts(run, key) if described else {},
        "contexts": list(listing.contexts),
        "negations": list(listing.negations),
        "rejections": list(listing.rejections),
        "unseen": listing.unseen.model_dump(mode="json"),
        "split": None if recipe.labels is None else recipe.labels.split,
    } | {name: value for name, value in chosen.items() if value}
