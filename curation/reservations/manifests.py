"""C2PA manifests: the training and data mining assertion (CAWG 1.1, before that C2PA 1.x), read from JUMBF and CBOR.

Signatures are not checked: what reserves rights counts whoever wrote it. Of several manifests the active one counts,
the last, else the nearest before it that has such an assertion. Manifests that are compressed are refused.
"""

import json
import struct
from collections.abc import Iterator

from evenly.curation.reservations.blocks import boxes_of

LABELS = ("cawg.training-mining", "c2pa.training-mining")
_USES = ("ai_training", "ai_generative_training", "data_mining")
_FORBIDDEN = frozenset({"notAllowed", "constrained"})  # constrained, without more, is not allowed
_MOST_BYTES, _DEEPEST = 1 << 16, 16


def training_assertion(store: bytes) -> str | None:
    """The assertion that does not allow mining or training, or None. Raises ValueError for what is unreadable."""
    for kind, content in boxes_of(store):
        label, children = _described(content) if kind == b"jumb" else ("", b"")
        if label == "c2pa":
            for manifest in reversed([*boxes_of(children)]):
                statements = [text for text in _assertions(manifest) if text is not None]
                if statements:
                    return next((text for text in statements if text), None)
    return None


def _assertions(manifest: tuple[bytes, bytes]) -> Iterator[str | None]:
    """What each training assertion of a manifest forbids, "" for nothing; None for other boxes."""
    kind, content = manifest
    if kind == b"brob":
        raise ValueError("a compressed manifest")
    for store_kind, store in boxes_of(_described(content)[1]) if kind == b"jumb" else ():
        label, children = _described(store) if store_kind == b"jumb" else ("", b"")
        for assertion_kind, assertion in boxes_of(children) if label == "c2pa.assertions" else ():
            name, boxes = _described(assertion) if assertion_kind == b"jumb" else ("", b"")
            if name.partition("__")[0] in LABELS:
                yield _forbidden(name, boxes)


def _described(content: bytes) -> tuple[str, bytes]:
    """The label of a superbox, "" without one, and the boxes after its description."""
    length, kind = struct.unpack_from(">I4s", content) if len(content) >= 8 else (0, b"")
    if kind != b"jumd" or not 25 <= length <= len(content):
        raise ValueError("a superbox without its description")
    label = content[25:length].partition(b"\0")[0].decode("utf-8", "replace") if content[24] & 2 else ""
    return label, content[length:]


def _forbidden(name: str, boxes: bytes) -> str:
    import cbor2

    (kind, content), *_ = [*boxes_of(boxes)] or [(b"", b"")]
    if len(content) > _MOST_BYTES:
        raise ValueError(f"an assertion of more than {_MOST_BYTES} bytes")
    try:
        if kind == b"cbor":
            parsed = cbor2.loads(content, max_depth=_DEEPEST, strict_hashable_types=True)
        else:
            parsed = json.loads(content)
    except (cbor2.CBORDecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"an assertion that is no {'CBOR' if kind == b'cbor' else 'JSON'}: {error}") from None
    entries = parsed.get("entries", parsed) if isinstance(parsed, dict) else {}
    uses = entries.items() if isinstance(entries, dict) else ()
    forbidden = [
        f"{key} {entry['use']}"
        for key, entry in uses
        if isinstance(key, str) and isinstance(entry, dict) and entry.get("use") in _FORBIDDEN
        and key.rpartition(".")[2] in _USES and key.rpartition(".")[0] in ("cawg", "c2pa")
    ]  # fmt: skip
    return f"{name}: {', '.join(forbidden)}" if forbidden else ""
