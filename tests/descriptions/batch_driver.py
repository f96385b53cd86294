"""Asks some questions by the batch, and stops dead at one point, to be killed there.

    batch_driver.py URL ROOT POINT QUESTION...

POINT is `before` or `after` and one of intent, put, narrowed, uploaded, created, polled, collected; or `never`.
"""

import asyncio
import sys
import threading

from evenly.descriptions.batch.client import BatchChatClient
from evenly.descriptions.batch.endpoint import BatchEndpoint
from evenly.descriptions.batch.submission import BatchPace, BatchWork
from evenly.descriptions.chat.budget import Budget
from evenly.descriptions.chat.endpoint import Endpoint, Prices
from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.storage.chat.requests import Batches, Requests
from evenly.storage.chat.spending import SpendingJournal
from evenly.storage.workspace import Workspace

FAST = BatchPace(first_s=0.01, longest_s=0.05, listed_after_s=0.0)
PRICES = Prices(prompt_usd=0.5, completion_usd=1.0)


class StoppingBatches(Batches):
    def __init__(self, workspace, point) -> None:
        super().__init__(workspace)
        self.point = point

    def create(self, intent_id, record, requests):
        stop(self.point, "before intent")
        made = super().create(intent_id, record, requests)
        stop(self.point, "after intent")
        return made

    def append(self, intent_id, event):
        stop(self.point, f"before {event['kind']}")
        super().append(intent_id, event)
        stop(self.point, f"after {event['kind']}")


class StoppingRequests(Requests):
    def __init__(self, workspace, point) -> None:
        super().__init__(workspace)
        self.point = point

    def put(self, request_id, record):
        super().put(request_id, record)
        stop(self.point, "after put")


def stop(point, here):
    if point == here:
        sys.stdout.write("here\n")
        sys.stdout.flush()
        threading.Event().wait(60)


async def ask(client, questions):
    async with client:
        requests = [ChatRequest(messages=(Message(role="user", content=text),)) for text in questions]
        return await asyncio.gather(*(client.ask(request) for request in requests))


def main():
    url, root, point, *questions = sys.argv[1:]
    workspace = Workspace.at(root)
    work = BatchWork(
        api=BatchEndpoint(endpoint=Endpoint(base_url=url, model="tiny"), timeout_s=20.0),
        replies=StoppingRequests(workspace, point),
        batches=StoppingBatches(workspace, point),
        class_list="pets",
        pace=FAST,
        budget=Budget(1.0, PRICES, SpendingJournal(workspace, "pets")),
        say=lambda line: sys.stderr.write(f"{line}\n"),
    )
    client = BatchChatClient(work, quiet_s=0.05)
    replies = asyncio.run(ask(client, questions))
    sys.stdout.write(f"{len(replies)} replies\n")


if __name__ == "__main__":
    main()
