"""Text from the web made safe to print: what a terminal or a page would obey is shown instead."""

import unicodedata
from collections.abc import Iterable, Sequence
from html import escape

from evenly.redaction import without_secrets

# Formatting characters that writing systems and emoji need: zero-width joiner and non-joiner.
_HARMLESS = frozenset("\u200c\u200d")
# Control, format, surrogate, private, unassigned, line and paragraph separators.
_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\x1b"}


def visible(text: str) -> str:
    r"""Return `text` in one line, with every character that is not seen as itself written as an escape.

    Terminal sequences (`\x1b[31m`), line ends, direction overrides (`\u202e`), lone surrogates, private and unassigned
    characters lose their effect. Letters of all scripts and emoji, joined ones included, stay. Known secrets do not.
    """
    text = without_secrets(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(letter) if _acts(letter) else letter for letter in text)


def _acts(letter: str) -> bool:
    return letter not in _HARMLESS and unicodedata.category(letter) in _CATEGORIES


def _escape(letter: str) -> str:
    code = ord(letter)
    if letter in _SHORT:
        return _SHORT[letter]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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
    escape (`visible`).
    """
    body = "\n".join("".join(_piece(text, style) for text, style in line) for line in lines)
    return f'<pre class="tex2jax_ignore mathjax_ignore" style="white-space:pre-wrap">{body}</pre>'


def _piece(text: str, style: str) -> str:
    css = ";".join(_CSS[word] for word in style.split() if word in _CSS)
    return f'<span style="{css}">{escape(text)}</span>' if css else escape(text)
