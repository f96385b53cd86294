"""The plot of effects: the gain of each claim with its interval, its control's below it, a panel for each encoder."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evenly.audit.report.plots.figures import COLOURS, MARKERS, SERIES, drawn, standing_alone
from evenly.audit.safe_text import visible

_COLOUR = {"shown": "kept", "likely": "merged", "not shown": "muted", "refuted": "dropped"}
_CONTROL = "control"
_LONGEST = 72


def draw_effects(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The text of an SVG file of the lines of `measure_effects` by encoder; claims that were not measured have none."""
    claims = _labels(next(iter(tables.values())))
    ends = [end for lines in tables.values() for _, _, gain in _points(lines) for end in gain]
    with drawn(
        "Gain of each method over its rival on the proving ground, with 95 % intervals",
        width=2.8 * len(tables) + 4.6,
        height=1.2 + 0.24 * len(claims),
        panels=(1, len(tables)),
    ) as (axes, done):
        for panel, (encoder, lines) in zip(axes, tables.items(), strict=True):
            panel.set_title(visible(encoder), fontsize=9, loc="left", color=COLOURS["ink"])
            panel.set_xlabel("gain over the rival; bar: 95 % interval")
            panel.set_yticks(range(len(claims)), [visible(claim) for claim in claims], fontsize=8)
            panel.set_ylim(len(claims) - 0.5, -0.5)
            panel.set_xlim(min(ends, default=0) - 0.03, max(ends, default=1) + 0.03)
            panel.axvline(0, color=COLOURS["ink"], linewidth=0.8)
            for height, name, (estimate, low, high) in _points(lines):
                is_control = name == _CONTROL
                colour = SERIES[1] if is_control else COLOURS[_COLOUR[name]]
                panel.plot([low, high], [height, height], color=colour, linewidth=1.4)
                panel.plot([estimate], [height], MARKERS[is_control], color=colour, markersize=4, label=name)
        named = dict(zip(*reversed(axes[-1].get_legend_handles_labels()), strict=True))
        axes[-1].figure.legend([*named.values()], [*named], loc="outside lower center", ncols=5, fontsize=8.5)
    return standing_alone(done())


def _labels(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """System and rival, and where these are those of several claims the first thing that tells them apart."""
    labels = [f"{line['system']}: {line['rival']}" for line in lines]
    alike = [[lines[place] for place, label in enumerate(labels) if label == shared] for shared in labels]
    differing = [
        next((name for name in ("method", "measure", "condition") if len({line[name] for line in group}) > 1), None)
        for group in alike
    ]
    further = ["" if name is None else f", {line[name]}" for line, name in zip(lines, differing, strict=True)]
    return [f"{label}{text}"[:_LONGEST] for label, text in zip(labels, further, strict=True)]


def _points(lines: Sequence[Mapping[str, Any]]) -> Iterator[tuple[float, str, Sequence[float]]]:
    """Height, verdict or control, and the gain with its interval."""
    for place, line in enumerate(lines):
        if line.get("control_gain") is not None:
            yield place + 0.28, _CONTROL, line["control_gain"]
        if "gain" in line:
            yield place, line["verdict"], line["gain"]
