"""Visual descriptors of a class, as in Visual Classification via Description (Menon and Vondrick, 2023)."""

import re
from dataclasses import dataclass

from evenly.descriptions.chat.request import ChatRequest, Sampling
from evenly.descriptions.method import Surroundings, TextMethod, question_about
from evenly.descriptions.texts.checks import ReplyRules
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.replies import list_schema, read_list
from evenly.descriptions.texts.small_patterns import FEATURE

_KEY = "features"
_SAMPLING = Sampling(temperature=0.7, max_tokens=300)
_SMALL = Sampling(temperature=0.5, frequency_penalty=0.8, max_tokens=160)
# The first row of each pair is the paper's, whose test "starts with a" also caught "antlers"; the second is ours.
_EMPTY_WORDS = r"\b(?:has|with) (?:an? |the |its )?(?:colors?|shapes?|surface|material|texture)(?![-\w])"
_VAGUE = re.compile(r"\b(?:such as|like|or)\b|" + _EMPTY_WORDS)
_VAGUE_OF_GROUP = re.compile(r"\b(?:such as|like)\b|" + _EMPTY_WORDS)
_JOINS = (
    (r"(?:an?|used)\b|(?:made|shaped|covered|colored|coloured)\b", "which is"),
    (r"(?:has|often|typically|may|can)\b|(?:is|usually|comes)\b", "which"),
)

_PLURAL_VERBS = {"has": "have", "is": "are", "comes": "come"}
_SINGULAR_VERB = re.compile(r"\b(?:has|is|comes)\b")


@dataclass(frozen=True, kw_only=True)
class Description(TextMethod):
    """Short phrases for what tells a class apart in a photograph; a text is "{name}, which has {phrase}".

    Differs from the paper: one question without examples (a small model copies them), JSON instead of bullets, drawn
    at a temperature above 0 so that a second sample differs. `gloss` gives the model the WordNet definition. With
    `small_model` every phrase opens with "has", "with" or "made of", may hold words of WordNet only, and must
    be more than "has colors such as red" (vague).
    """

    gloss: bool = True
    small_model: bool = False
    wanted: int = 3

    name = "description"
    instruction = (
        "List what can be seen in a photo of this class and tells it apart: parts, shape, color, surface, material. "
        "Answer with short phrases of 2 to 8 words."
    )

    @property
    def rules(self) -> ReplyRules:
        """A phrase of at most 14 words with a visual word, without the class's name and without negation."""
        return ReplyRules(max_words=14, own_name=False, negation=False, known_words=self.small_model)

    def questions(self, subject: Subject) -> tuple[ChatRequest, ...]:
        """One question."""
        message = question_about(subject, self.instruction, gloss=self.gloss, small_model=self.small_model)
        schema = list_schema(_KEY, fewest=3, most=6, pattern=FEATURE if self.small_model else None)
        return (ChatRequest(messages=(message,), schema=schema, sampling=_SMALL if self.small_model else _SAMPLING),)

    def read(self, reply: str, outcome: str, question: int = 0) -> list[str]:
        """The phrases; "with" at the start becomes "has"."""
        del question
        return [re.sub(r"^with\b", "has", phrase) for phrase in read_list(reply, key=_KEY, outcome=outcome)]

    def refuse(self, subject: Subject, phrase: str, surroundings: Surroundings) -> str:
        """vague, of a small model: "has colors such as red" repeats the question. A group may have fur or feathers."""
        del surroundings
        vague = _VAGUE_OF_GROUP if subject.noun else _VAGUE
        return "vague" if self.small_model and vague.search(phrase) else ""

    def text(self, subject: Subject, phrase: str, aspect: str | None = None) -> str:
        """Name, join words and phrase."""
        del aspect
        return join(subject.name, phrase, plural=bool(subject.noun))


def join(name: str, phrase: str, *, plural: bool = False) -> str:
    """Text of a phrase: "{name}, which is a ...", "..., which has ..." or "..., which often ...", by its first word.

    A name in the plural takes "are" and "have".
    """
    words = next((words for pattern, words in _JOINS if re.match(pattern, phrase, re.IGNORECASE)), "which has")
    clause = f"{words} {phrase}"
    return f"{name}, {_SINGULAR_VERB.sub(lambda verb: _PLURAL_VERBS[verb[0]], clause, count=1) if plural else clause}"
