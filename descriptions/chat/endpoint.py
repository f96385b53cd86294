"""Endpoints of chat models, and their prices."""

import os
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from annotated_types import Ge, Gt

from evenly.bounds import FINITE
from evenly.descriptions.errors import EndpointError

EMBEDDED = "embedded:"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An OpenAI-compatible endpoint: base URL (ending in /v1 for most), model name, and identity.

    `identity` stands for the model's weights in the address of every request; "" means the base URL, which is all that
    can be known of a hosted model. `token_limit` is the name of the parameter that limits the reply: hosted reasoning
    models refuse the older one.
    """

    base_url: str
    model: str
    identity: str = ""
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # noqa: S105 - a name, no secret

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.base_url)
            host, credentials = parts.hostname, parts.username or parts.password
        except ValueError:
            parts, host, credentials = None, None, None
        if parts is None or parts.scheme not in {"http", "https"} or not host:
            raise EndpointError(
                f"`base_url` must be an http or https URL; got {self.base_url!r}. Write it like https://host/v1."
            )
        if credentials or parts.query or parts.fragment:
            raise EndpointError(
                "`base_url` must hold no user name, password, query or fragment: it is written into every record. "
                "Put the key into the environment variable OPENAI_API_KEY."
            )
        if not self.identity:
            object.__setattr__(self, "identity", self.base_url.rstrip("/"))

    @property
    def host(self) -> str:
        """Host and, where the URL names one, port."""
        return urlsplit(self.base_url).netloc.lower()

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine, where no proxy of the environment may stand between."""
        return urlsplit(self.base_url).hostname in {"127.0.0.1", "localhost", "::1"}

    @property
    def api_key(self) -> str:
        """The key from OPENAI_API_KEY; "none" without one, and for the embedded model, which needs none."""
        if self.identity.startswith(EMBEDDED):
            return "none"
        return os.environ.get("OPENAI_API_KEY") or "none"


@dataclass(frozen=True, kw_only=True)
class Prices:
    """US dollars for a million tokens."""

    prompt_usd: float = 0.0
    completion_usd: float = 0.0

    def cost(self, *, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars for one reply."""
        return (prompt_tokens * self.prompt_usd + completion_tokens * self.completion_usd) / 1_000_000


@dataclass(frozen=True, kw_only=True)
class Payment:
    """Prices of requests to a language model, in US dollars for a million tokens.

    What a class list costs in all its runs stays within `budget_usd`. `batch` sends the requests through the endpoint's
    Batch API, and the prices are then those of batches.
    """

    budget_usd: Annotated[float, Gt(0), FINITE] | None = None
    prompt_usd_per_million: Annotated[float, Ge(0), FINITE] = 0.0
    completion_usd_per_million: Annotated[float, Ge(0), FINITE] = 0.0
    batch: bool = False


@dataclass(frozen=True, kw_only=True)
class EndpointRule:
    """A language model by the `base_url` of its endpoint, or `embedded`, and its name."""

    base_url: str
    model: str

    @property
    def is_embedded(self) -> bool:
        """Whether it is the packaged model."""
        return self.base_url == "embedded"


@dataclass(frozen=True, kw_only=True)
class PaidEndpoint(EndpointRule, Payment):
    """A language model, and how its requests are paid; raises ValueError where these do not go together."""

    def __post_init__(self) -> None:
        if self.budget_usd is not None and not self.prompt_usd_per_million and not self.completion_usd_per_million:
            raise ValueError("budget_usd needs prompt_usd_per_million or completion_usd_per_million; got neither")
        if self.batch and self.is_embedded:
            raise ValueError("batch needs the base_url of an endpoint that has a Batch API; got embedded")
        if not self.model.strip():
            raise ValueError("model must be the name of a model of the endpoint; got nothing")
        if not self.is_embedded:
            try:
                Endpoint(base_url=self.base_url, model=self.model)
            except EndpointError as error:
                raise ValueError(str(error)) from None


@dataclass(frozen=True, kw_only=True)
class LanguageModel(PaidEndpoint):
    """An OpenAI-compatible endpoint; `embedded` starts the packaged one. The key comes from OPENAI_API_KEY."""

    base_url: str = "embedded"
    model: str = "smollm2"
