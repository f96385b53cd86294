"""Many sentences about a class by several questions, as in NoLA (Imam et al., CLIP meets DINO, 2024)."""

from dataclasses import dataclass

from evenly.descriptions.chat.request import ChatRequest, Sampling
from evenly.descriptions.method import question_about
from evenly.descriptions.sentences import KEY, SentenceMethod
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.replies import list_schema

_TEMPERATURE = 0.99
"""As published."""
_SAMPLING = Sampling(temperature=_TEMPERATURE, max_tokens=80)
_SMALL = Sampling(temperature=0.6, frequency_penalty=0.8, max_tokens=80)
SHAPES = (
    "Describe what this class looks like.",
    "Describe a photo of this class: colors, shapes and parts.",
    "What does this class look like?",
    "How does this class look from close up?",
    "How can one identify this class in a photo?",
    "What tells this class apart from others of its kind, to the eye?",
)


@dataclass(frozen=True, kw_only=True)
class Questions(SentenceMethod):
    """Six questions, each answered by one sentence in many samples; a text is the sentence.

    Differs from the paper: JSON instead of free text, so that a sentence ends by itself and not at 50 tokens; the
    WordNet definition stands in the data of the question where it is known; a sentence that does not name its class
    gets the name in front; repeats are refused. With `small_model` two samples a question instead of
    ten; a pattern makes each begin with the name and "has" or "with" and holds it to the words of the definition, where
    there is one, else to words of WordNet. Refused is then what speaks of the task (prompt_echo), says a word twice
    (repeats), says little that can be seen (little_to_see) or names a color, material or other attribute that the
    definition does not (adds_attribute).
    """

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

    def questions(self, subject: Subject) -> tuple[ChatRequest, ...]:
        """One for each shape."""
        options = {"gloss": self.gloss, "small_model": self.small_model}
        schema = list_schema(KEY, fewest=1, most=1, pattern=self.pattern(subject))
        return tuple(
            ChatRequest(
                messages=(question_about(subject, f"{shape} Answer in one sentence.", **options),),
                schema=schema,
                sampling=_SMALL if self.small_model else _SAMPLING,
            )
            for shape in SHAPES
        )
