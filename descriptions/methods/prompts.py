"""Whole sentences about a class, as in CuPL (Pratt et al., What does a platypus look like?, 2023)."""

from dataclasses import dataclass

from evenly.descriptions.chat.request import ChatRequest, Sampling
from evenly.descriptions.method import question_about
from evenly.descriptions.sentences import KEY, SentenceMethod
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.replies import list_schema

_SAMPLING = Sampling(temperature=0.7, max_tokens=200)
_SMALL = Sampling(temperature=0.5, frequency_penalty=0.8, max_tokens=160)


@dataclass(frozen=True, kw_only=True)
class Prompts(SentenceMethod):
    """One or two sentences that say what a photo of the class looks like; a text is the sentence.

    Differs from the paper: one question instead of several (the method `questions` of NoLA is for that), JSON instead
    of free text, and a sentence that does not name its class gets the name in front. `gloss` gives the model the
    WordNet definition. With `small_model` the sentences are held to the pattern and checks of `questions`.
    """

    wanted: int = 1

    name = "prompts"
    instruction = "Describe what a photo of this class looks like, in one or two whole sentences."

    def questions(self, subject: Subject) -> tuple[ChatRequest, ...]:
        """One question."""
        message = question_about(subject, self.instruction, gloss=self.gloss, small_model=self.small_model)
        schema = list_schema(KEY, fewest=1, most=2, pattern=self.pattern(subject))
        return (ChatRequest(messages=(message,), schema=schema, sampling=_SMALL if self.small_model else _SAMPLING),)
