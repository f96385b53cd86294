"""Messages through notification blocks of a Prefect server: what a run came to, in lines that do nothing by themselves.

A block holds where messages go, with its secrets, so none of it is shown: what goes wrong is named by its type. A block
that is missing or does not answer is a warning in the run's log, never the end of a run.
"""

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from evenly.audit.safe_text import visible
from evenly.tasks.server.api import keeps_what_it_is_told
from evenly.tasks.server.artifacts import server_client

MOST_CHARACTERS = 500
_PATIENCE_S = 20.0
_ACTS = str.maketrans("<>@&[]`*|", "＜＞＠＆［］＇＊｜")  # noqa: RUF001 - they look alike and are no mark-up
_REMEDY = "Make it at the server, or correct the recipe's `notify.blocks`."


@dataclass(frozen=True, kw_only=True)
class Notice:
    """The news of a run: `event` is published, held, failed or stale, `text` a line or more; `run` its id.

    report: how the report of its build is opened, in a line; an address in it is one of the user's, and stays a link.
    """

    event: str
    recipe: str
    text: str
    run: str
    report: str = ""

    @property
    def subject(self) -> str:
        """Recipe and event."""
        return f"evenly: {self.recipe} {self.event}"

    @property
    def body(self) -> str:
        """The text, safe and short, how its report is opened, and where its run is seen."""
        from prefect.utilities.urls import url_for

        address = url_for("flow-run", obj_id=self.run) or ""
        link = "" if urlsplit(address).username is not None else address
        return "\n".join(filter(None, (plain_text(self.text), visible(self.report), link)))


def plain_text(text: str) -> str:
    """Text in one line of at most MOST_CHARACTERS that mentions nobody, links nowhere and formats nothing.

    Characters of mark-up become wide ones that look alike: chat services differ in what they obey and how they escape.
    """
    line = visible(text).translate(_ACTS).replace("://", ":／／")  # noqa: RUF001 - the like
    return line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 1]}…"


def send_notice(notice: Notice, blocks: Sequence[str], warn: Callable[[str], object]) -> None:
    """Send a notice through blocks, at once; one that does not take it within 20 s is named to `warn`."""
    if not blocks or not keeps_what_it_is_told():
        return
    sent = [_Sending(block, notice) for block in blocks]
    for sending in sent:
        if (trouble := sending.trouble()) is not None:
            warn(visible(f"notify: block `{sending.block}` did not take the message: {trouble}"))


def block_problems(blocks: Sequence[str]) -> list[str]:
    """Problems of names of blocks at the server of PREFECT_API_URL: not there, or none that notifies.

    A line that says so where there is no server to ask.
    """
    import httpx
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    if not PREFECT_API_URL.value():
        return ["`notify.blocks` were not looked up: PREFECT_API_URL names no server."]
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), server_client() as client:
            return _problems(client, blocks)
    except httpx.HTTPError as error:
        return [f"`notify.blocks` were not looked up: the Prefect server did not answer ({type(error).__name__})."]


def _problems(client: Any, blocks: Sequence[str]) -> list[str]:  # noqa: ANN401 - Prefect's
    from prefect.exceptions import ObjectNotFound

    problems = []
    for block in blocks:
        kind, _, name = block.partition("/")
        try:
            document = client.read_block_document_by_name(name, kind, include_secrets=False)
        except ObjectNotFound:
            problems.append(f"`notify.blocks` must name blocks of the server; it has no `{block}`. {_REMEDY}")
            continue
        if "notify" not in document.block_schema.capabilities:
            problems.append(f"`notify.blocks` must name blocks that notify; `{block}` does not. {_REMEDY}")
    return problems


class _Sending:
    """A message on its way, in a thread that nobody has to wait for."""

    def __init__(self, block: str, notice: Notice) -> None:
        self.block = block
        self._trouble: str | None = None
        self._notice = notice
        self._thread = threading.Thread(target=copy_context().run, args=(self._send,), daemon=True)
        self._thread.start()

    def trouble(self) -> str | None:
        """The error, without anything of the block; None where it was sent."""
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            return f"no answer within {_PATIENCE_S:g} s"
        return self._trouble

    def _send(self) -> None:
        import httpx
        from prefect.blocks.abstract import NotificationBlock
        from prefect.blocks.core import Block
        from prefect.exceptions import ObjectNotFound

        try:
            block: Any = Block.load(self.block)
            if not isinstance(block, NotificationBlock):
                self._trouble = "it does not notify"
                return
            with block.raise_on_failure():
                answer: Any = block.notify(self._notice.body, self._notice.subject)
                if inspect.iscoroutine(answer):
                    asyncio.run(answer)
        except Exception as error:  # noqa: BLE001 - blocks may be anyone's code; it is told by `trouble`
            if isinstance(error, httpx.HTTPStatusError):
                self._trouble = f"it was answered with status {error.response.status_code}"
            elif isinstance(error.__cause__, ObjectNotFound):
                self._trouble = "the server has no such block"
            else:
                self._trouble = type(error).__name__


def log_to_run(flow_run: Any) -> Callable[[str], None]:  # noqa: ANN401 - Prefect's
    """Warn in the log of a flow run that has ended."""
    from prefect.logging.loggers import flow_run_logger

    logger = flow_run_logger(flow_run)
    return lambda text: logger.log(logging.WARNING, "%s", text)
