"""Whole sentences about a class, as in CuPL (Pratt et al., What does a platypus look like?, 2023)."""

from dataclasses import dataclass

from evenly.descriptions.chat.request import ChatRequest, Message, Sampling
from evenly.descriptions.method import AsksOfClasses, Surroundings, quoted, with_name
from evenly.descriptions.methods.questions import doubt, gloss_words
from evenly.descriptions.texts.checks import ReplyRules
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.replies import list_schema, read_list
from evenly.descriptions.texts.small_patterns import sentence_of

_KEY = "sentences"
_SAMPLING = Sampling(temperature=0.7, max_tokens=200)
_SMALL = Sampling(temperature=0.5, frequency_penalty=0.8, max_tokens=160)


@dataclass(frozen=True, kw_only=True)
class Prompts(AsksOfClasses):
    """One or two sentences that say what a photo of the class looks like; a text is the sentence.

    Differs from the paper: one question instead of several (the method `questions` of NoLA is for that), JSON instead
    of free text, and a sentence that does not name its class gets the name in front. `gloss` gives the model the
    WordNet definition. With `small_model` the sentences are held to the pattern and checks of `questions`.
    """

    gloss: bool = True
    small_model: bool = False
    wanted: int = 1

    name = "prompts"
    instruction = "Describe what a photo of this class looks like, in one or two whole sentences."

    @property
    def rules(self) -> ReplyRules:
        """A sentence of 5 to 40 words with a visual word and without negation."""
        return ReplyRules(min_words=5, max_words=40, max_characters=300, negation=False, known_words=self.small_model)

    def questions(self, subject: Subject) -> tuple[ChatRequest, ...]:
        """One question."""
        message = Message(role="user", content=f"{quoted(subject, gloss=self.gloss)}\n{self.instruction}")
        pattern = sentence_of(subject.name, gloss_words(subject, gloss=self.gloss)) if self.small_model else None
        schema = list_schema(_KEY, fewest=1, most=2, pattern=pattern)
        return (ChatRequest(messages=(message,), schema=schema, sampling=_SMALL if self.small_model else _SAMPLING),)

    def read(self, reply: str, outcome: str, question: int = 0) -> list[str]:
        """The sentences."""
        del question
        return read_list(reply, key=_KEY, outcome=outcome)

    def refuse(self, subject: Subject, phrase: str, around: Surroundings) -> str:
        """As of `questions`."""
        del around
        return doubt(phrase, subject, gloss=self.gloss) if self.small_model else ""

    def text(self, subject: Subject, phrase: str, other: str | None = None) -> str:
        """The sentence, after the name where it does not hold it."""
        del other
        return with_name(subject.name, phrase)
