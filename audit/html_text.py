"""Styled lines of text as HTML for a notebook: what came from the web stays text there too."""

from collections.abc import Iterable, Sequence
from html import escape

Line = Sequence[tuple[str, str]]
"""Pieces of (text, style); a style is some of rich's words, as in "bold red"."""

_CSS = {
    "bold": "font-weight:bold",
    "dim": "opacity:0.65",
    "green": "color:#1a7f37",
    "red": "color:#cf222e",
    "yellow": "color:#9a6700",
    "cyan": "color:#1b7c83",
}


def as_html(lines: Iterable[Line]) -> str:
    """The lines as one block of preformatted text, every character of which is shown as itself.

    In `<pre>`, so that no `$...$` in a caption is typeset as a formula; what acts in plain text is for the caller to
    escape (`safe_text.visible`).
    """
    body = "\n".join("".join(_piece(text, style) for text, style in line) for line in lines)
    return f'<pre class="tex2jax_ignore mathjax_ignore" style="white-space:pre-wrap">{body}</pre>'


def _piece(text: str, style: str) -> str:
    css = ";".join(_CSS[word] for word in style.split() if word in _CSS)
    return f'<span style="{css}">{escape(text)}</span>' if css else escape(text)
