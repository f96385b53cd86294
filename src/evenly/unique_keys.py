"""JSON that people write, read so that no name in an object stands twice: Python alone silently keeps the last."""

import json
import re
from collections.abc import Sequence
from typing import Any

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"\s*:|"(?:[^"\\]|\\.)*"|[{}\[\]]|\n', re.DOTALL)


def read_json(content: str | bytes) -> Any:  # noqa: ANN401 - any JSON value
    """The JSON value; ValueError, whose text says what and where, for a name that stands twice and for anything else.

    What is nested too deeply is a ValueError too.
    """
    text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_unique)
    except _RepeatedNameError:
        raise ValueError(_repetition(text)) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class _RepeatedNameError(Exception):
    pass


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _RepeatedNameError
    return value


def _repetition(text: str) -> str:
    """The line about the first name that stands twice in an object of what is JSON."""
    line, open_objects = 1, list[dict[str, int]]()
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in {"{", "["}:
            open_objects.append({})
        elif token in {"}", "]"}:
            open_objects.pop()
        elif token.endswith(":"):
            name, lines = json.loads(token[:-1].rstrip()), open_objects[-1]
            if name in lines:
                shown = json.dumps(name, ensure_ascii=False)[1:-1]
                return f"names in an object must differ; got `{shown}` in lines {lines[name]} and {line}"
            lines[name] = line
        line += token.count("\n")
    return "names in an object must differ; one stands twice"
