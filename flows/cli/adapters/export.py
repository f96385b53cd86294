"""`evenly export-adapter`: a saved adapter as ONNX, or as plain arrays, for other programs."""

from pathlib import Path
from typing import Any

import numpy as np

from evenly.adapters.features import Floats
from evenly.adapters.methods.tip import Tip
from evenly.adapters.methods.tip_f import TipF
from evenly.adapters.ranking import RankingHead
from evenly.flows.cli.adapters.predict import class_names_of, open_adapter
from evenly.flows.cli.errors import UsageError
from evenly.storage.exports.adapters import CacheModel, export_affine_npz, export_cache_onnx, export_onnx


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
