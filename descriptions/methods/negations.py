"""Texts that say "not this class", for CLIPN's fallback without training (Wang et al., 2023)."""

from dataclasses import dataclass
from typing import ClassVar

from evenly.descriptions.method import Scope, TextMethod
from evenly.descriptions.texts.checks import ReplyRules
from evenly.descriptions.texts.grounding import Subject

LABEL = "hand-written denials on a model that was not trained to deny: a weak baseline"
TEMPLATES = (
    "a photo without a {}",
    "a photo with no {}",
    "a picture with no {} anywhere",
    "a photo of something that is not a {}",
    "an image of anything but a {}",
    "there is no {} in this photo",
    "this is not a {}",
    "a photo that does not show a {}",
    "a scene without any {}",
    "a photo in which the {} is missing",
    "a photo of an object other than a {}",
    "no {} can be seen here",
)


@dataclass(frozen=True, kw_only=True)
class Negations(TextMethod):
    """Templates with {} for the class, written by hand; no model is asked, and they are the same for every list.

    Differs from the paper: about a tenth of its number of templates, in our words, and no trained "no" encoder: see
    LABEL. Encoders as published hardly understand "no", so measure before use.
    """

    name = "negations"
    scope: ClassVar[Scope] = "list"
    instruction = ""
    wanted: int = 0

    @property
    def rules(self) -> ReplyRules:
        """A template with {} once."""
        return ReplyRules(max_characters=100, visual_word=False, template=True)

    def known(self, subject: Subject) -> tuple[str, ...]:
        """The templates."""
        del subject
        return TEMPLATES
