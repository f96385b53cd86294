"""Names of like things that are none of the classes, as in OSLoPrompt (Hassan et al., 2025)."""

from dataclasses import dataclass, replace

from evenly.descriptions.chat.request import ChatRequest, Sampling
from evenly.descriptions.method import Surroundings, TextMethod, question_about
from evenly.descriptions.texts.checks import FEW_WORDS, ReplyRules
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.neighbours import alike, kind_part
from evenly.descriptions.texts.replies import list_schema
from evenly.descriptions.texts.small_patterns import WORDS
from evenly.descriptions.texts.words import other_names_in

_KEY = "names"
_SAMPLING = Sampling(temperature=0.7, max_tokens=120)
_SMALL = Sampling(temperature=0.5, frequency_penalty=0.8, max_tokens=60)


@dataclass(frozen=True, kw_only=True)
class NearMisses(TextMethod):
    """Names of things that look like a class and are not it: texts to reject by, as they are.

    First the neighbours of the class's WordNet sense, then what the model says. Refused: names of the list's classes
    and their lemmas in any text (names_another_class, names_own_class), nouns whose definition begins with a class of
    the list (kind_of_class), nouns that the class's own definition names (in_definition: often what it is a kind of). A
    small model is asked only where there are fewer than `wanted` neighbours, and what it says must be a noun of WordNet
    (unknown_name) whose definition begins like the class's (another_kind). Differs from the paper: names only; no
    picture is made of them and no prompt trained.
    """

    gloss: bool = True
    small_model: bool = False
    wanted: int = 3

    name = "near_misses"
    key = _KEY
    instruction = (
        "Name things that look similar to this class and are easily taken for it, but are something else. "
        "Answer with names of 1 to 3 words."
    )

    @property
    def rules(self) -> ReplyRules:
        """A name of at most 4 words that names no class."""
        return replace(FEW_WORDS, known_words=self.small_model)

    def questions(self, subject: Subject) -> tuple[ChatRequest, ...]:
        """One question; none of a small model where WordNet knows enough neighbours."""
        if self.small_model and len(self.known(subject)) >= self.wanted:
            return ()
        message = question_about(subject, self.instruction, gloss=self.gloss, small_model=self.small_model)
        schema = list_schema(_KEY, fewest=3, most=6, pattern=WORDS if self.small_model else None)
        sampling = _SMALL if self.small_model else _SAMPLING
        return (ChatRequest(messages=(message,), schema=schema, sampling=sampling),)

    def known(self, subject: Subject) -> tuple[str, ...]:
        """The neighbours of its WordNet sense."""
        return subject.neighbours if self.gloss else ()

    def refuse(self, subject: Subject, phrase: str, surroundings: Surroundings) -> str:
        """names_own_class, names_another_class, kind_of_class, in_definition, unknown_name or another_kind."""
        named = other_names_in(phrase, "", surroundings.names)
        if named:
            return "names_own_class" if set(named) & {*subject.own_names, *subject.lemmas} else "names_another_class"
        gloss = surroundings.gloss_of(phrase)
        if other_names_in(kind_part(gloss or ""), "", surroundings.classes):
            return "kind_of_class"
        if other_names_in(subject.gloss or "", "", (phrase,)):
            return "in_definition"
        if phrase in subject.neighbours or not (self.small_model and surroundings.grounded):
            return ""
        if gloss is None:
            return "unknown_name"
        return "another_kind" if subject.gloss and not alike(subject.gloss, gloss) else ""
