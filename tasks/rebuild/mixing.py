"""Mix sources: hold each source of the recipe to its weight, quota or share, before anything is downloaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from evenly.curation.balance.source_mixing import Mixed, SourceRule, mix_sources
from evenly.storage.ledger import StepOutput
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Step, plain_rule


@dataclass(frozen=True, kw_only=True)
class MixRule:
    """The rule of each source that has one, by the source's name."""

    sources: Mapping[str, SourceRule]


def mix_pool(run: Run, upstream: Records, rule: MixRule) -> StepOutput:
    """Decide each pair by its source: the value is its draw, `mix_threshold` what that must be below.

    Table `sources`: per source its rule, pairs, threshold and how many are kept.
    """
    pairs = run.ledger.alive(upstream, ["source"])
    mixed: Mixed = mix_sources(
        pairs["uid"].combine_chunks(),
        pairs["source"].combine_chunks(),
        rule.sources,
        seed=run.seed,
    )
    decisions: pa.Table = mixed.decisions.to_table(pairs["uid"])
    notes = {} if mixed.limiting is None else {"limiting_source": mixed.limiting}
    return StepOutput(
        decisions=decisions.append_column("mix_threshold", mixed.thresholds),
        tables={"sources": mixed.sources},
        notes=notes,
    )


def _stored(rule: MixRule) -> dict[str, Any]:
    """The rules, each with the fields that are given."""
    sources = plain_rule(rule)["sources"].items()
    return {
        "sources": {
            name: {key: value for key, value in rule_of_source.items() if value is not None}
            for name, rule_of_source in sources
        }
    }


MIX_SOURCES = Step(name="mix_sources", rule=MixRule, stored=_stored, compute=mix_pool, seeded=True)
