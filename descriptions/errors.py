"""Errors of descriptions.

DescriptionsError
├── ClassListError        a class list breaks its format, or names a synset that is not there
├── UnknownMethodError    a description method that does not exist
├── EditedTextsError      a file of edited texts has another shape, or names a class or method that is not there
├── EmbeddedModelError    the embedded language model is not installed or does not start
├── EndpointError         the chat endpoint as a whole is of no use: it refuses the connection, the key or the model
├── BudgetExceededError   the next request may cost more than the budget has left
├── BatchCancelledError   a batch that is waited for was cancelled
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


class EditedTextsError(DescriptionsError):
    """A file of edited texts has another shape, or names a class or method that is not there."""


class EmbeddedModelError(DescriptionsError):
    """The embedded language model is not installed or does not start."""


class EndpointError(DescriptionsError):
    """The chat endpoint refuses the connection, the key or the model, or answers nothing but failures.

    `passing`: it was slow, busy or away, so that the same may go well another time.
    """

    def __init__(self, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class BudgetExceededError(DescriptionsError):
    """The next attempt may cost `next_usd`, which does not fit into `limit_usd` beside `spent_usd`.

    `spent_usd` is all that counts as spent; `reserved_usd` is the part of it that is set aside for attempts whose reply
    did not come.
    """

    def __init__(self, *, limit_usd: float, spent_usd: float, reserved_usd: float, next_usd: float) -> None:
        super().__init__(
            f"`budget_usd` must hold the most that the next request may cost, ${next_usd:.6f}; got ${limit_usd:.6f}, "
            f"of which ${spent_usd - reserved_usd:.6f} is spent and ${reserved_usd:.6f} reserved for attempts whose "
            "reply did not come. Every reply that came is stored: raise --budget-usd (in a recipe llm.budget_usd) and "
            "run again, nothing is paid twice."
        )
        self.limit_usd, self.spent_usd = limit_usd, spent_usd
        self.reserved_usd, self.next_usd = reserved_usd, next_usd


class BatchCancelledError(DescriptionsError):
    """A batch was cancelled while its replies were waited for; those it brought until then are stored."""


class RequestFailedError(DescriptionsError):
    """One request got no reply; `reason` is a snake_case word such as http_500 or timeout.

    `passing` says whether it may get one another time: it was not refused.
    """

    def __init__(self, reason: str, detail: str, *, passing: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.passing = passing
