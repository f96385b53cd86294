"""Money: the most that a request may cost is set aside before it leaves, and then replaced by the true cost.

An attempt that may have reached the endpoint and brought no reply stays at its maximum: nobody can tell what was billed
for it. So what is spent never exceeds the limit, as long as the endpoint keeps to `max_tokens` and bills by tokens.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from evenly.descriptions.chat.dialect import schema_message
from evenly.descriptions.chat.endpoint import Prices
from evenly.descriptions.chat.request import ChatRequest
from evenly.descriptions.errors import BudgetExceededError

# What chat templates add. The longest seen is the standing system message of some open models, with its date lines.
TOKENS_PER_REQUEST = 256
TOKENS_PER_MESSAGE = 16


class Spending(Protocol):
    """The book of one account: reservations, and their settlements. Several processes may write it."""

    def reserve(self, entry_id: str, usd: float, *, limit_usd: float | None = None) -> bool:
        """Set `usd` aside; durable when it returns. False, and nothing changed, if the total would pass the limit.

        An entry that is open already stays as it is.
        """

    def settle(self, entry_id: str, usd: float) -> None:
        """Replace the sum that was set aside for an entry by the cost; an entry that is settled already stays so."""

    def total(self) -> float:
        """US dollars: the settled sums, and those set aside and not settled."""

    def lost(self) -> Sequence[tuple[str, float]]:
        """Entries that are not settled, with US dollars, the oldest first: lost, or in flight somewhere."""


class Budget:
    """Keeps the spending at `prices` within `limit_usd`; None sets no limit and only keeps the book."""

    def __init__(self, limit_usd: float | None, prices: Prices, spending: Spending) -> None:
        self.limit_usd = limit_usd
        self.prices = prices
        self.spending = spending
        self._in_flight: dict[str, float] = {}

    def maximum(self, request: ChatRequest) -> float:
        """US dollars that an attempt at this request can cost at most."""
        return most_usd(request, self.prices)

    def reserve(self, request: ChatRequest, attempt_id: str) -> float:
        """Set the maximum of an attempt aside, durably, just before it is sent; US dollars.

        Raises BudgetExceededError where it does not fit. An id stands for one attempt: reserving it again changes
        nothing.
        """
        usd = self.maximum(request)
        self._in_flight[attempt_id] = usd
        if not self.spending.reserve(attempt_id, usd, limit_usd=self.limit_usd):
            del self._in_flight[attempt_id]
            raise self._exceeded(usd)
        return usd

    def settle(self, attempt_id: str, usage: Mapping[str, int] | None) -> None:
        """Book the cost of a reply by prompt_tokens and completion_tokens; None leaves it at the maximum."""
        reserved = self._in_flight.pop(attempt_id, None)
        if usage is not None:
            self.spending.settle(attempt_id, self.prices.cost(**usage))
        elif reserved is not None:
            self.spending.settle(attempt_id, reserved)

    def release(self, attempt_id: str) -> None:
        """Book nothing for an attempt that surely cost nothing: it never left, or was turned away."""
        self._in_flight.pop(attempt_id, None)
        self.spending.settle(attempt_id, 0.0)

    def lose(self, attempt_id: str) -> float:
        """Leave an attempt without a reply at its maximum; US dollars."""
        return self._in_flight.pop(attempt_id, 0.0)

    def settle_stored(self, stored: Callable[[str], Mapping[str, Any] | None]) -> None:
        """Book the cost of replies that were stored by a process which died before it could.

        `stored` gives the record of a request's reply by id; its `attempt` is the entry that paid for it.
        """
        for entry_id, _ in self.spending.lost():
            record = stored(entry_id.partition(":")[0])
            if record is not None and record.get("attempt") == entry_id:
                self.spending.settle(entry_id, record["cost_usd"])

    def summary(self) -> dict[str, Any]:
        """The account as it stands: limit_usd, spent_usd (lost attempts included), lost_attempts, lost_usd.

        Attempts of other processes that are in flight count as lost until they are settled.
        """
        lost = self._lost()
        return {
            "limit_usd": self.limit_usd,
            "spent_usd": self.spending.total(),
            "lost_attempts": len(lost),
            "lost_usd": sum(lost),
        }

    def _lost(self) -> list[float]:
        return [usd for entry_id, usd in self.spending.lost() if entry_id not in self._in_flight]

    def _exceeded(self, usd: float) -> BudgetExceededError:
        total, reserved = self.spending.total(), sum(usd for _, usd in self.spending.lost())
        return BudgetExceededError(
            limit_usd=self.limit_usd or 0.0, spent_usd=total, reserved_usd=reserved, next_usd=usd
        )


def most_usd(request: ChatRequest, prices: Prices) -> float:
    """US dollars that an attempt at a request can cost at most: all its prompt, and the longest reply."""
    return prices.cost(prompt_tokens=most_prompt_tokens(request), completion_tokens=request.sampling.max_tokens)


def most_prompt_tokens(request: ChatRequest) -> int:
    """A bound on the prompt tokens of a request, whatever the tokenizer and the form in which the schema goes out.

    Tokenizers that work on bytes make at most one token of each; some normalise to NFKC first, which may lengthen it.
    """
    messages = [message.content for message in request.messages]
    if request.schema is not None:
        messages.append(schema_message(request.schema).content)
    tokens = sum(max(_bytes(text), _bytes(unicodedata.normalize("NFKC", text))) for text in messages)
    tokens += sum(picture.most_tokens for picture in request.pictures)
    return tokens + TOKENS_PER_MESSAGE * len(messages) + TOKENS_PER_REQUEST


def likely_prompt_tokens(request: ChatRequest) -> int:
    """An estimate of the prompt tokens: one for every four bytes of messages and schema, and those of pictures."""
    texts = [message.content for message in request.messages]
    schema = "" if request.schema is None else schema_message(request.schema).content
    pictures = sum(picture.likely_tokens for picture in request.pictures)
    return -(-sum(map(_bytes, (*texts, schema))) // 4) + pictures


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
