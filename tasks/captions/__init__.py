"""Captioners: each a kind of its own, by the name that recipes call it."""

from typing import Any

from evenly.tasks.captions.captioner import Captioner
from evenly.tasks.captions.decoded import DECODED
from evenly.tasks.captions.realigned import REALIGNED
from evenly.tasks.captions.retrieved import RETRIEVED
from evenly.tasks.captions.seen import SEEN
from evenly.tasks.captions.tags import TAGS

CAPTIONERS: dict[str, Captioner[Any]] = {
    "seen": SEEN,
    "realigned": REALIGNED,
    "tags": TAGS,
    "decoded": DECODED,
    "retrieved": RETRIEVED,
}
