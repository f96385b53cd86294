"""YAML that a stranger may have written: small, shallow, no larger once its aliases are followed, no key twice."""

import re
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

MAX_BYTES = 1_000_000
MAX_VALUES = 50_000  # after aliases; the largest recipe of ours has some hundred
MAX_DEPTH = 40
_HALF = re.compile("[\ud800-\udfff]")


class UnreadableYamlError(ValueError):
    """Text that is no YAML, or more of it than a recipe can need: one line that says what and where."""


def read_yaml(text: str) -> Any:  # noqa: ANN401 - any YAML value
    """The value of one YAML document. Raises UnreadableYamlError."""
    if len(text) > MAX_BYTES:
        raise UnreadableYamlError(f"at most {MAX_BYTES:,} characters; got {len(text):,}")
    try:
        _check_depth(text)
        node = yaml.compose(text, yaml.SafeLoader)
        if node is None:
            return None
        _count(node, {}, ())
        return SafeConstructor().construct_document(node)
    except yaml.YAMLError as error:
        raise UnreadableYamlError(" ".join(str(error).split())) from None
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
        if isinstance(error, UnreadableYamlError):
            raise
        raise UnreadableYamlError(f"values that can be read; got {_reason(error)}") from None


def _check_depth(text: str) -> None:
    """Refuse what is nested so deeply that the parser itself would fail: it calls itself once per level."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise UnreadableYamlError(f"at most {MAX_DEPTH} levels of nesting; got more at line {line}")


def _count(node: yaml.Node, counted: dict[int, int], above: tuple[int, ...]) -> int:
    """Values in and below a node, those of aliases each time they stand there; raises for more than MAX_VALUES."""
    if id(node) in above:
        raise UnreadableYamlError(f"no alias inside its own anchor; got one at line {_line(node)}")
    if id(node) not in counted:
        if isinstance(node, yaml.MappingNode):
            _refuse_repeated(node)
        elif isinstance(node, yaml.ScalarNode) and _HALF.search(node.value):
            raise UnreadableYamlError(f"whole characters; got half of a surrogate pair at line {_line(node)}")
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        below = [item for pair in pairs for item in pair] if pairs else node.value
        children = below if isinstance(node, yaml.CollectionNode) else ()
        counted[id(node)] = 1 + sum(_count(child, counted, (*above, id(node))) for child in children)
    if counted[id(node)] > MAX_VALUES:
        raise UnreadableYamlError(f"at most {MAX_VALUES:,} values, aliases followed; got more at line {_line(node)}")
    return counted[id(node)]


def _refuse_repeated(node: yaml.MappingNode) -> None:
    """Refuse a key that stands twice in a mapping: YAML's reader silently keeps the last."""
    lines: dict[tuple[str, object], int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            value = None if key.tag.endswith(":null") else key.value
            line = _line(key)
            if (key.tag, value) in lines:
                shown = " ".join((key.value if value is not None else "null").split())[:80]
                first = lines[key.tag, value]
                raise UnreadableYamlError(f"keys that differ; got `{shown}` in lines {first} and {line}")
            lines[key.tag, value] = line


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
