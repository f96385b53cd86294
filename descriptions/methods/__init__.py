"""Description methods, one file each.

`METHODS` is the list of them: a method is a file, a line here, a test file and a row of docs/methods.md.
"""

from collections.abc import Callable, Sequence

from evenly.descriptions.errors import UnknownMethodError
from evenly.descriptions.method import DescriptionMethod
from evenly.descriptions.methods.analogies import Analogies
from evenly.descriptions.methods.attributes import Attributes
from evenly.descriptions.methods.caption_phrases import CaptionPhrases
from evenly.descriptions.methods.contexts import Contexts
from evenly.descriptions.methods.description import Description
from evenly.descriptions.methods.differential import Differential
from evenly.descriptions.methods.llm_synonyms import LlmSynonyms
from evenly.descriptions.methods.near_misses import NearMisses
from evenly.descriptions.methods.negations import Negations
from evenly.descriptions.methods.prompts import Prompts
from evenly.descriptions.methods.questions import Questions
from evenly.descriptions.methods.synonyms import Synonyms

__all__ = ["METHODS", "UnknownMethodError", "chosen_methods"]

# Each entry makes a method: (gloss in the prompt, help for a small model) -> method.
METHODS: dict[str, Callable[[bool, bool], DescriptionMethod]] = {
    "description": lambda gloss, small_model: Description(gloss=gloss, small_model=small_model),
    "prompts": lambda gloss, small_model: Prompts(gloss=gloss, small_model=small_model),
    "questions": lambda gloss, small_model: Questions(gloss=gloss, small_model=small_model),
    "differential": lambda gloss, small_model: Differential(gloss=gloss, small_model=small_model),
    "synonyms": lambda _gloss, _small_model: Synonyms(),
    "llm_synonyms": lambda gloss, small_model: LlmSynonyms(gloss=gloss, small_model=small_model),
    "attributes": lambda gloss, small_model: Attributes(gloss=gloss, small_model=small_model),
    "analogies": lambda gloss, small_model: Analogies(gloss=gloss, small_model=small_model),
    "near_misses": lambda gloss, small_model: NearMisses(gloss=gloss, small_model=small_model),
    "contexts": lambda gloss, small_model: Contexts(gloss=gloss, small_model=small_model),
    "negations": lambda _gloss, _small_model: Negations(),
    "caption_phrases": lambda _gloss, _small_model: CaptionPhrases(),
}


def chosen_methods(
    names: Sequence[str], *, gloss: bool = True, small_model: bool = False
) -> tuple[DescriptionMethod, ...]:
    """The methods of these names, in this order.

    `gloss` puts the WordNet definition into the questions, `small_model` holds the replies of models of about a billion
    parameters and fewer to simple patterns and known words.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise UnknownMethodError(
            f"a method must be one of {', '.join(METHODS)}; got {', '.join(map(repr, unknown))}. Correct the name."
        )
    return tuple(METHODS[name](gloss, small_model) for name in names)
