"""Many sentences about a class by several questions, as in NoLA (Imam et al., CLIP meets DINO, 2024)."""

import re
from dataclasses import dataclass

from evenly.descriptions.chat.request import ChatRequest, Message, Sampling
from evenly.descriptions.method import AsksOfClasses, Surroundings, quoted, with_name
from evenly.descriptions.texts.checks import ReplyRules
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.replies import list_schema, read_list
from evenly.descriptions.texts.small_patterns import sentence_of
from evenly.descriptions.texts.vocabularies import adds_attribute, mostly_visual
from evenly.descriptions.texts.words import says_twice, words_of

_KEY = "sentences"
_TEMPERATURE = 0.99
"""As published."""
_SAMPLING = Sampling(temperature=_TEMPERATURE, max_tokens=80)
_SMALL = Sampling(temperature=0.6, frequency_penalty=0.8, max_tokens=80)
_TASK = frozenset(
    words_of(
        "class classes classification category definition description example image picture sentence attribute json "
        "name called known referred term concept"
    )
)
SHAPES = (
    "Describe what this class looks like.",
    "Describe a photo of this class: colors, shapes and parts.",
    "What does this class look like?",
    "How does this class look from close up?",
    "How can one identify this class in a photo?",
    "What tells this class apart from others of its kind, to the eye?",
)


@dataclass(frozen=True, kw_only=True)
class Questions(AsksOfClasses):
    """Six questions, each answered by one sentence in many samples; a text is the sentence.

    Differs from the paper: JSON instead of free text, so that a sentence ends by itself and not at 50 tokens; the
    domain and the WordNet definition stand in the data of the question where they are known; a sentence that does not
    name its class gets the name in front; repeats are refused. With `small_model` two samples a question instead of
    ten; a pattern makes each begin with the name and "has" or "with" and holds it to the words of the definition, where
    there is one, else to words of WordNet. Refused is then what speaks of the task (prompt_echo), says a word twice
    (repeats), says little that can be seen (little_to_see) or names a color, material or other attribute that the
    definition does not (adds_attribute).
    """

    gloss: bool = True
    small_model: bool = False

    name = "questions"
    instruction = "\n".join((*SHAPES, "Answer in one sentence."))

    @property
    def wanted(self) -> int:
        """Ten sentences a question, two of a small model."""
        return 2 if self.small_model else 10

    @property
    def at_once(self) -> int:
        """A sample for each sentence."""
        return self.wanted

    @property
    def rules(self) -> ReplyRules:
        """A sentence of 5 to 40 words with a visual word and without negation."""
        return ReplyRules(min_words=5, max_words=40, max_characters=300, negation=False, known_words=self.small_model)

    def questions(self, subject: Subject) -> tuple[ChatRequest, ...]:
        """One for each shape."""
        data = quoted(subject, gloss=self.gloss, domain=True)
        pattern = sentence_of(subject.name, gloss_words(subject, gloss=self.gloss)) if self.small_model else None
        schema = list_schema(_KEY, fewest=1, most=1, pattern=pattern)
        return tuple(
            ChatRequest(
                messages=(Message(role="user", content=f"{data}\n{shape} Answer in one sentence."),),
                schema=schema,
                sampling=_SMALL if self.small_model else _SAMPLING,
            )
            for shape in SHAPES
        )

    def read(self, reply: str, outcome: str, question: int = 0) -> list[str]:
        """The sentence."""
        del question
        return read_list(reply, key=_KEY, outcome=outcome)

    def refuse(self, subject: Subject, phrase: str, around: Surroundings) -> str:
        """prompt_echo, little_to_see or adds_attribute, of a small model."""
        del around
        return doubt(phrase, subject, gloss=self.gloss) if self.small_model else ""

    def text(self, subject: Subject, phrase: str, other: str | None = None) -> str:
        """The sentence, after the name where it does not hold it."""
        del other
        return with_name(subject.name, phrase)


def gloss_words(subject: Subject, *, gloss: bool) -> tuple[str, ...]:
    """The words of the definition as they stand there; none without one."""
    return tuple(re.findall(r"\b[a-z]+\b", subject.gloss)) if gloss and subject.gloss else ()


def doubt(sentence: str, subject: Subject, *, gloss: bool) -> str:
    """Why a sentence of a small model is no good: prompt_echo, repeats, little_to_see, adds_attribute; "" else."""
    if not _TASK.isdisjoint(words_of(sentence)):
        return "prompt_echo"
    if says_twice(sentence):
        return "repeats"
    facts = f"{subject.name}; {subject.gloss or ''}"
    if not mostly_visual(sentence, facts):
        return "little_to_see"
    return "adds_attribute" if gloss and subject.gloss and adds_attribute(sentence, facts) else ""
