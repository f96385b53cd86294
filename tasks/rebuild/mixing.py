"""Mix sources: hold each source of the recipe to its weight, quota or share, before anything is downloaded."""

import pyarrow as pa

from evenly.curation.balance.source_mixing import Mixed, SourceRule
from evenly.curation.balance.source_mixing import mix_sources as mix
from evenly.storage.ledger import StepOutput
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Rule, Step


def mix_sources(run: Run, before: Records, rule: Rule) -> StepOutput:
    """Decide each pair by its source: the value is its draw, `mix_threshold` what that must be below.

    Table `sources`: per source its rule, pairs, threshold and how many are kept.
    """
    pairs = run.ledger.alive(before, ["source"])
    found: Mixed = mix(
        pairs["uid"].combine_chunks(),
        pairs["source"].combine_chunks(),
        {name: SourceRule(**one) for name, one in rule["sources"].items()},
        seed=run.seed,
    )
    decisions: pa.Table = found.decisions.to_table(pairs["uid"])
    notes = {} if found.limiting is None else {"limiting_source": found.limiting}
    return StepOutput(
        decisions=decisions.append_column("mix_threshold", found.thresholds),
        tables={"sources": found.sources},
        notes=notes,
    )


MIX_SOURCES = Step(name="mix_sources", compute=mix_sources, seeded=True)
