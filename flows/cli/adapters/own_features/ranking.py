"""`evenly fit --arrays --adapter ranking`: from features of graded images to a saved head, test scores and measures."""

from pathlib import Path
from typing import Any

from evenly.adapters.evaluation.protocols.array_ranking import REQUIRED, fit_ranking, graded_parts
from evenly.adapters.saved_ranking import NAME, PARAMETERS, ranking_arrays, ranking_card
from evenly.flows.cli.adapters.options import FitOptions
from evenly.flows.cli.adapters.own_features.cards import fitted_card
from evenly.flows.cli.adapters.own_features.fit import check_refit, parse_values, plain, saving
from evenly.storage.files.arrays import read_arrays, write_arrays
from evenly.storage.records import replace_text


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
        "seed": options.seed,
    }
    card = ranking_card(tuned.head) | fitted_card(arrays, data, result, normalise=options.normalise)
    with saving(out, card, ranking_arrays(tuned.head), result, made_of=made_of):
        write_arrays(out / "test_scores.npz", {"scores": fit.test_scores, "values": parts["test"].values})
        replace_text(out / "curve.csv", tuned.curve.to_csv(index=False))
    return {**result, "out": str(out)}
