"""Asynchronous work started by synchronous callers, in a script and in a notebook alike."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def synchronous(function: Callable[Parameters, Coroutine[Any, Any, Result]]) -> Callable[Parameters, Result]:
    """A function that gives the result of an asynchronous one, once that has ended."""

    @wraps(function)
    def ended(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return run_to_end(function(*args, **kwargs))

    return ended


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`; in a thread of its own where this thread's event loop runs, as in a notebook's cell.

    An interrupt of the caller cancels the work and waits for it to unwind.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1, thread_name_prefix="event loop") as pool:
        started = threading.Event()
        loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

        async def cancellable() -> Result:
            task = asyncio.current_task()
            if task is not None:
                loops.append((asyncio.get_running_loop(), task))
            started.set()
            return await work

        future = pool.submit(contextvars.copy_context().run, asyncio.run, cancellable())
        try:
            return future.result()
        except BaseException:
            if not future.done() and started.wait(1):
                loop, task = loops[0]
                loop.call_soon_threadsafe(task.cancel)
            raise
