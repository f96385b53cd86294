"""Contexts: looks of pictures besides their object, as in PerceptionCLIP (An et al., 2024)."""

from dataclasses import dataclass
from typing import ClassVar

from evenly.descriptions.chat.request import ChatRequest, Message, Sampling
from evenly.descriptions.method import Phrase, Scope, TextMethod
from evenly.descriptions.texts.checks import ReplyRules
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.replies import list_schema, read_list

_SAMPLING = Sampling(temperature=0.7, max_tokens=200)


@dataclass(frozen=True, kw_only=True)
class Factor:
    """The question about a factor, and values of our own for a small model, which would say one of them again."""

    asks: str
    values: tuple[str, ...]


FACTORS = {
    "background": Factor(
        asks="where the object is, or what is behind it",
        values=("indoors", "outdoors", "in the street", "in the grass", "in the water", "on a white background"),
    ),
    "lighting": Factor(
        asks="the light or the time of day",
        values=("in bright sunlight", "in the shade", "in artificial light", "at night", "at sunset"),
    ),
    "viewpoint": Factor(
        asks="from where the object is seen",
        values=("seen from above", "seen from below", "seen from the side", "seen from afar", "seen from close up"),
    ),
    "style": Factor(
        asks="the kind of picture, such as a drawing",
        values=("as a drawing", "as a painting", "as a cartoon", "as a sculpture", "as a toy", "as an icon"),
    ),
    "quality": Factor(
        asks="how well the picture was taken",
        values=("in sharp focus", "out of focus", "in low resolution", "in black and white", "partly hidden"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Contexts(TextMethod):
    """For each factor (background, lighting, viewpoint, style, quality) phrases that may follow "a photo of a {},".

    About the list as a whole: one question a factor, the class "" and the factor as `other` in the rows. A text is a
    template with {} for the class. Differs from the paper: a language model gives the values; one factor in each
    text instead of the product of all. No class is named in a question, so that an added class asks nothing. A small
    model is not asked: the values are FACTORS's, written by hand. `gloss` changes nothing: a list has no definition.
    """

    gloss: bool = True
    small_model: bool = False
    wanted: int = 4

    name = "contexts"
    scope: ClassVar[Scope] = "list"
    instruction = 'Complete "a photo of an object, ..." Answer with short phrases of 2 to 5 words, all different. About'

    @property
    def rules(self) -> ReplyRules:
        """A phrase of at most 8 words that names no class."""
        return ReplyRules(max_words=8, max_characters=80, visual_word=False, negation=False)

    def questions(self, subject: Subject) -> tuple[ChatRequest, ...]:
        """One for each factor; none of a small model."""
        del subject
        if self.small_model:
            return ()
        return tuple(
            ChatRequest(
                messages=(Message(role="user", content=f"{self.instruction} the {name} only: {factor.asks}."),),
                schema=list_schema(name, fewest=4, most=6),
                sampling=_SAMPLING,
            )
            for name, factor in FACTORS.items()
        )

    def known(self, subject: Subject) -> tuple[Phrase, ...]:
        """The values of FACTORS, of a small model."""
        del subject
        pairs = ((name, value) for name, factor in FACTORS.items() for value in factor.values)
        return tuple(Phrase(text=value, aspect=name) for name, value in pairs) if self.small_model else ()

    def read(self, reply: str, outcome: str, question: int = 0) -> list[Phrase]:
        """The phrases, each with its factor."""
        factor = tuple(FACTORS)[question]
        return [Phrase(text=text, aspect=factor) for text in read_list(reply, key=factor, outcome=outcome)]

    def text(self, subject: Subject, phrase: str, aspect: str | None = None) -> str:
        """A template."""
        del subject, aspect
        return f"a photo of a {{}}, {phrase.rstrip('.')}."
