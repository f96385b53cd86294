"""Collection of batches: waiting for the end, storing every reply before it is used, and cancelling."""

import asyncio
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evenly.descriptions.batch.endpoint import ENDED, RefusedError, RemoteBatch
from evenly.descriptions.batch.files import BatchOutput, RequestFailure, named_lines
from evenly.descriptions.batch.intents import BatchState, open_states
from evenly.descriptions.batch.submission import BatchWork
from evenly.descriptions.chat.budget import most_usd
from evenly.descriptions.chat.completion import Completion, reply_record
from evenly.descriptions.chat.dialect import unpromised
from evenly.descriptions.chat.request import ChatRequest
from evenly.descriptions.errors import EndpointError

POLL_FAILURES = 5
LONGEST_RETRY_AFTER_S = 3600.0
_READS = 2
_PUTS_AT_ONCE = 50


@dataclass(frozen=True, kw_only=True)
class Collected:
    """A batch that has ended: its status, the records it brought just now, and why the other requests have none.

    `lost_usd` is the most that those of them may have cost which may have run; `learnt` says that their dialect was
    refused and there is a weaker one.
    """

    state: BatchState
    status: str
    new: tuple[Mapping[str, Any], ...] = ()
    missing: Mapping[str, RequestFailure]
    lost: tuple[str, ...] = ()
    lost_usd: float = 0.0
    learnt: bool = False


async def follow(work: BatchWork, state: BatchState, *, attempts: int = 1) -> Collected:
    """Poll a batch, with growing pauses, until it has ended, and collect it.

    Raises EndpointError where the endpoint no longer answers, or the batch does not end; it can be taken up later.
    `attempts` says how often its requests have been submitted by now.
    """
    if state.batch_id is None:
        raise ValueError(f"`state` must have a batch; the intent {state.intent.id} has none. Submit it.")
    pause = work.pace.first_s
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + work.pace.patience_s
    while True:
        remote = await _poll(work, state.batch_id, pause)
        if work.closing:  # the network library now and then swallows the cancellation that should have ended this
            raise asyncio.CancelledError
        state = tell(work, state, remote)
        if remote.status in ENDED:
            return await collect(work, state, remote, attempts=attempts)
        if loop.time() > give_up_at:
            raise EndpointError(
                f"a batch must end within {work.pace.patience_s / 3600:.0f} hours; {remote.id} has not. Run again to "
                f"go on waiting, or give it up: evenly batches cancel {state.intent.id[:12]}"
            )
        await asyncio.sleep(max(pause, min(remote.retry_after_s or 0.0, LONGEST_RETRY_AFTER_S)))
        pause = min(pause * work.pace.growth, work.pace.longest_s)


def tell(work: BatchWork, state: BatchState, remote: RemoteBatch) -> BatchState:
    """Note a status that is new, and say so; the state after it."""
    if remote.status == state.status:
        return state
    done = f" {remote.counts.get('completed', 0):,} of {len(state.request_ids):,}"
    work.say(f"batch {remote.id}: {remote.status}{done}")
    return work.note(state, "polled", status=remote.status, counts=dict(remote.counts))


async def collect(work: BatchWork, state: BatchState, remote: RemoteBatch, *, attempts: int = 1) -> Collected:
    """Store the replies of a batch that has ended, settle the cost of the requests, and note the end.

    Replies that are stored already stay as they are. A request without a line is held to have run, and its reply lost,
    unless the endpoint counts no more completed requests than there are replies.
    """
    output = await _read(work, state, remote)
    contents = work.batches.requests(state.intent.id)
    new = []
    for number, (request_id, completion) in enumerate(output.completions.items()):
        if work.replies.get(request_id) is None:
            record = _record(state, contents[request_id], request_id, completion, attempts=attempts)
            work.replies.put(request_id, record)
            new.append(record)
        if number % _PUTS_AT_ONCE == 0:
            await asyncio.sleep(0)  # lets Ctrl-C through: the files stay at the endpoint
    usages = {request_id: done.usage if done.tokens_told else None for request_id, done in output.completions.items()}
    work.settle(state, usages)
    missing = _missing(state, remote, output)
    work.release(state, [request_id for request_id, failure in missing.items() if not failure.ran])
    lost = [request_id for request_id, failure in missing.items() if failure.ran]
    reasons = {request_id: failure.reason for request_id, failure in missing.items()}
    facts = {"replies": len(output.completions), "lost": lost, "missing": reasons, "problems": dict(output.problems)}
    state = work.note(state, "collected", status=remote.status, **facts)
    if output.problems:
        named = ", ".join(f"{name} {count:,}" for name, count in sorted(output.problems.items()))
        work.say(f"batch {remote.id}: lines of no use: {named}")
    return Collected(
        state=state,
        status=remote.status,
        new=tuple(new),
        missing=missing,
        lost=tuple(lost),
        lost_usd=sum(
            most_usd(ChatRequest.of_content(contents[request_id]), state.intent.prices) for request_id in lost
        ),
        learnt=work.learn(state, missing.values()),
    )


def reconcile(work: BatchWork) -> None:
    """Bring events and book up to the stored replies, without the endpoint, after a crash amid collecting."""
    for state in open_states(work.batches, work.api.endpoint):
        records = _own_records(work, state)
        if state.batch_id is not None and len(records) == len(state.request_ids):
            facts = {"replies": len(records), "lost": [], "missing": {}, "problems": {}}
            work.note(state, "collected", status=state.status, **facts)
    if work.budget is None:
        return
    for entry_id, _ in work.budget.spending.lost():
        kind, _, attempt = entry_id.partition(":")
        intent, _, request_id = attempt.partition(":")
        record = work.replies.get(request_id) if kind == "batch" and request_id.isalnum() else None
        if record is not None and record.get("batch", {}).get("intent") == intent:
            work.budget.spending.settle(entry_id, record["cost_usd"])


def _own_records(work: BatchWork, state: BatchState) -> list[Mapping[str, Any]]:
    """The stored replies to the batch's requests that it brought itself, up to the first that is not there."""
    records = []
    for request_id in state.request_ids:
        record = work.replies.get(request_id)
        if record is None or record.get("batch", {}).get("intent") != state.intent.id:
            break
        records.append(record)
    return records


async def _poll(work: BatchWork, batch_id: str, pause_s: float) -> RemoteBatch:
    """The endpoint's record of a batch; an endpoint that is silent for a while is asked again."""
    for _ in range(POLL_FAILURES - 1):
        try:
            return await work.api.retrieve(batch_id)
        except RefusedError:
            raise
        except EndpointError:
            if not work.api.answered:
                raise
            await asyncio.sleep(pause_s)
    return await work.api.retrieve(batch_id)


async def _read(work: BatchWork, state: BatchState, remote: RemoteBatch) -> BatchOutput:
    """The files of a batch. Where they hold fewer replies than the endpoint counts, they are read once more."""
    request_ids = frozenset(state.request_ids)
    output = BatchOutput(request_ids=request_ids)
    for _ in range(_READS):
        output = BatchOutput(request_ids=request_ids)
        for file_id in remote.file_ids:
            try:
                output.read(await work.api.content(file_id))
            except RefusedError:
                output.problems["file_missing"] += 1
        if len(output.completions) >= remote.counts.get("completed", 0):
            break
    return output


def _record(
    state: BatchState, content: Mapping[str, Any], request_id: str, completion: Completion, *, attempts: int
) -> dict[str, Any]:
    request, prices = ChatRequest.of_content(content), state.intent.prices
    seconds = (dt.datetime.now(dt.UTC) - state.submitted_at).total_seconds()
    cost = prices.cost(**completion.usage) if completion.tokens_told else most_usd(request, prices)
    record = reply_record(request_id, content, completion, cost_usd=cost, attempts=attempts, seconds=seconds)
    record |= state.dialect.facts(request) | {"batch": {"intent": state.intent.id, "id": state.batch_id}}
    promises = unpromised(request, record["left_out"], fingerprint=completion.fingerprint)
    return record | {"unpromised": list(promises)}


def _missing(state: BatchState, remote: RemoteBatch, output: BatchOutput) -> dict[str, RequestFailure]:
    """Why requests of the batch have no reply, in order."""
    named = named_lines(remote.errors, state.request_ids) if remote.status == "failed" else {}
    code, _, message = remote.errors[0] if remote.errors else ("", None, "")
    reasons = {"completed": "no_reply", "failed": f"batch_{code or 'failed'}"}
    completed = remote.counts.get("completed", len(state.request_ids))
    default = RequestFailure(
        reason=reasons.get(remote.status, f"batch_{remote.status}"),
        detail=message or f"batch {remote.id} is {remote.status} and has no reply to this request",
        ran=remote.status != "failed" and completed > len(output.completions),
        whole_batch=remote.status == "failed" and not named,
    )
    failures = output.failures | named
    return {
        request_id: failures.get(request_id, default)
        for request_id in state.request_ids
        if request_id not in output.completions
    }


async def cancel_batch(work: BatchWork, state: BatchState, *, patience_s: float = 120.0) -> BatchState:
    """Cancel the batch of an intent, wait for its end, and store the replies it has; the state afterwards.

    An endpoint may take minutes to end it. After `patience_s` the state is not `ended` yet: cancel again later, or let
    the next run that asks for its requests take in what it brought. A batch that the endpoint does not know is dropped,
    with what was set aside for it.
    """
    if state.ended:
        return state
    async with work.alone():
        if state.batch_id is None:
            remote = await work.find(state)
            if remote is None:
                state = work.note(state, "dropped", reason="cancelled before it was submitted")
                work.release(state, state.request_ids)
                return state
            state = work.note(state, "created", batch_id=remote.id)
    state = work.note(state, "cancelled")
    remote = await _cancelled(work, str(state.batch_id))
    if remote is None:
        return work.note(state, "dropped", reason="the endpoint does not know the batch")
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + patience_s
    while True:
        state = tell(work, state, remote)
        if remote.status in ENDED:
            return (await collect(work, state, remote)).state
        if loop.time() > give_up_at:
            return state
        await asyncio.sleep(work.pace.first_s)
        remote = await work.api.retrieve(remote.id)


async def _cancelled(work: BatchWork, batch_id: str) -> RemoteBatch | None:
    """The batch, cancelled, or as it is where it cannot be cancelled any more; None where there is none."""
    try:
        return await work.api.cancel(batch_id)
    except EndpointError:  # some say 409 of a batch that has ended
        try:
            return await work.api.retrieve(batch_id)
        except RefusedError as error:
            if error.reason == "http_404":
                return None
            raise
