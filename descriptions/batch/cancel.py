"""Ends a batch that is no longer wanted, and keeps what it has brought."""

import asyncio

from evenly.descriptions.batch.collection import collect, tell
from evenly.descriptions.batch.endpoint import RefusedError
from evenly.descriptions.batch.intents import BatchState
from evenly.descriptions.batch.remote import ENDED, RemoteBatch
from evenly.descriptions.batch.submission import BatchWork
from evenly.descriptions.errors import EndpointError


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
