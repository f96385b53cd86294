"""Measure `describe` beside a bare asyncio loop of the same requests: what cache, spending journal and checks cost.

Both ask one server, a process of its own, that waits 50 to 100 ms before each reply, by a hash of the request. Ours is
the real path: every reservation flushed to a journal before its request leaves, every reply stored durably before it is
used, every phrase checked against the list and WordNet. The bare loop makes the same requests with the same client
library and as many at a time, and keeps nothing. They take turns, each round with classes of its own, so that a busy
machine slows both. At last both run without any wait: the most that the client can do here, whatever answers.

Run: python -m benchmarks.describe_throughput [--rounds N] [--requests N] [--concurrency N ...]
"""

import argparse
import asyncio
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from openai import AsyncOpenAI

from benchmarks.instant_reply import instant_reply
from evenly.descriptions.chat.budget import Budget
from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.chat.dialect import Dialect
from evenly.descriptions.chat.endpoint import Endpoint, Prices
from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.describe import describe
from evenly.descriptions.methods.description import Description
from evenly.descriptions.texts.grounding import Grounding, Subject
from evenly.storage.chat.requests import Requests
from evenly.storage.chat.spending import SpendingJournal
from evenly.storage.files.wordnets import load_noun_synsets
from evenly.storage.workspace import Workspace

LATENCY_MS = (50, 100)
LEAST_RATIO = 0.95
PRICES = Prices(prompt_usd=0.4, completion_usd=1.6)
METHOD = Description()
PHRASES = ("has a long striped tail", "has four short legs", "has thick orange fur", "has round green eyes")


def ours(url: str, names: list[str], concurrency: int, grounding: Grounding) -> float:
    """Seconds to describe the classes, one request each."""
    with tempfile.TemporaryDirectory(prefix="evenly-bench-") as folder:
        workspace = Workspace(Path(folder))
        budget = Budget(1_000.0, PRICES, SpendingJournal(workspace, "bench"))
        client = ChatClient(
            Endpoint(base_url=url, model="made-up"), store=Requests(workspace), concurrency=concurrency, budget=budget
        )
        classes = parse_class_list("\n".join(names), "bench")
        started = time.perf_counter()
        found = describe(classes, methods=(METHOD,), client=client, grounding=grounding)
        took = time.perf_counter() - started
    if found.counts.requests_sent != len(names) or found.undescribed:
        sys.exit(f"each class must be described by one request; got {found.summary()}")
    return took


def bare(url: str, names: list[str], concurrency: int, _grounding: Grounding) -> float:
    """Seconds to make the same requests."""
    questions = [METHOD.questions(Subject(name=name))[0] for name in names]
    arguments = [Dialect().arguments(question, model="made-up") for question in questions]

    async def loop() -> None:
        places = asyncio.Semaphore(concurrency)
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

            async def one(asked: dict[str, object]) -> None:
                async with places:
                    await client.chat.completions.create(**asked)

            await asyncio.gather(*map(one, arguments))

    started = time.perf_counter()
    asyncio.run(loop())
    return time.perf_counter() - started


Side = Callable[[str, list[str], int, Grounding], float]


def compare(url: str, *, rounds: int, requests: int, concurrency: int, grounding: Grounding, title: str) -> float:
    """The median over rounds of our requests per second, divided by those of the bare loop."""
    sides: tuple[Side, Side] = (ours, bare)
    rates: dict[Side, list[float]] = {ours: [], bare: []}
    for number in range(rounds):
        names = [f"creature {title} {number} {one}" for one in range(requests)]
        for side in sides if number % 2 else sides[::-1]:
            rates[side].append(requests / side(url, names, concurrency, grounding))
        print(f"  round {number + 1}: ours {rates[ours][-1]:.1f}/s, bare {rates[bare][-1]:.1f}/s", flush=True)
    ratios = [mine / other for mine, other in zip(rates[ours], rates[bare], strict=True)]
    middle = {side: statistics.median(found) for side, found in rates.items()}
    shown = " / ".join(f"{value:.3f}" for value in (min(ratios), statistics.median(ratios), max(ratios)))
    print(
        f"{title}, {concurrency} at a time, {requests} requests: ours {middle[ours]:.1f}/s, bare {middle[bare]:.1f}/s, "
        f"ratio (min / median / max of {rounds} rounds) {shown}",
        flush=True,
    )
    return statistics.median(ratios)


@contextmanager
def serving(latency_ms: tuple[int, int]) -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.describe_throughput", "--serve", *map(str, latency_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - this file
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        finally:
            process.kill()


async def serve(fewest_ms: int, most_ms: int) -> None:
    """Answer every request with the same reply after a wait that follows from its body; print the port."""
    reply = instant_reply({"features": PHRASES}, prompt_tokens=120, completion_tokens=40)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                (length,) = (
                    int(line.partition(b":")[2])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                )
                digest = hashlib.blake2b(await reader.readexactly(length), digest_size=2).digest()
                share = int.from_bytes(digest, "big") / 65_536
                if most_ms:
                    await asyncio.sleep((fewest_ms + share * (most_ms - fewest_ms)) / 1000)
                writer.write(reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def run(rounds: int, requests: int, concurrencies: list[int]) -> None:
    grounding = Grounding(load_noun_synsets())
    found = {}
    with serving(LATENCY_MS) as url:
        for side in (ours, bare):  # loads what is loaded once
            side(url, ["creature"], 1, grounding)
        for concurrency in concurrencies:
            found[concurrency] = compare(
                url,
                rounds=rounds,
                requests=requests,
                concurrency=concurrency,
                grounding=grounding,
                title=f"{LATENCY_MS[0]} to {LATENCY_MS[1]} ms",
            )
    with serving((0, 0)) as url:
        options = {"rounds": rounds, "requests": requests, "concurrency": concurrencies[-1], "grounding": grounding}
        compare(url, title="no wait", **options)
    if short := [concurrency for concurrency, ratio in found.items() if ratio < LEAST_RATIO]:
        sys.exit(f"ours must make {LEAST_RATIO} of the bare loop's requests per second; it does not at {short}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--serve", type=int, nargs=2, metavar="MS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(*arguments.serve))
    else:
        run(arguments.rounds, arguments.requests, arguments.concurrency)
