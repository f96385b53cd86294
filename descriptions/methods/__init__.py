"""Description methods, one file each.

`METHODS` is the list of them: a method is a file, a line here, a test file and a row of docs/methods.md.
"""

from collections.abc import Callable, Sequence

from descriptions.errors import UnknownMethodError
from descriptions.method import DescriptionMethod
from descriptions.methods.description import Description
from descriptions.methods.prompts import Prompts
from descriptions.methods.synonyms import Synonyms

__all__ = ["METHODS", "UnknownMethodError", "chosen_methods"]

# Each entry makes a method: (gloss in the prompt, help for a small model) -> method.
METHODS: dict[str, Callable[[bool, bool], DescriptionMethod]] = {
    "description": lambda gloss, small_model: Description(gloss=gloss, small_model=small_model),
    "prompts": lambda gloss, small_model: Prompts(gloss=gloss, small_model=small_model),
    "synonyms": lambda _gloss, _small_model: Synonyms(),
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
