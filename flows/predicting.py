"""`evenly predict`: a saved adapter on pictures that it has not seen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adapters.contract import Adapter
from adapters.evaluation.measures import softmax
from adapters.features_record import Features
from adapters.methods.tip import Tip
from adapters.methods.tip_f import TipF
from adapters.saved import from_arrays
from flows.cli_errors import UsageError
from flows.opening import workspace_run
from storage.adapter_exports import export_affine_npz, export_cache_onnx, export_onnx
from storage.adapter_files import read_adapter
from storage.image_folders import read_pictures
from storage.records import replace_text
from tasks.encoders import encoder_identity
from tasks.pictures import EncodedPictures, encode_pictures
from tasks.run import EncoderChoice, SecondChoice

WRITERS = {".csv", ".jsonl", ".parquet"}


def predict_pictures(
    adapter: Path, images: Path, *, top: int, out: Path | None, column: str | None, root: Path | None
) -> list[dict[str, Any]]:
    """One row per picture: name, class, confidence, the `top` classes with their probabilities, error.

    Confidence is the softmax of the logits, divided by the temperature of the card where it has one. A picture that
    cannot be read or decoded has a row with its error and no class. `out` is written as its suffix says.
    """
    card, fitted = open_adapter(adapter)
    if not card.get("encoder"):
        raise UsageError(
            f"`{adapter}` must name the encoder of its features; it was fitted on arrays. "
            "Fit it on a recipe, or predict from features in Python."
        )
    if out is not None and out.suffix not in WRITERS:
        raise UsageError(f"`--out` must end in one of {', '.join(sorted(WRITERS))}; got `{out}`. Correct it.")
    encoder, second = card["encoder"], card.get("second")
    run = workspace_run(
        root,
        encoder=EncoderChoice(model=encoder["model"], pretrained=encoder["pretrained"]),
        second=SecondChoice(model=second["model"], pretrained=second["pretrained"]) if second else None,
    )
    if encoder_identity(run) != encoder["identity"]:
        raise UsageError(
            f"the encoder `{encoder['model']}` must be the one of the fit, {encoder['identity'][:12]}; got "
            f"{encoder_identity(run)[:12]}. Use the weights of the fit, or fit again."
        )
    encoded = encode_pictures(run, read_pictures(images, column=column))
    rows = _judged(encoded, fitted, card["classes"], float(card.get("temperature") or 1.0), top)
    rows += [{"name": name, "class": None, "confidence": None, "top": [], "error": why} for name, why in encoded.failed]
    if out is not None:
        _write(out, rows)
    return rows


def open_adapter(path: Path) -> tuple[dict[str, Any], Adapter]:
    """The card and the fitted adapter of `<name>.json`, or of the folder that `evenly fit --arrays` wrote."""
    folder, name = (path, "adapter") if path.is_dir() else (path.parent, path.stem)
    card, arrays = read_adapter(folder, name)
    return card, from_arrays(card["adapter"], arrays, card["parameters"], learned=card["learned"])


def export_adapter(adapter: Path, out: Path) -> dict[str, Any]:
    """Write a saved adapter as `.onnx`, or its W and b as `.npz`, as the suffix of `out` says; what was written."""
    card, fitted = open_adapter(adapter)
    classes = list(card.get("classes") or [str(place) for place in range(len(fitted.prototypes_))])
    form = fitted.affine_form()
    if out.suffix not in (".onnx", ".npz"):
        raise UsageError(f"`--out` must end in .onnx or .npz; got `{out}`. Correct it.")
    if form is not None:
        write = export_onnx if out.suffix == ".onnx" else export_affine_npz
        write(out, *form, classes, adapter=str(card["adapter"]), encoder=fitted.encoder_)
    elif isinstance(fitted, Tip | TipF) and out.suffix == ".onnx":
        values = np.eye(len(classes))[fitted.key_labels_]
        export_cache_onnx(
            out,
            fitted.prototypes_,
            fitted.keys_,
            values,
            classes,
            alpha=fitted.alpha,
            beta=fitted.beta,
            logit_scale=fitted.logit_scale,
            adapter=str(card["adapter"]),
            encoder=fitted.encoder_,
        )
    else:
        raise UsageError(
            f"`{card['adapter']}` must have logits of the form W x + b to be written as {out.suffix}; it has not. "
            "Export zero_shot, linear, gda or another of that form (docs/adapters.md)."
        )
    return {"adapter": card["adapter"], "classes": len(classes), "out": str(out)}


def _judged(
    encoded: EncodedPictures, adapter: Adapter, classes: list[str], temperature: float, top: int
) -> list[dict[str, Any]]:
    if not encoded.names:
        return []
    features = Features(image=encoded.image, norms=encoded.norms, second=encoded.second, encoder=adapter.encoder_)
    probabilities = softmax(adapter.decision_function(features) / temperature)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return [
        {
            "name": name,
            "class": classes[best[0]],
            "confidence": float(row[best[0]]),
            "top": [{"class": classes[place], "probability": float(row[place])} for place in best],
            "error": "",
        }
        for name, row, best in zip(encoded.names, probabilities, order, strict=True)
    ]


def _write(out: Path, rows: list[Mapping[str, Any]] | list[dict[str, Any]]) -> None:
    table = pd.DataFrame(rows)
    if out.suffix == ".parquet":
        table.to_parquet(out, index=False)
    elif out.suffix == ".jsonl":
        replace_text(out, table.to_json(orient="records", lines=True, force_ascii=False))
    else:
        tops = [" ".join(f"{one['class']}={one['probability']:.4f}" for one in row["top"]) for row in rows]
        replace_text(out, table.assign(top=tops).to_csv(index=False))
