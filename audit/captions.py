"""Outcomes of a build's captions by who made them, and a pair's candidates as text."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from evenly.audit.published import PublishedBuild
from evenly.audit.safe_text import visible
from evenly.curation.captions.choice import CANDIDATES, CHOICE_REASONS, CHOSEN, GIVEN
from evenly.curation.captions.judgement import RECAPTION
from evenly.curation.captions.outcomes import OriginFacts, caption_outcomes, origin_facts
from evenly.curation.captions.quality import UNSEEN
from evenly.storage.ledger import Ledger, StepRecord


def read_origins(build: PublishedBuild) -> list[OriginFacts]:
    """The origins of a build's captions: the original, twins, then captioners in the order of the recipe.

    Empty where no captions were chosen among candidates.
    """
    record = build.step(RECAPTION.name)
    if record is None or "candidates" not in record.hashes or "caption_origin" not in record.columns:
        return []
    parts = build.each("reading captions", partial(_of_partition, record))
    tables = {name: pa.concat_tables([part[name] for part in parts]) for name in parts[0]}
    kinds = {captioner["name"]: captioner["kind"] for captioner in record.rule.get("captioners", ())}
    names = [*GIVEN, *kinds]
    offering = {*tables["offered"]["origin"].to_pylist(), *tables["chosen"]["origin"].to_pylist()}
    return [origin_facts(name, kinds.get(name, ""), tables) for name in [*names, *sorted(offering - {*names})]]


def _of_partition(record: StepRecord, ledger: Ledger) -> dict[str, pa.Table]:
    decisions = ledger.decisions(record, ["uid", "chosen_caption", "caption_origin"]).combine_chunks()
    return caption_outcomes(_candidates(record, ledger), decisions.rename_columns(["uid", "caption", "origin"]))


def _candidates(record: StepRecord, ledger: Ledger) -> pa.Table:
    """The candidates of a partition; of earlier versions of the step with nulls for what these did not store."""
    names = ["uid", "origin", "caption", "refused", "score", "judged", "ref_clip_score", "flags", "unseen"]
    stored_names = [name for name in names if name in ledger.schema(record, "candidates").names]
    table = ledger.table(record, "candidates", stored_names).combine_chunks()
    for name in set(names) - {*stored_names}:
        kind = CANDIDATES.field(name).type
        table = table.append_column(
            name, pa.repeat("", len(table)) if name == "refused" else pa.nulls(len(table), kind)
        )
    return table.select(names)


CHOICE = frozenset(CHOSEN.names) - {"uid"}
"""Columns of a step that chooses captions."""
_CANDIDATES_SHOWN = 40
_CAPTION_WIDTH = 72
_SCORE_NAMES = {"ref_clip_score": "RefCLIPScore"}


def choice_lines(chosen: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """(name, text, style) of lines: which caption was chosen and why; then each candidate, the chosen one first.

    The others follow by score, refused ones last. Nothing in the lines acts.
    """
    reason = str(chosen["caption_reason"])
    meaning = f"{CHOICE_REASONS[reason]} ({reason})" if reason in CHOICE_REASONS else visible(reason)
    yield "chosen", f"{visible(str(chosen['caption_origin']))}: {meaning}", "dim"
    picked = (chosen["caption_origin"], chosen.get("chosen_caption"))
    ranked = sorted(candidates, key=lambda row: (_is_out(row), -(row["score"] or 0.0), row["origin"], row["sample"]))
    first = next((row for row in ranked if not _is_out(row) and (row["origin"], row["caption"]) == picked), None)
    ordered = [row for row in ranked if row is not first]
    ordered = ordered if first is None else [first, *ordered]
    width = max((len(_maker(row)) for row in ordered), default=0)
    for number, row in enumerate(ordered[:_CANDIDATES_SHOWN]):
        mark = "*" if row is first else " "
        style = "dim" if row is not first else "green"
        yield "" if number else "candidates", f"{mark} {_maker(row):<{width}}  {_candidate(row)}", style
    if len(ordered) > _CANDIDATES_SHOWN:
        yield "", f"and {len(ordered) - _CANDIDATES_SHOWN:,} more candidates (all of them with --json)", "dim"


def _is_out(candidate: Mapping[str, Any]) -> bool:
    return bool(candidate["refused"])


def _maker(candidate: Mapping[str, Any]) -> str:
    return f"{visible(str(candidate['origin']))} {candidate['sample']}"


def _candidate(row: Mapping[str, Any]) -> str:
    """Scores of a candidate, its caption cut to a line, and what speaks against it."""
    scores = [
        f"{_SCORE_NAMES.get(name, name)} {row[name]:7.4f}"
        for name in ("score", "judged", "ref_clip_score", "grammar")
        if row.get(name) is not None
    ]
    against = [f"flags {visible(', '.join(_flags(row)))}"] if row.get("flags") else []
    against += [f"refused {visible(str(row['refused']))}"] if _is_out(row) else []
    request = [f"request {visible(str(row['request_id']))[:12]}"] if row.get("request_id") else []
    return "  ".join(
        [*scores, *([] if row["caption"] is None else [caption_in_quotes(row["caption"])]), *against, *request]
    )


def _flags(row: Mapping[str, Any]) -> list[str]:
    """The flags of a candidate; that of unseen concepts with their names."""
    unseen = ", ".join(row.get("unseen") or ())
    return [f"{flag} ({unseen})" if flag == UNSEEN and unseen else flag for flag in row["flags"]]


def caption_in_quotes(caption: str | None) -> str:
    """A caption in quotes, cut to a line, in which nothing acts."""
    if caption is None:
        return "none"
    text = visible(caption[:_CAPTION_WIDTH])
    return f'"{text}…"' if len(caption) > _CAPTION_WIDTH else f'"{text}"'
