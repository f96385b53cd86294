"""From class lists and recipes to the rules by which they are described and their adapters fitted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.methods import METHODS, UnknownMethodError
from evenly.flows.cli.classes.edited_texts import edited_description
from evenly.flows.recipe import Recipe
from evenly.flows.recipe.classes import ClassListing, LanguageModel, Pairs
from evenly.flows.recipe.files import ListingText, read_listing
from evenly.storage.builds import Builds
from evenly.storage.ledger import StepRecord
from evenly.tasks.classes.confusable import FIND_CONFUSABLE
from evenly.tasks.classes.describe import (
    METHODS_ABOUT_PAIRS,
    accepted_pair_texts,
    accepted_phrases,
    accepted_texts,
    finished_description,
)
from evenly.tasks.run import Payment, Run

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


def pairs_rule(rule: Mapping[str, Any], *, pairs: Pairs, build: str | None, split: str | None) -> dict[str, Any] | None:
    """The rule of the step `find_confusable` before `describe` by `rule`; None where no method is about pairs."""
    if METHODS_ABOUT_PAIRS.isdisjoint(rule["methods"]):
        return None
    classes = list(parse_class_list(rule["text"], rule["list"]).classes)
    return {"list": rule["list"], "classes": classes, "build": build, "split": split} | pairs.model_dump(mode="json")


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
    split = None if recipe.labels is None else recipe.labels.split
    rule = describe_rule(name=file.name, text=file.text, methods=listing.methods, llm=recipe.llm)
    wanted = pairs_rule(rule, pairs=listing.pairs, build=build, split=split)
    described = _finished_description(run, rule, wanted)
    edited = _edited(run, path, listing, file)
    chosen = listing.model_dump(mode="json", include={"aggregate", "frequent_names", "templates"})
    return {
        "build": build,
        "list": file.name,
        "classes": list(parse_class_list(file.text, file.name).classes),
        "adapters": list(listing.adapters),
        **_texts(run, described, edited),
        "contexts": list(listing.contexts),
        "negations": list(listing.negations),
        "rejections": list(listing.rejections),
        "unseen": listing.unseen.model_dump(mode="json"),
        "split": split,
        **({} if wanted is None else _about_pairs(run, listing, described)),
    } | {name: value for name, value in chosen.items() if value}


def _finished_description(run: Run, rule: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> StepRecord | None:
    """The record of `describe` by the rule, after that of `find_confusable` by `wanted`; None where one is missing."""
    before: tuple[StepRecord, ...] = ()
    if wanted is not None:
        confusable = run.ledger.find(FIND_CONFUSABLE.spec(run, (), wanted).key)
        if confusable is None:
            return None
        before = (confusable,)
    return finished_description(run, before, rule)


def _edited(run: Run, path: str | Path, listing: ClassListing, file: ListingText) -> StepRecord | None:
    """The texts that the recipe gives by a file beside it, as the record that holds them."""
    if listing.given is None:
        return None
    return edited_description(run.ledger, file, Path(path).resolve().parent / listing.given, method="description")


def _texts(run: Run, described: StepRecord | None, edited: StepRecord | None) -> dict[str, Any]:
    """`describe`, `texts` and `phrases`: those of the description, but of the edited methods what a person gave.

    `given` says which methods these are, of which file.
    """
    known = [record for record in (described, edited) if record is not None]
    texts = {method: found for record in known for method, found in accepted_texts(run, record).items()}
    phrases = [accepted_phrases(run, record) for record in known if "description" in record.rule["methods"]]
    found = {"describe": known[0].key if known else None, "texts": texts, "phrases": phrases[-1] if phrases else {}}
    if edited is None:
        return found
    about = {name: edited.notes[name] for name in ("methods", "file", "sha256")}
    return found | {"given": about | {"step": edited.key}}


def _about_pairs(run: Run, listing: ClassListing, described: StepRecord | None) -> dict[str, Any]:
    """The texts about pairs, and about how many pairs of how many they are."""
    facts = {} if described is None else {name: described.notes[name] for name in ("pairs_asked", "pairs_possible")}
    return {
        "pair_texts": [] if described is None else accepted_pair_texts(run, described),
        "pairs": {"top": listing.pairs.top} | facts,
    }
