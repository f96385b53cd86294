"""`evenly fit --arrays`: from a file of features to a saved adapter, test logits, measures and the search's curve."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adapters import adapter_class, adapter_name
from adapters.arrays import Parts, parts_of
from adapters.contract import Adapter
from adapters.evaluation.array_fit import ArrayFit, fit_arrays
from adapters.saved import to_arrays, to_card
from flows.cli_errors import UsageError
from storage.adapter_files import write_adapter
from storage.array_files import read_arrays, write_arrays
from storage.records import content_hash, replace_record, replace_text


def fit_array_file(
    arrays: Path, *, adapter: str, out: Path, parameters: Sequence[str] = (), normalise: bool, guard: bool, seed: int
) -> dict[str, Any]:
    """Fit one adapter on an .npz of features, write everything to the folder `out`, and return the result.

    Written: `adapter.safetensors` and its card `adapter.json`, `test_logits.npz`, `curve.csv`, and `result.json`, which
    holds what is returned: adapter, chosen, how it was chosen, metrics, ood, rows per part, the hash of the input.
    """
    kind = adapter_class(adapter)
    fixed = parse_parameters(kind, parameters)
    found = read_arrays(arrays, any_length=normalise)
    parts = parts_of(found, normalise=normalise)
    fit = fit_arrays(parts, adapter, parameters=fixed, guard=guard, seed=seed)
    result = {
        "adapter": adapter_name(adapter),
        "chosen": plain(dict(fit.tuned.chosen)),
        "given": plain(fixed),
        "validation_accuracy": plain(fit.tuned.validation_accuracy),
        "best_accuracy": plain(fit.tuned.best_accuracy),
        "zero_shot_accuracy": plain(fit.tuned.zero_shot_accuracy),
        "kept_zero_shot": fit.tuned.kept_zero_shot,
        "why": fit.tuned.why,
        "fallback": fit.tuned.adapter.fallback_,
        "metrics": plain(dict(fit.metrics)),
        "ood": plain(fit.unseen.to_dict("records")),
        "rows": {name: len(getattr(parts, name).labels) for name in ("train", "val", "test")},
        "seed": seed,
    }
    _write(out, fit, result, parts, {name: list(map(str, array.shape)) for name, array in found.items()})
    return {**result, "out": str(out)}


def parse_parameters(kind: type[Adapter], given: Sequence[str]) -> dict[str, Any]:
    """`name=value` pairs as values of the types that the adapter's defaults have; a wrong one is a usage error."""
    defaults = {item.name: item.default for item in fields(kind) if item.init}
    found: dict[str, Any] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or name not in defaults:
            raise UsageError(
                f"`--param` must be name=value with a name of {', '.join(sorted(defaults))}; got `{pair}`. Correct it."
            )
        found[name] = _parsed(name, text, defaults[name])
    return found


def _parsed(name: str, text: str, default: object) -> Any:  # noqa: ANN401 - of the default's type
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise UsageError(f"`--param {name}` must be true or false; got `{text}`. Correct it.")
        return text.lower() == "true"
    if isinstance(default, str):
        return text
    try:
        return int(text) if isinstance(default, int) else float(text)
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise UsageError(f"`--param {name}` must be {kind}; got `{text}`. Correct it.") from None


def plain(value: Any) -> Any:  # noqa: ANN401 - any value of a result
    """The value as JSON holds it: Python numbers and lists, null for NaN."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _write(out: Path, fit: ArrayFit, result: dict[str, Any], parts: Parts, shapes: dict[str, list[str]]) -> None:
    """The result last: where it stands, all the others do."""
    card = to_card(fit.tuned.adapter) | {
        "why": result["why"],
        "chosen": result["chosen"],
        "chosen_on": "validation",
        "metrics": result["metrics"],
        "input": {"shapes": shapes, "train": content_hash([int(label) for label in parts.train.labels])},
    }
    write_adapter(out, "adapter", card, to_arrays(fit.tuned.adapter))
    write_arrays(out / "test_logits.npz", {"logits": fit.test_logits, "labels": parts.test.labels})
    replace_text(out / "curve.csv", pd.DataFrame(fit.tuned.curve).to_csv(index=False))
    replace_record(out / "result.json", result)
