"""Tokens of the captions of a build, per source, and those that its encoder does not read."""

from collections.abc import Mapping, Sequence
from typing import Any

from evenly.features import Encoder
from evenly.features.texts.tokens import EFFECTIVE_TOKENS, TokenCounts
from evenly.storage.samples import BuildSamples
from evenly.tasks.encoders import CHUNK, open_encoder
from evenly.tasks.run import Run

_OF_PAIRS = ("caption", "chosen_caption")
"""What the pool said of a picture, and what was chosen, where captions were."""


def audit_tokens(run: Run, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens of all captions of the kept pairs of a build, each pair's counted, a row per source and column.

    Of a row: source ("" without a name), column, captions, median, p90, p99 and longest in tokens, with those that mark
    the ends, how many are over_effective, EFFECTIVE_TOKENS, and how many over_context, what the model reads.
    """
    encoder = open_encoder(run)
    samples = BuildSamples(run.workspace, manifest)
    columns = [name for name in _OF_PAIRS if name in samples.columns]
    counts: dict[tuple[str, str], TokenCounts] = {}
    with run.progress.bar("counting tokens", int(manifest["samples"]["kept"])) as advance:
        for table in samples.batches(["source", *columns], samples.kept):
            for rows in table.to_batches(CHUNK):
                for column in columns:
                    _count(encoder, column, rows.to_pylist(), counts)
                advance(rows.num_rows)
    return {
        "build": manifest["build"],
        "context": encoder.context_length,
        "effective": EFFECTIVE_TOKENS,
        "sources": [
            {
                "source": source,
                "column": column,
                "captions": of_source.texts.total(),
                "median": of_source.quantile(0.5),
                "p90": of_source.quantile(0.9),
                "p99": of_source.quantile(0.99),
                "longest": of_source.quantile(1),
                "over_effective": of_source.over(EFFECTIVE_TOKENS),
                "over_context": of_source.over(encoder.context_length),
            }
            for (source, column), of_source in sorted(counts.items())
        ],
    }


def _count(
    encoder: Encoder, column: str, rows: Sequence[Mapping[str, Any]], counts: dict[tuple[str, str], TokenCounts]
) -> None:
    """Add the texts of a column, where there are any, to the counts of their source."""
    filled = [row for row in rows if row[column] is not None]
    tokens = encoder.token_counts([row[column] for row in filled])
    for row, count in zip(filled, tokens, strict=True):
        counts.setdefault((row["source"] or "", column), TokenCounts()).add([count])
