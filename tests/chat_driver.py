"""Asks some questions one by one, and stops dead at one point, to be killed there.

    chat_driver.py URL ROOT LIMIT_USD POINT QUESTION...

POINT is `before` or `after` and one of reserve, put, settle; or `never`.
"""

import asyncio
import sys
import threading

from evenly.descriptions.chat.budget import Budget
from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.chat.endpoint import Endpoint, Prices
from evenly.descriptions.chat.request import ChatRequest, Message, Sampling
from evenly.descriptions.chat.retries import RetryRule
from evenly.descriptions.texts.replies import list_schema
from evenly.storage.chat.requests import Requests
from evenly.storage.chat.spending import SpendingJournal
from evenly.storage.workspace import Workspace

PRICES = Prices(prompt_usd=1.0, completion_usd=4.0)


class StoppingJournal(SpendingJournal):
    def __init__(self, workspace, account, point) -> None:
        super().__init__(workspace, account)
        self.point = point

    def reserve(self, entry_id, usd, *, limit_usd=None):
        stop(self.point, "before reserve")
        fits = super().reserve(entry_id, usd, limit_usd=limit_usd)
        stop(self.point, "after reserve")
        return fits

    def settle(self, entry_id, usd):
        stop(self.point, "before settle")
        super().settle(entry_id, usd)
        stop(self.point, "after settle")


class StoppingRequests(Requests):
    def __init__(self, workspace, point) -> None:
        super().__init__(workspace)
        self.point = point

    def put(self, request_id, record):
        stop(self.point, "before put")
        super().put(request_id, record)
        stop(self.point, "after put")


def stop(point, here):
    if point == here:
        sys.stdout.write("here\n")
        sys.stdout.flush()
        threading.Event().wait(60)


def question(text):
    schema = list_schema("features", fewest=1, most=6)
    messages = (Message(role="user", content=text),)
    return ChatRequest(messages=messages, schema=schema, sampling=Sampling(max_tokens=100))


def make(endpoint, workspace, limit_usd, *, point="never", concurrency=2):
    budget = Budget(limit_usd, PRICES, StoppingJournal(workspace, "pets", point))
    store = StoppingRequests(workspace, point)
    return ChatClient(endpoint, store=store, budget=budget, concurrency=concurrency, retries=RetryRule(timeout_s=5.0))


async def ask(client, questions):
    async with client:
        asked = (client.ask(question(text)) for text in questions)
        return await asyncio.gather(*asked, return_exceptions=True)


def main():
    url, root, limit_usd, point, *questions = sys.argv[1:]
    client = make(Endpoint(base_url=url, model="tiny"), Workspace.at(root), float(limit_usd), point=point)
    replies = asyncio.run(ask(client, questions))
    sys.stdout.write(f"{sum(not isinstance(reply, Exception) for reply in replies)} replies\n")


if __name__ == "__main__":
    main()
