"""`evenly fit --arrays --adapter ranking`: from features of graded images to a saved head, test scores and measures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evenly.adapters.evaluation.protocols.array_ranking import REQUIRED, fit_ranking, graded_parts
from evenly.adapters.saved_ranking import NAME, PARAMETERS, ranking_arrays, ranking_card
from evenly.flows.cli.adapters.own_features.cards import origin_card, parts_hash
from evenly.flows.cli.adapters.own_features.fit import check_folder, check_refit, parse_values, plain
from evenly.storage.artifacts.kinds import ADAPTER, SAVED, put_adapter
from evenly.storage.artifacts.store import Artifacts
from evenly.storage.files.arrays import read_arrays, write_arrays
from evenly.storage.records import replace_json, replace_text


def fit_ranking_file(
    arrays: Path,
    *,
    out: Path,
    parameters: Sequence[str] = (),
    normalise: bool,
    guard: bool | None,
    seed: int,
    force: bool = False,
) -> dict[str, Any]:
    """Fit a ranking head on an .npz of features, write everything to the folder `out`, and return the result.

    Written: `adapter.safetensors` and its card `adapter.json`, `test_scores.npz` (scores, values), `curve.csv`, and
    `result.json`, which holds what is returned.
    """
    check_folder(out)
    values = parse_values(parameters, PARAMETERS)
    rule = {"adapter": NAME, "given": values, "normalise": normalise, "guard": guard, "seed": seed}
    made_of = check_refit(out, arrays, rule, force=force)
    data = read_arrays(arrays, required=REQUIRED, any_length=normalise)
    parts, notes = graded_parts(data, normalise=normalise)
    fit = fit_ranking(parts, parameters=values, guard=guard, seed=seed)
    tuned = fit.tuned
    result = {
        "adapter": NAME,
        "chosen": {} if tuned.strength is None or "strength" in values else {"strength": tuned.strength},
        "given": values,
        "parameters": ranking_card(tuned.head)["parameters"],
        "validation_spearman": plain(tuned.validation_spearman),
        "text_spearman": plain(tuned.text_spearman),
        "kept_text": tuned.kept_text,
        "why": tuned.why,
        "fallback": fit.fallback,
        "notes": list(notes),
        "metrics": plain(dict(fit.metrics)),
        "rows": {name: len(part.values) for name, part in parts.items()},
        "seed": seed,
    }
    card = {
        **ranking_card(tuned.head),
        **origin_card(arrays, data, normalise=normalise),
        "split_hash": parts_hash(data),
        **{name: result[name] for name in ("chosen", "given", "why", "fallback", "notes", "metrics", "seed")},
        "chosen_on": "validation",
    }
    (out / "result.json").unlink(missing_ok=True)
    put_adapter(Artifacts.beside(ADAPTER, out), SAVED, card, ranking_arrays(tuned.head), made_of=made_of, force=True)
    write_arrays(out / "test_scores.npz", {"scores": fit.test_scores, "values": parts["test"].values})
    replace_text(out / "curve.csv", tuned.curve.to_csv(index=False))
    replace_json(out / "result.json", result)
    return {**result, "out": str(out)}
