"""`evenly link`: the threshold that labelled records choose, how well it links others, and the curve."""

from typing import Any

import pandas as pd

from evenly.flows.cli.adapters.own_features.fit import plain
from evenly.flows.cli.datasets.options import LinkOptions
from evenly.flows.cli.errors import UsageError
from evenly.flows.link_records import link_records
from evenly.flows.process.prefect_api import prefect_api
from evenly.storage.builds import open_build
from evenly.storage.ledger import Ledger
from evenly.storage.records import replace_text
from evenly.tasks.pools.link import LinkRule

DEFAULT_WEIGHT = 0.636
"""Of the picture, where none is named."""


def link_build(truth: str, options: LinkOptions) -> dict[str, Any]:
    """The notes of the step, its `curve` as rows, and a `recipe` line with what was chosen.

    Where `out` is given, the tables `curve` and `records` are written there as CSV.
    """
    weights = options.weight or [DEFAULT_WEIGHT]
    wrong = [weight for weight in weights if not 0 <= weight <= 1]
    if wrong:
        raise UsageError(f"`--weight` must be 0 to 1; got {wrong[0]}. Correct it.")
    workspace, manifest = open_build(options.build, root=options.root)
    rule = LinkRule(build=manifest["build"], truth=truth, weights=tuple(sorted(set(weights))), floor=options.floor)
    with prefect_api():
        key = link_records(rule, root=str(workspace.root))
    ledger = Ledger(workspace)
    record = ledger.get(key)
    notes = plain(dict(record.notes))
    chosen = f"deduplicate: {{linked: {{weight: {notes['weight']:g}, min_cosine: {notes['min_cosine']:g}}}}}"
    facts = {"step": key, "build": manifest["build"], "truth": truth, **notes, "recipe": chosen}
    tables = {name: ledger.table(record, name).to_pylist() for name in ("curve", "records")}
    if (out := options.out) is not None:
        for name, rows in tables.items():
            replace_text(out / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False))
        facts["written"] = [str(out / f"{name}.csv") for name in tables]
    return facts | {"curve": plain(tables["curve"])}
