"""`evenly predict`, `evenly export-adapter`, words of a prompt: saved adapters on new pictures, and in other forms."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evenly.adapters.contract import Adapter
from evenly.adapters.features import Features, Floats
from evenly.adapters.methods.tip import Tip
from evenly.adapters.methods.tip_f import TipF
from evenly.adapters.methods.vcd import DescribedClasses
from evenly.adapters.predictions import Card, class_names_of, explained, predictions, temperature_of
from evenly.adapters.prompts.learner import PromptLearner
from evenly.adapters.ranking import RankingHead
from evenly.adapters.saved import from_arrays
from evenly.adapters.saved_ranking import NAME as RANKING
from evenly.adapters.saved_ranking import ranking_head
from evenly.flows.cli.adapters.options import PredictOptions
from evenly.flows.cli.errors import UsageError
from evenly.flows.runs import encoder_choice, workspace_run
from evenly.signatures import Place
from evenly.storage.artifacts import kinds
from evenly.storage.exports.adapters import CacheModel, export_affine_npz, export_cache_onnx, export_onnx
from evenly.storage.files.image_folders import count_pictures, read_pictures
from evenly.storage.files.predictions import check_predictions_path, write_predictions
from evenly.tasks.adapters.pictures import EncodedPictures, encode_pictures
from evenly.tasks.encoders import encoder_identity, refined_by_identity, second_identity
from evenly.tasks.run import Run, SecondChoice


def check_explains(path: Path, card: Card, fitted: Adapter | RankingHead) -> None:
    """Refuse an adapter that does not judge by texts that can be shown."""
    if not isinstance(fitted, DescribedClasses):
        kept = card.get("chosen_on") and card["adapter"] == "zero_shot" and path.stem.startswith("vcd")
        reason = "where validation kept zero-shot in its place" if kept else f"which is `{card['adapter']}`"
        raise UsageError(
            f"`--explain` must get an adapter that judges by descriptions, vcd; got `{path}`, {reason}. "
            "Fit vcd with the recipe's `adapters`, or on arrays with `--adapter vcd --no-guard`."
        )


Row = dict[str, Any]
CLASSIFIED = ("name", "class", "confidence", "top", "error")
EXPLAINED = ("explanation",)
SCORED = ("name", "score", "error")


def predict_pictures(adapter: Path, images: Path, options: PredictOptions) -> list[Row]:
    """One row per picture, in their order: name, class, confidence, the `top` classes with probabilities, error.

    Confidence is the softmax of the logits, divided by the temperature of the card where it has one (`confidence_note`
    says where not). With `explain`, of an adapter that judges by texts, also `explanation` as `explained` has it. Of a
    ranking head: name, score, error. A picture that cannot be read or decoded has a row with its error and nothing
    else. `out` is written as its suffix says.
    """
    card, fitted = open_adapter(adapter)
    if options.explain:
        check_explains(adapter, card, fitted)
    if options.out is not None:
        check_predictions_path(options.out)
    run = _run_of(card, fitted, adapter, options.root)
    encoded = encode_pictures(run, read_pictures(images, column=options.column), total=count_pictures(images))
    columns = SCORED if isinstance(fitted, RankingHead) else CLASSIFIED + EXPLAINED * options.explain
    judged: list[Row] = []
    if encoded.names:
        features = Features(image=encoded.image, norms=encoded.norms, second=encoded.second, encoder=fitted.encoder_)
        judged = predictions(fitted, features, card, top=options.top)
        if options.explain and isinstance(fitted, DescribedClasses):
            reasons = explained(fitted, features, card)
            judged = [row | {"explanation": explanation} for row, explanation in zip(judged, reasons, strict=True)]
    rows = _in_order(encoded, judged, columns)
    if options.out is not None:
        write_predictions(options.out, rows, columns=columns)
    return rows


def open_adapter(path: Path) -> tuple[Card, Adapter | RankingHead]:
    """The card and the fitted adapter of `<name>.json`, or of the folder that `evenly fit --arrays` wrote."""
    card, arrays = kinds.adapter_at(path)
    if card["adapter"] == RANKING:
        return card, ranking_head(arrays, card)
    return card, from_arrays(card["adapter"], arrays, card["parameters"], learned=card["learned"])


def confidence_note(adapter: Path) -> str:
    """A sentence where validation determined no temperature, so that confidences are uncalibrated; else ""."""
    card, _ = open_adapter(adapter)
    if card["adapter"] == RANKING or temperature_of(card) is not None:
        return ""
    reason = card.get("temperature_why") or "undetermined: validation gave none"
    return f"temperature {reason}; confidences are of the logits as they are, uncalibrated"


def _run_of(card: Card, fitted: Adapter | RankingHead, path: Path, root: Place | None) -> Run:
    """A run with the encoders of the fit, refused where they are not known or have other weights now."""
    uses_second = isinstance(fitted, Adapter) and "second" in fitted.fields_of_rows()
    needs = ["encoder", "second"] if uses_second else ["encoder"]
    for name in needs:
        if not card.get(name):
            raise UsageError(
                f"`{path}` must name the {_title(name)} of its features; it was fitted on arrays that do not say. "
                "Fit it on a recipe, on a file of `evenly extract --images`, or predict from features in Python."
            )
    second = card["second"] if "second" in needs else None
    run = workspace_run(
        root,
        encoder=encoder_choice(card["encoder"], card["encoder"]),
        second=SecondChoice(model=second["model"], pretrained=second["pretrained"]) if second else None,
    )
    run = refined_by_identity(run, card["encoder"]["identity"])
    for name in needs:
        identity = encoder_identity(run) if name == "encoder" else second_identity(run)
        if identity != card[name]["identity"]:
            raise UsageError(
                f"the {_title(name)} `{card[name]['model']}` must be the one of the fit, "
                f"{card[name]['identity'][:12]}; got {identity[:12]}. Use the weights of the fit, or fit again."
            )
    return run


def _title(name: str) -> str:
    return "encoder" if name == "encoder" else "second backbone"


def _in_order(encoded: EncodedPictures, judged: Sequence[Row], columns: Sequence[str]) -> list[Row]:
    """The rows of all pictures, those that failed in their places."""
    nothing: Row = {column: [] if column in ("top", *EXPLAINED) else None for column in columns}
    judged_by_place = dict(zip(encoded.places, zip(encoded.names, judged, strict=True), strict=True))
    failed = iter(encoded.failed)
    rows = []
    for place in range(len(encoded.names) + len(encoded.failed)):
        if place in judged_by_place:
            name, row = judged_by_place[place]
            rows.append(nothing | {"name": _as_text(name), **row, "error": ""})
        else:
            name, reason = next(failed)
            rows.append(nothing | {"name": _as_text(name), "error": reason})
    return rows


def _as_text(name: str) -> str:
    """The name of a file, what is no UTF-8 in it written out in hexadecimal."""
    return name.encode(errors="backslashreplace").decode()


def learned_words(adapter: Path, class_name: str | None = None) -> dict[str, Any]:
    """The nearest word of each learned context vector and its distance, one row each, of all classes or of one.

    `class` is "" where the vectors are of every class. UsageError for an adapter that learned no prompts.
    """
    card, fitted = open_adapter(adapter)
    if not isinstance(fitted, PromptLearner):
        kept = ", where validation kept zero-shot" if card["adapter"] == "zero_shot" and card.get("chosen_on") else ""
        raise UsageError(f"`{adapter}` must be an adapter that learned prompts; got `{card['adapter']}`{kept}.")
    contexts, names = fitted.nearest_words(), class_names_of(card, len(fitted.prototypes_))
    if class_name not in {None, *names}:
        raise UsageError(
            f"`--class` must be a class of the adapter; got `{class_name}`. There: {', '.join(names[:9])}."
        )
    of_contexts = names if len(contexts) == len(names) else [""] * len(contexts)
    rows = [
        {"class": name, "vector": number, "word": word, "distance": distance}
        for name, context in zip(of_contexts, contexts, strict=True)
        for number, (word, distance) in enumerate(context, start=1)
        if class_name is None or name in {"", class_name}
    ]
    return {"adapter": card["adapter"], "place": fitted.place, "encoder": fitted.tower_, "words": rows}


def export_adapter(adapter: Path, out: Path) -> dict[str, Any]:
    """Write a saved adapter as `.onnx`, or its W and b as `.npz`, as the suffix of `out` says; what was written.

    A ranking head is one row of W, called `score`.
    """
    card, fitted = open_adapter(adapter)
    if out.suffix not in (".onnx", ".npz") or out.is_dir():
        raise UsageError(f"`--out` must be a file that ends in .onnx or .npz; got `{out}`. Correct it.")
    name = str(card["adapter"])
    form: tuple[Floats, Floats] | None
    if isinstance(fitted, RankingHead):
        form, classes = (fitted.weight_[None], fitted.bias_), ["score"]
    else:
        form, classes = fitted.affine_form(), class_names_of(card, len(fitted.prototypes_))
    if form is not None:
        write = export_onnx if out.suffix == ".onnx" else export_affine_npz
        write(out, form[0], form[1], classes, adapter=name, encoder=fitted.encoder_)
    elif isinstance(fitted, Tip | TipF) and out.suffix == ".onnx":
        cache = CacheModel(
            prototypes=fitted.prototypes_,
            keys=fitted.keys_,
            values=np.eye(len(classes))[fitted.key_labels_],
            alpha=fitted.alpha,
            beta=fitted.beta,
            logit_scale=fitted.logit_scale,
        )
        export_cache_onnx(out, cache, classes, adapter=name, encoder=fitted.encoder_)
    else:
        raise UsageError(
            f"`{name}` must have logits of the form W x + b to be written as {out.suffix}; it has not. "
            "Export zero_shot, linear, gda or another of that form (docs/adapters.md)."
        )
    return {"adapter": name, "classes": len(classes), "out": str(out)}
