"""Known secrets, and texts without them: what others said crosses this boundary before it is shown, logged or stored.

Known are the keys, tokens and passwords that the environment gives to the libraries by which evenly speaks to others
(chat endpoints, object stores, Prefect, model hubs), passwords in the URLs of other variables (proxies, servers,
databases), and the same in variables of another origin: `know_variables`. Each stands for itself and for what an echo
makes of it: quoted for a URL, JSON, HTML or Python, or in base64 at any place, as in Basic authorization.

A secret of fewer than 8 characters may be an ordinary word. It is taken out only where a credential stands: behind
`Bearer`, `key=`, `password:` and the like, and in base64 together with its user name.
"""

import base64
import html
import json
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any
from urllib.parse import quote, quote_plus, unquote

LEAST_CHARACTERS = 8
"""What is shorter is taken out where a credential stands, and nowhere else."""
_NAMED = re.compile(
    r"(OPENAI|AWS|AZURE|GOOGLE|PREFECT|HF|HUGGING_?FACE)_.*"
    r"(KEY|SECRET|TOKEN|PASSWORD|SIGNATURE|SAS|AUTH_STRING|CUSTOM_HEADERS)",
    re.IGNORECASE,
)
_OF_PLACES = re.compile(r"_(FILE|PATH|DIR|URI|URL|PROXY|DSN)$", re.IGNORECASE)
_USERINFO = re.compile(r"://([^/\s]+)@")
_CREDENTIAL = r"""(\b(?:bearer|basic)\s+|(?:key|token|secret|password|passwd|authorization)["']?\s*[=:]\s*["']?)"""
_told: dict[str, str] = {}
_escapes: tuple[Callable[[str], str], ...] = (
    lambda text: quote(text, safe=""),
    quote,
    quote_plus,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    lambda text: repr(text)[1:-1],
    html.escape,
    lambda text: html.escape(text).replace("&#x27;", "&#39;"),
)


def know_variables(variables: Mapping[str, str]) -> None:
    """Take what is secret in these variables for known in this process, as if they stood in its environment."""
    _told.update((name, value) for name, value in variables.items() if name in _telling((name,)))


def without_secrets(text: str) -> str:
    """The text with `<NAME>` in place of every known secret, by the name of its variable."""
    return _boundary(_secrets())(text) if len(text) > 2 else text


def without_secrets_in(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A JSON value without known secrets in its texts and keys."""
    return _cleaned(value, _boundary(_secrets()))


def keep_secrets_out_of_logs() -> None:
    """Let no log of this process, and no traceback that ends it or a thread, hold a known secret from now on."""
    if getattr(logging.getLogRecordFactory(), "func", None) is _clean_record:
        return
    logging.setLogRecordFactory(partial(_clean_record, logging.getLogRecordFactory()))
    sys.excepthook = _print_clean
    threading.excepthook = lambda args: _print_clean(args.exc_type, args.exc_value, args.exc_traceback)


@contextmanager
def errors_without_secrets() -> Iterator[None]:
    """Take known secrets out of the texts of whatever is raised, and of what led to it; also a decorator."""
    try:
        yield
    except Exception as error:
        clean_error(error)
        raise


def clean_error(error: Exception) -> None:
    """Take known secrets out of the texts of an error, and of what led to it."""
    cause: BaseException | None = error
    while cause is not None:
        cause.args = tuple(without_secrets(one) if isinstance(one, str) else one for one in cause.args)
        cause = cause.__cause__ or cause.__context__


def _clean_record(made: Callable[..., logging.LogRecord], *args: Any, **options: Any) -> logging.LogRecord:  # noqa: ANN401 - of logging
    record = made(*args, **options)
    try:
        said = record.getMessage()
    except (TypeError, ValueError, KeyError):  # a log line whose arguments do not fit is logging's to report
        return record
    if (clean := without_secrets(said)) != said:
        record.msg, record.args = clean, None
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        trace = "".join(traceback.format_exception(error)).rstrip("\n")
        if (clean := without_secrets(trace)) != trace:
            record.exc_text, record.exc_info = clean, None
    return record


def _print_clean(kind: Any, error: Any, trace: Any) -> None:  # noqa: ANN401 - of sys.excepthook
    sys.stderr.write(without_secrets("".join(traceback.format_exception(kind, error, trace))))


def _secrets() -> tuple[tuple[str, str], ...]:
    """(value, name) of what is secret now."""
    variables = ((name, os.environ.get(name, "")) for name in _telling(tuple(os.environ)))
    return _of_variables((*_told.items(), *variables))


@lru_cache(maxsize=8)
def _telling(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of variables that may hold a secret."""
    return tuple(name for name in names if _OF_PLACES.search(name) or _NAMED.match(name))


@lru_cache(maxsize=8)
def _of_variables(variables: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple({secret: name for name, value in variables for secret in _of_variable(name, value)}.items())


def _of_variable(name: str, value: str) -> Iterator[str]:
    """The secrets in one variable of the environment."""
    for userinfo in _USERINFO.findall(value):
        user, colon, password = userinfo.partition(":")
        yield from (password, unquote(password), userinfo, unquote(userinfo)) if colon else (user, unquote(user))
        yield f"://{userinfo}@"
    if "://" in value or _OF_PLACES.search(name):
        return
    if value.lstrip().startswith("{"):  # headers, or the key file of a Google account
        yield from _in_json(value, is_all=name.upper().endswith("HEADERS"))
    else:
        yield value.strip()
        if ":" in value:  # `user:password`
            yield value.partition(":")[2].strip()


def _in_json(text: str, *, is_all: bool) -> Iterator[str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    for key, secret in value.items() if isinstance(value, dict) else ():
        if isinstance(secret, str) and (is_all or re.search("key|secret|token|password", key, re.IGNORECASE)):
            yield secret


@lru_cache(maxsize=8)
def _boundary(secrets: tuple[tuple[str, str], ...]) -> Callable[[str], str]:
    """The function that takes these secrets out of a text."""
    names = {form: name for value, name in secrets for form in _forms(value)}
    short = {value: name for value, name in secrets if 0 < len(value) < LEAST_CHARACTERS}
    if not names and not short:
        return lambda text: text
    everywhere = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)")
    beside = re.compile(f"{_CREDENTIAL}({'|'.join(map(re.escape, short)) or '(?!)'})(?!\\w)", re.IGNORECASE)

    def clean(text: str) -> str:
        text = everywhere.sub(lambda match: f"<{names[match[0]]}>", text)
        return beside.sub(lambda match: f"{match[1]}<{short.get(match[2], 'secret')}>", text) if short else text

    return clean


def _forms(secret: str) -> set[str]:
    """The forms in which a secret stands in a text."""
    forms = {secret} if len(secret) >= LEAST_CHARACTERS else set()
    forms |= {escape(form) for form in forms for escape in _escapes}
    forms |= {escape(form) for form in forms for escape in _escapes[3:7]}  # JSON within JSON, a dict that is printed
    forms |= {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), form) for form in forms}
    content = secret.encode(errors="surrogateescape")
    if len(content) < LEAST_CHARACTERS:
        return forms
    for shift in range(3):  # characters that the secret alone decides, wherever it begins in what is encoded
        encoded = base64.b64encode(b"\0" * shift + content).decode()
        core = encoded[-(-shift * 4 // 3) : (shift + len(content)) * 4 // 3]
        forms |= {core, core.replace("+", "-").replace("/", "_"), quote(core, safe="")}
    return forms


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:  # noqa: ANN401 - any JSON value
    match value:
        case str():
            return clean(value)
        case dict():
            return {clean(key) if isinstance(key, str) else key: _cleaned(one, clean) for key, one in value.items()}
        case list() | tuple():
            return [_cleaned(one, clean) for one in value]
    return value
