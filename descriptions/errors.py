"""What can go wrong in descriptions.

DescriptionsError
├── ClassListError        a class list breaks its format, or names a synset that is not there
├── UnknownMethodError    a description method that does not exist
├── EmbeddedModelError    the embedded language model is not installed or does not start
├── EndpointError         the chat endpoint as a whole is of no use: it refuses the connection, the key or the model
└── RequestFailedError    one request got no reply; the others go on
"""

from collections.abc import Sequence


class DescriptionsError(RuntimeError):
    """Root of this package's errors."""


class ClassListError(DescriptionsError):
    """A class list breaks its format; `problems` holds one line for each broken rule, all of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class UnknownMethodError(DescriptionsError):
    """A description method that does not exist."""


class EmbeddedModelError(DescriptionsError):
    """The embedded language model is not installed or does not start."""


class EndpointError(DescriptionsError):
    """The chat endpoint refuses the connection, the key or the model, or answers nothing but failures."""


class RequestFailedError(DescriptionsError):
    """One request got no reply; `reason` is a snake_case word such as http_500 or timeout."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
