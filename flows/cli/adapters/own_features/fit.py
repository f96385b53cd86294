"""`evenly fit --arrays`: from a file of features to a saved adapter or ranking head, test scores, measures, curve."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np
import pandas as pd

from evenly.adapters import adapter_class, adapter_name
from evenly.adapters.contract import Adapter
from evenly.adapters.evaluation.protocols.array_fit import fit_arrays
from evenly.adapters.evaluation.protocols.array_ranking import REQUIRED, fit_ranking, graded_parts
from evenly.adapters.evaluation.tables import losses_in_words, lost_on_test
from evenly.adapters.own_features.arrays import class_names_in, parts_in
from evenly.adapters.saved import to_arrays, to_card
from evenly.adapters.saved_ranking import NAME, PARAMETERS, ranking_arrays, ranking_card
from evenly.flows.cli.adapters.options import FitOptions
from evenly.flows.cli.adapters.own_features.towers import with_tower
from evenly.flows.cli.errors import UsageError
from evenly.storage.artifacts.kinds import ADAPTER, SAVED, put_adapter
from evenly.storage.artifacts.store import Artifacts
from evenly.storage.files.array_keys import PARTS
from evenly.storage.files.arrays import read_arrays, write_arrays
from evenly.storage.records import content_hash, replace_json, replace_text
from evenly.storage.step_records import code_version
from evenly.storage.tables.hashing import file_hash
from evenly.tasks.adapters.prompts import finish_prompts, training_cost

Arrays = Mapping[str, np.ndarray]
SPLIT_KEYS = ("features", "labels", "values", "groups")
OF_RESULT = ("chosen", "given", "why", "fallback", "notes", "metrics", "seed")
"""Of the result of a fit, as the card has it too."""


def fit_array_file(arrays: Path, adapter: str, out: Path, options: FitOptions) -> dict[str, Any]:
    """Fit one adapter on an .npz of features, write everything to the folder `out`, and return the result.

    Written: `adapter.safetensors` and its card `adapter.json`, `test_logits.npz`, `curve.csv`, and `result.json`, which
    holds what is returned: adapter, chosen, given and all parameters, how they were chosen, temperature, metrics, ood,
    ensemble, rows per part, and the cost of training where prompts were.
    """
    kind = adapter_class(adapter)
    fixed = parse_parameters(kind, options.parameter or ())
    made_of = check_refit(out, arrays, adapter_name(adapter), fixed, options)
    data = read_arrays(arrays, any_length=options.normalise)
    parts = with_tower(parts_in(data, normalise=options.normalise), data, [adapter], root=options.root)
    fit = fit_arrays(parts, adapter, parameters=fixed, guard=options.guard, seed=options.seed)
    of_search = ("validation_accuracy", "best_accuracy", "zero_shot_accuracy", "kept_zero_shot", "why")
    result = {
        "adapter": adapter_name(adapter),
        "chosen": plain(dict(fit.tuned.chosen)),
        "given": plain(fixed),
        "parameters": plain(fit.tuned.adapter.get_params()),
        **{name: plain(getattr(fit.tuned, name)) for name in of_search},
        "fallback": fit.fallback,
        "notes": list(parts.notes),
        "temperature": plain(fit.temperature.value),
        "temperature_why": fit.temperature.why,
        "metrics": plain(dict(fit.metrics)),
        "lost_on_test": plain(lost_on_test([{"name": adapter_name(adapter), **fit.metrics}])),
        "ood": plain(fit.unseen.to_dict("records")),
        "ensemble": plain(fit.ensemble.to_dict("records")),
        "rows": {name: len(getattr(parts, name).labels) for name in ("train", "val", "test")},
        "seed": options.seed,
        "training": training_cost(parts.train.features),
    }
    card = {
        **to_card(fit.tuned.adapter),
        **fitted_card(arrays, data, result, normalise=options.normalise),
        **{name: result[name] for name in ("temperature", "temperature_why")},
        "losses": losses_in_words([{"name": result["adapter"], **fit.metrics}]),
        "asked": result["adapter"],
    }
    with saving(out, card, to_arrays(fit.tuned.adapter), result, made_of=made_of):
        write_arrays(out / "test_logits.npz", {"logits": fit.test_logits, "labels": parts.test.labels})
        replace_text(out / "curve.csv", pd.DataFrame(fit.tuned.curve).to_csv(index=False))
    finish_prompts(parts.train.features)
    return {**result, "out": str(out)}


def fit_ranking_file(arrays: Path, out: Path, options: FitOptions) -> dict[str, Any]:
    """Fit a ranking head on an .npz of features, write everything to the folder `out`, and return the result.

    Written: `adapter.safetensors` and its card `adapter.json`, `test_scores.npz` (scores, values), `curve.csv`, and
    `result.json`, which holds what is returned.
    """
    values = parse_values(options.parameter or (), PARAMETERS)
    made_of = check_refit(out, arrays, NAME, values, options)
    data = read_arrays(arrays, required=REQUIRED, any_length=options.normalise)
    parts, notes = graded_parts(data, normalise=options.normalise)
    fit = fit_ranking(parts, parameters=values, guard=options.guard, seed=options.seed)
    tuned, graded = fit.tuned, parts["test"].values  # noqa: PD011 - no frame
    result = {
        "adapter": NAME,
        "chosen": {} if tuned.strength is None or "strength" in values else {"strength": tuned.strength},
        "given": values,
        "parameters": ranking_card(tuned.head)["parameters"],
        **{name: plain(getattr(tuned, name)) for name in ("validation_spearman", "text_spearman", "kept_text", "why")},
        "fallback": fit.fallback,
        "notes": list(notes),
        "metrics": plain(dict(fit.metrics)),
        "rows": {name: len(part.values) for name, part in parts.items()},
        "seed": options.seed,
    }
    card = ranking_card(tuned.head) | fitted_card(arrays, data, result, normalise=options.normalise)
    with saving(out, card, ranking_arrays(tuned.head), result, made_of=made_of):
        write_arrays(out / "test_scores.npz", {"scores": fit.test_scores, "values": graded})
        replace_text(out / "curve.csv", tuned.curve.to_csv(index=False))
    return {**result, "out": str(out)}


def check_refit(out: Path, arrays: Path, adapter: str, values: dict[str, Any], options: FitOptions) -> dict[str, Any]:
    """Of what the adapter of a folder is to be made; InputError where one is there that is made otherwise.

    That is refused before anything is fitted, as is a file in the place of the folder; with `force` it is replaced.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"`--out` must be a folder; got the file `{out}`. Choose another name.")
    rule = {"adapter": adapter, "given": plain(values)}
    rule |= {name: getattr(options, name) for name in ("normalise", "guard", "seed")}
    made_of = {"file": file_hash(arrays), "rule": rule}
    Artifacts.beside(ADAPTER, out).check_free(SAVED, made_of, force=options.force)
    return made_of


@contextmanager
def saving(
    out: Path, card: dict[str, Any], learned: Mapping[str, Any], result: dict[str, Any], *, made_of: dict[str, Any]
) -> Iterator[None]:
    """Write an adapter with its card, then what the caller writes, the result last: where it stands, all others do."""
    (out / "result.json").unlink(missing_ok=True)
    put_adapter(Artifacts.beside(ADAPTER, out), SAVED, card, learned, made_of=made_of, force=True)
    yield
    replace_json(out / "result.json", result)


def fitted_card(path: Path, arrays: Arrays, result: Mapping[str, Any], *, normalise: bool) -> dict[str, Any]:
    """`encoder` and `second` (None where the file does not say), `classes` with their hash, `lineage`, and OF_RESULT.

    `split_hash` is one hash over which rows lie in which part, under which labels or values and groups; no other array
    enters.
    """
    classes = class_names_in(arrays)
    keys = [f"{part}_{key}" for part in PARTS for key in SPLIT_KEYS]
    return {
        "encoder": _encoder(arrays, "encoder"),
        "second": _encoder(arrays, "aux_encoder"),
        "classes": classes,
        "class_list_hash": content_hash(classes),
        "lineage": {
            "file": path.name,
            "sha256": file_hash(path),
            "shapes": {name: str(array.shape) for name, array in arrays.items()},
            "normalised": normalise,
            "code": code_version(),
        },
        "split_hash": content_hash({key: _array_hash(arrays[key]) for key in keys if key in arrays}),
        **{name: result[name] for name in OF_RESULT},
        "chosen_on": "validation",
    }


def _encoder(arrays: Arrays, key: str) -> dict[str, Any] | None:
    if key not in arrays:
        return None
    model, pretrained, identity = (str(text) for text in arrays[key])
    return {"model": model, "pretrained": pretrained or None, "identity": identity}


def _array_hash(array: np.ndarray) -> str:
    return hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode() + array.tobytes()).hexdigest()


def parse_parameters(kind: type[Adapter], options: Sequence[str]) -> dict[str, Any]:
    """`name=value` pairs as values of the types that the adapter's fields have; a wrong one is a usage error."""
    hints = get_type_hints(kind)
    return parse_values(options, {item.name: hints[item.name] for item in fields(kind) if item.init})


def parse_values(texts: Sequence[str], kinds: dict[str, Any]) -> dict[str, Any]:
    """`name=value` pairs as values of the types `kinds`, by name."""
    values: dict[str, Any] = {}
    for pair in texts:
        name, equals, text = pair.partition("=")
        if not equals or name not in kinds:
            raise UsageError(
                f"`--param` must be name=value with a name of {', '.join(sorted(kinds))}; got `{pair}`. Correct it."
            )
        if name in values:
            raise UsageError(f"`--param {name}` must be given once; got it twice. Leave one out.")
        values[name] = _parsed(name, text, kinds[name])
    return values


def _parsed(name: str, text: str, kind: Any) -> Any:  # noqa: ANN401 - a type, and a value of it
    options = get_args(kind)
    if NoneType in options:
        if text.lower() == "none":
            return None
        kind = next(option for option in options if option is not NoneType)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UsageError(f"`--param {name}` must be true or false; got `{text}`. Correct it.")
        return text.lower() == "true"
    if kind not in (int, float):
        return text
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        kind_name = "a whole number" if kind is int else "a number"
        raise UsageError(f"`--param {name}` must be {kind_name}; got `{text}`. Correct it.") from None


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
