"""The candidates of a pair as lines of text: which became the caption and why, and what each was worth."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evenly.audit.safe_text import visible
from evenly.curation.captions.choice import CHOICE_REASONS, CHOSEN
from evenly.curation.captions.quality import UNSEEN

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
