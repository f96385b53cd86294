"""The page of effects, docs/effects.md, in Markdown: a table for each encoder, and how to read it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

VERDICTS = ("shown", "likely", "not shown", "refuted", "not measured")
_COLUMNS = ("system", "claim", "rival, method", "gain", "control's gain", "ceiling", "groups", "verdict", "to decide")
_READING = """\
# Effects

What each method claims, judged on [the proving ground](ground.md) by an encoder that sees what is planted, and by the
frozen one. Test pictures and their objects are of up to {groups} groups; no drawing of theirs is in a part that
anything was fitted on or chosen by. What is drawn is drawn with {seeds} seeds. This page is made by

```bash
{command}
```

![Gain of each method over its rival, by encoder]({plot})

- **gain**: method less rival on the same pictures, with its 95 % interval over resampled groups.
- **control's gain**: what the method gains over the rival when its input says nothing. **ceiling**: what bounds it.
- **verdict**: *shown* is a gain at 5 % after Holm's correction for all claims of the table, and one over the control.
  *Likely*: the interval is above 0, and it is not shown. *Refuted*: it is below 0. *Not shown*: it spans 0.
- **to decide**: the groups with which an effect of this size would be seen four times in five.

Choices are made on `val`; permuting what is known of the pictures of `test` changes none of them (`--check-choices`).
"""


def effects_page(tables: Mapping[str, Sequence[Mapping[str, Any]]], *, command: str, seeds: int, plot: str) -> str:
    """The page of the lines of `measure_effects` by encoder; command: what made them; plot: the file of their plot."""
    groups = max((line.get("n_groups", 0) for lines in tables.values() for line in lines), default=0)
    parts = [_READING.format(groups=groups, seeds=seeds, command=command, plot=plot)]
    for encoder, lines in tables.items():
        parts.append(f"## By {encoder}\n\n{verdict_counts(lines)}\n\n{_table(lines)}\n")
    return "\n".join(parts)


def verdict_counts(lines: Sequence[Mapping[str, Any]]) -> str:
    """The number of claims with each verdict, in words."""
    counts = Counter(line["verdict"] for line in lines)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) + f" of {len(lines)}."


def shown_values(line: Mapping[str, Any]) -> dict[str, str]:
    """The numbers of a line as text, by the column's name; a claim that was not measured has its reason as gain."""
    if line["verdict"] == "not measured":
        return dict.fromkeys(_COLUMNS[2:], "") | {"gain": line["reason"], "verdict": line["verdict"]}
    return {
        "rival, method": f"{_number(line['rival_value'])}, {_number(line['value'])}",
        "gain": _interval(line["gain"]),
        "control's gain": "" if line["control_gain"] is None else _interval(line["control_gain"]),
        "ceiling": "" if line["ceiling_value"] is None else _number(line["ceiling_value"]),
        "groups": f"{line['n_groups']:,}",
        "verdict": line["verdict"],
        "to decide": "" if line["deciding"] is None else f"{line['deciding']:,}",
    }


def claim_of(line: Mapping[str, Any]) -> str:
    """The claim in a sentence."""
    bounds = "; ".join(f"{name}: {line[name]}" for name in ("control", "ceiling") if line[name])
    claim = f"{line['method']} against {line['rival']}: {line['measure']}; {line['condition']}"
    return f"{claim} ({bounds})" if bounds else claim


def _table(lines: Sequence[Mapping[str, Any]]) -> str:
    head = [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
    rows = [
        {"system": f"{line['system']} ({line['number']})", "claim": claim_of(line), **shown_values(line)}
        for line in lines
    ]
    return "\n".join([*head, *(f"| {' | '.join(row[name] for name in _COLUMNS)} |" for row in rows)])


def _interval(values: Sequence[float]) -> str:
    estimate, low, high = values
    return f"{estimate:+.3f}" if isnan(low) else f"{estimate:+.3f} [{low:+.3f}, {high:+.3f}]"


def _number(value: float) -> str:
    return f"{value:.3f}"
