"""Other names of a class by a language model, as in REAL (Parashar et al., 2024)."""

import json
from dataclasses import dataclass, replace

from evenly.descriptions.chat.request import ChatRequest, Message, Sampling
from evenly.descriptions.method import Surroundings, TextMethod, question_about
from evenly.descriptions.texts.checks import ReplyRules
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.neighbours import alike, kind_part
from evenly.descriptions.texts.replies import list_schema
from evenly.descriptions.texts.small_patterns import WORDS
from evenly.descriptions.texts.words import other_names_in

_KEY = "names"
_SAMPLING = Sampling(temperature=0.7, max_tokens=120)
_SMALL = Sampling(temperature=0.3, frequency_penalty=0.8, max_tokens=60)

EXAMPLES = (
    ("couch", ("sofa", "settee")),
    ("aeroplane", ("airplane", "plane")),
    ("spectacles", ("glasses", "eyeglasses")),
)
"""What a small model is shown; written by hand for this."""


@dataclass(frozen=True, kw_only=True)
class LlmSynonyms(TextMethod):
    """Common names of the class, in English; a text is the name.

    Which of them mean the class to an encoder is the filter's part, which is REAL's: synonyms.consistent_synonyms.
    Differs from REAL: JSON instead of a numbered list, the WordNet definition in the question, and no check by hand.
    Refused: WordNet lemmas of other classes of the list (names_another_class) and words of the class's definition
    (in_definition: a kind or a part). "English" is checked by script. Small models invent names: prefer `synonyms` of
    WordNet with them; here they are shown EXAMPLES, and theirs must be nouns of WordNet (unknown_name) whose definition
    begins like the class's (another_kind). The singular of a plural name is a text; a noun whose definition begins with
    it is a kind of it, not its name (kind_of_class).
    """

    gloss: bool = True
    small_model: bool = False
    wanted: int = 1

    name = "llm_synonyms"
    key = _KEY
    instruction = (
        "List the common names and synonyms by which people call this class in English, each of 1 to 3 words. "
        "Only names for exactly this, none for a part, a kind or something similar."
    )

    @property
    def rules(self) -> ReplyRules:
        """A name of at most 6 words that is no other class's name."""
        rules = ReplyRules(max_words=6, max_characters=100, visual_word=False, negation=False, singular=True)
        return replace(rules, known_words=self.small_model)

    def questions(self, subject: Subject) -> tuple[ChatRequest, ...]:
        """One question."""
        message = question_about(subject, self.instruction, gloss=self.gloss, small_model=self.small_model)
        turns = [turn for name, names in EXAMPLES for turn in self._example(name, names)] if self.small_model else []
        schema = list_schema(_KEY, fewest=1, most=6, pattern=WORDS if self.small_model else None)
        sampling = _SMALL if self.small_model else _SAMPLING
        return (ChatRequest(messages=(*turns, message), schema=schema, sampling=sampling),)

    def _example(self, name: str, names: tuple[str, ...]) -> tuple[Message, Message]:
        data = json.dumps({"class": name}, ensure_ascii=False)
        question = Message(role="user", content=f"{data}\n{self.instruction}")
        return question, Message(role="assistant", content=json.dumps({_KEY: list(names)}, ensure_ascii=False))

    def refuse(self, subject: Subject, phrase: str, surroundings: Surroundings) -> str:
        """names_another_class, in_definition, unknown_name or another_kind; of a group also kind_of_class."""
        named = other_names_in(phrase, subject.name, surroundings.names)
        if set(named) - set(subject.lemmas):
            return "names_another_class"
        if named:
            return ""
        if other_names_in(subject.gloss or "", "", (phrase,)):
            return "in_definition"
        gloss = surroundings.gloss_of(phrase)
        if subject.noun and other_names_in(kind_part(gloss or ""), "", subject.own_names):
            return "kind_of_class"
        return self._doubt(subject, gloss) if self.small_model and surroundings.grounded else ""

    def _doubt(self, subject: Subject, gloss: str | None) -> str:
        if gloss is None:
            return "unknown_name"
        return "another_kind" if subject.gloss and not alike(subject.gloss, gloss) else ""
