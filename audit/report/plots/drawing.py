"""SVG that takes its colours and fonts from the page, so that it follows light and dark; or that stands alone."""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from evenly.audit.safe_text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Stand-ins that matplotlib writes into the SVG -> the page's variables that replace them.
COLOURS = {
    "ink": "#0a0b01",
    "muted": "#0a0b02",
    "line": "#0a0b03",
    "kept": "#0a0b04",
    "dropped": "#0a0b05",
    "failed": "#0a0b06",
    "merged": "#0a0b07",
}
SERIES = ("#0072b2", "#d55e00", "#009e73", "#c46c9c", COLOURS["ink"])
"""For lines that must be told apart: after Okabe and Ito, with 3:1 contrast and more on white and on black."""
MARKERS = ("o", "s", "^", "D", "v")
_ALONE = {
    "ink": "#1f1e1b",
    "muted": "#6a675f",
    "line": "#e3e0d8",
    "kept": "#25705a",
    "dropped": "#ad4720",
    "failed": "#80600f",
    "merged": "#4d5ca3",
    "sans": "system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif",
}
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "text.color": COLOURS["ink"],
    "legend.frameon": False,
    "axes.grid": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    "grid.alpha": 0.6,
}


@contextmanager
def drawn(
    description: str,
    *,
    height: float = 3.0,
    width: float = 6.2,
    panels: tuple[int, int] = (1, 1),
    share: bool = True,
    height_ratios: Sequence[float] | None = None,
) -> Iterator[tuple[list["Axes"], Callable[[], Markup]]]:
    """Axes to draw on, row by row, and a function that gives the SVG once they are drawn.

    `width` and `height` of the whole in inches; `panels` (rows, columns), which `share` their y axis.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    description = visible(description)
    settings = _SETTINGS | {"svg.hashsalt": description}  # ids in the SVG must differ between figures of a page
    with mpl.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
        FigureCanvasSVG(figure)
        axes = list(figure.subplots(*panels, squeeze=False, sharey=share, height_ratios=height_ratios).flat)
        for axis in axes:
            axis.set_facecolor("none")
            axis.set_axisbelow(True)

        def done() -> Markup:
            stream = io.StringIO()
            metadata: Any = {"Date": None, "Creator": None, "Format": None, "Type": None}
            with mpl.rc_context(settings), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Glyph ", UserWarning)  # the reader's fonts draw the text
                figure.savefig(stream, format="svg", metadata=metadata)
            return _themed(stream.getvalue(), description)

        yield axes, done


def standing_alone(svg: Markup) -> str:
    """The text of an SVG file: the colours of the light page written out, on white."""
    text = str(svg)
    for name, value in _ALONE.items():
        text = text.replace(f"var(--{name})", value)
    head = text.index(">") + 1
    return f'{text[:head]}\n <rect width="100%" height="100%" fill="#ffffff"/>{text[head:]}'


def _themed(svg: str, description: str) -> Markup:
    """The svg element alone, with the page's colours and font, scaling with its box, and named for screen readers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(
        r' id="(?:figure|axes|patch|xtick|ytick|line2d|text|legend|matplotlib\.axis|[A-Za-z]*Collection)_\d+"', "", svg
    )
    svg = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font: \1px var(--sans)", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    named = f'<svg role="img" aria-label="{Markup.escape(description)}"'
    return Markup(svg.replace("<svg", named, 1))  # noqa: S704 - matplotlib's output, in which it escapes all text
