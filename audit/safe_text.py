"""Text from the web made safe to print: what a terminal or a page would obey is shown instead."""

import unicodedata

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
