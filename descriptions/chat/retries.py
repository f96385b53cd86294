"""Retries at a chat endpoint: whether and when to try again after a failure, or to give the request or endpoint up."""

import datetime as dt
import email.utils
import hashlib
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from evenly.descriptions.bodies import LongBodyError
from evenly.descriptions.chat.dialect import refused_parameters
from evenly.redaction import without_secrets

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAIError

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
_RETRIED_STATUS = {408, 409, 425, 429}
_GAVE_UP_WAITING = 408  # gateways say so also of a model that took too long, and may bill it


@dataclass(frozen=True, kw_only=True)
class RetryRule:
    """The rule of how long a request and its endpoint are tried.

    A request is tried `attempts` times, each at most `timeout_s` seconds. A pause that the server asks for is kept in
    full; one longer than `longest_wait_s` gives the request up. After `give_up_after` requests in a row without a reply
    the endpoint is given up.
    """

    attempts: int = 5
    timeout_s: float = 60.0
    longest_wait_s: float = 120.0
    give_up_after: int = 8


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt failed: `reason` is a snake_case word, `detail` one line; `retry_after_s` is the server's wish.

    `unknown_host` says that its name stands for no address.

    `costs_nothing` is True where the request surely was not answered by a model: it never left, or was turned away.
    Whoever waits too long or gets a server's error or half a reply cannot know. `refused` names the parameters that the
    endpoint does not take.
    """

    reason: str
    detail: str
    remedy: Literal["retry", "give_up_request", "give_up_endpoint"]
    retry_after_s: float | None = None
    costs_nothing: bool = False
    refused: frozenset[str] = frozenset()
    unknown_host: bool = False

    @property
    def passing(self) -> bool:
        """Whether the same attempt may go well another time."""
        return self.remedy == "retry" and not self.unknown_host


def judge_failure(error: "OpenAIError | TimeoutError | ValueError", *, base_url: str, model: str) -> Failure:
    """The failure that an exception of the `openai` package stands for; a ValueError is a body that is no JSON.

    The server's own words are left out where it refuses the key, and known secrets are taken out of all others.
    """
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    if isinstance(error, (TimeoutError, APITimeoutError)):
        left = type(error.__cause__).__name__ not in {"ConnectTimeout", "PoolTimeout"}
        detail = f"{base_url} did not answer in time"
        return Failure(reason="timeout", detail=detail, remedy="retry", costs_nothing=not left)
    if isinstance(error, APIStatusError):
        failure = _judge_status(error, base_url=base_url, model=model)
        return replace(failure, costs_nothing=not may_have_run(error.status_code))
    if isinstance(error, APIConnectionError):
        refused = type(error.__cause__).__name__ == "ConnectError"
        cause = _words(error.__cause__ or error)
        return Failure(
            reason="refused_connection" if refused else "broken_connection",
            detail=f"the endpoint must accept connections; {base_url} does not ({cause}). "
            "Check `base_url` and that the server runs.",
            remedy="retry",
            costs_nothing=refused,
            unknown_host=_names_no_host(error),
        )
    trouble = str(error) if isinstance(error, LongBodyError) else "something else than a completion"
    return Failure(reason="bad_body", detail=f"{base_url} answered with {trouble}", remedy="retry")


def may_have_run(status: int) -> bool:
    """Whether a model may have answered, and be billed for, a request that ended with this status of 400 or more."""
    return status >= 500 or status == _GAVE_UP_WAITING


def pause_s(*, attempt: int, request_id: str, retry_after_s: float | None) -> float:
    """Seconds to wait after attempt number `attempt` (from 1): what the server asks for, else a doubling pause.

    The doubling pause is scattered over [0.5, 1) of itself by a hash of request and attempt, so that requests which
    failed together do not come back together.
    """
    if retry_after_s is not None:
        return retry_after_s
    scatter = hashlib.blake2b(f"{request_id}:{attempt}".encode(), digest_size=4).digest()
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (attempt - 1))
    return longest * (0.5 + int.from_bytes(scatter, "big") / 2**33)


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None without one, or for nonsense."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=dt.UTC)
        seconds = (date - dt.datetime.now(dt.UTC)).total_seconds()
        return max(seconds, 0.0)
    return seconds if 0 <= seconds < float("inf") else None


def _words(message: object) -> str:
    """The words of a server or a library, on one line that can be shown."""
    return " ".join(without_secrets(str(message)).split())[:200]


def _names_no_host(error: BaseException) -> bool:
    """Whether a name was looked up in vain, by what an exception came from."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return cause.errno == socket.EAI_NONAME
        cause = cause.__cause__ or cause.__context__
    return False


def _judge_status(error: "APIStatusError", *, base_url: str, model: str) -> Failure:
    status = error.status_code
    reason = f"http_{status}"
    if status in {401, 403}:
        return Failure(
            reason=reason,
            detail=f"the endpoint must accept the key; {base_url} refuses it (status {status}). "
            "Set OPENAI_API_KEY to a key that may use it.",
            remedy="give_up_endpoint",
        )
    if status == 404:
        return Failure(
            reason=reason,
            detail=f"the endpoint must know the model; {base_url} does not find {model!r} (status 404). "
            "Check `model` and `base_url` (most end in /v1).",
            remedy="give_up_endpoint",
        )
    message = _words(error.message)
    if status == 402 or (status == 429 and error.code == "insufficient_quota"):
        return Failure(
            reason=reason,
            detail=f"the account must have credit left; {base_url} says it has none ({message}). "
            "Add credit and run again: replies so far are stored.",
            remedy="give_up_endpoint",
        )
    detail = f"{base_url} answered with status {status}: {message}"
    if status in _RETRIED_STATUS or status >= 500:
        after = retry_after(error.response.headers.get("retry-after"))
        return Failure(reason=reason, detail=detail, remedy="retry", retry_after_s=after)
    refused = refused_parameters(str(error.message), error.param) if status in {400, 422} else frozenset()
    return Failure(reason=reason, detail=detail, remedy="give_up_request", refused=refused)
