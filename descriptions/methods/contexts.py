"""What pictures of anything are like besides their object, as in PerceptionCLIP (An et al., 2024)."""

import json
from dataclasses import dataclass
from typing import ClassVar

from descriptions.chat_request import ChatRequest, Message, Sampling
from descriptions.checks import ReplyRules
from descriptions.grounding import Subject
from descriptions.method import AsksOfClasses, Phrase, Scope
from descriptions.replies import list_schema, read_lists

_SAMPLING = Sampling(temperature=0.7, max_tokens=200)
_SMALL = Sampling(temperature=0.5, frequency_penalty=0.8, max_tokens=120)


@dataclass(frozen=True, kw_only=True)
class Factor:
    """What is asked about a factor, and the pattern to which a small model is held."""

    asks: str
    pattern: str


FACTORS = {
    "background": Factor(
        asks="where the object is, or what is behind it", pattern="(in|on|beside|near) (a|an|the) [a-z]{3,12}"
    ),
    "lighting": Factor(
        asks="the light or the time of day",
        pattern="(in|under) (the )?[a-z]{3,10} (light|sunlight|shadow|shade)|at (night|dawn|dusk|noon|sunset)",
    ),
    "viewpoint": Factor(
        asks="from where the object is seen",
        pattern="seen from (above|below|behind|the (side|front|back|top|left|right)|far away|close up|a distance)",
    ),
    "style": Factor(
        asks="the kind of picture, such as a drawing",
        pattern="as an? [a-z]{3,12} (drawing|painting|sketch|cartoon|print|sculpture|icon|photograph)",
    ),
    "quality": Factor(
        asks="how well the picture was taken",
        pattern="(in|with|of) (high|low|good|poor|sharp|soft|bright|pale) (resolution|quality|focus|contrast|colors)",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Contexts(AsksOfClasses):
    """For each factor (background, lighting, viewpoint, style, quality) phrases that may follow "a photo of a {},".

    About the list as a whole: one question a factor, the class "" and the factor as `other` in the rows. A text is a
    template with {} for the class. Differs from the paper: a language model gives the values, for the domain where it
    is known; one factor in each text instead of the product of all. No class is named in a question, so that an added
    class asks nothing. `gloss` changes nothing: a list has no definition.
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
        return ReplyRules(
            min_words=2,
            max_words=8,
            max_characters=80,
            visual_word=False,
            negation=False,
            known_words=self.small_model,
        )

    def questions(self, subject: Subject) -> tuple[ChatRequest, ...]:
        """One for each factor."""
        data = f"{json.dumps({'domain': subject.domain}, ensure_ascii=False)}\n" if subject.domain else ""
        return tuple(
            ChatRequest(
                messages=(Message(role="user", content=f"{data}{self.instruction} the {name} only: {factor.asks}."),),
                schema=list_schema(name, fewest=4, most=6, pattern=f"({factor.pattern})" if self.small_model else None),
                sampling=_SMALL if self.small_model else _SAMPLING,
            )
            for name, factor in FACTORS.items()
        )

    def read(self, reply: str, outcome: str, question: int = 0) -> list[Phrase]:
        """The phrases, each with its factor."""
        del question
        found = read_lists(reply, keys=tuple(FACTORS), outcome=outcome)
        return [Phrase(text=text, other=factor) for factor, texts in found.items() for text in texts]

    def text(self, subject: Subject, phrase: str, other: str | None = None) -> str:
        """A template."""
        del subject, other
        return f"a photo of a {{}}, {phrase.rstrip('.')}."
