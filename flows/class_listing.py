"""What `evenly describe` does: describe here, or submit the list so that the deployment does."""

import hashlib
from pathlib import Path
from typing import Any

from flows.class_rules import DEFAULT_METHODS, describe_rule
from flows.cli_errors import UsageError
from flows.describe_classes import describe_classes
from flows.recipe import LanguageModel
from flows.recipe_files import ListingText
from storage.ledger import Ledger
from storage.workspace import Workspace

EVENT = "evenly.class-list.submitted"


def describe_list(
    listing: ListingText, *, methods: list[str] | None, base_url: str, model: str, root: Path | None
) -> dict[str, Any]:
    """Describe a class list in this process; counts, and every text with its verdict.

    Requests count as of this call: none were sent if the whole step was found in the ledger.
    """
    describe_rule(
        name=listing.name, text=listing.text, methods=methods, llm=LanguageModel(base_url=base_url, model=model)
    )
    ledger = Ledger(Workspace.at(root))
    before = {record.key for record in ledger.records("describe")}
    key = describe_classes(
        name=listing.name,
        text=listing.text,
        methods=methods,
        base_url=base_url,
        model=model,
        root=None if root is None else str(root),
    )
    record = ledger.find(key)
    if record is None:
        raise UsageError(f"step `{key}` must be in the ledger; it is not. Was the workspace removed meanwhile?")
    facts = dict(record.notes)
    if key in before:
        hits = int(facts["requests_sent"]) + int(facts["cache_hits"])
        facts |= {"requests_sent": 0, "attempts": 0, "cache_hits": hits, "cost_usd": 0.0}
    return {**facts, "step": key, "descriptions": ledger.table(record, "descriptions").to_pylist()}


def submit_list(listing: ListingText, *, methods: list[str] | None, root: Path | None) -> dict[str, Any]:
    """Emit the event that the deployment `describe` waits for; what was emitted.

    Raises UsageError where no Prefect server is named: an event without a server reaches nobody.
    """
    from prefect.events import emit_event
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_URL

    chosen = list(methods or DEFAULT_METHODS)
    describe_rule(name=listing.name, text=listing.text, methods=chosen, llm=LanguageModel())
    if not PREFECT_API_URL.value():
        raise UsageError(
            "`PREFECT_API_URL` must name a Prefect server for --submit; it is not set. Start one with "
            "`prefect server start` and `evenly serve`, or describe here without --submit."
        )
    identity = hashlib.sha256(listing.text.encode()).hexdigest()[:16]
    payload = {"name": listing.name, "text": listing.text, "methods": chosen, "root": str(Workspace.at(root).root)}
    event = emit_event(event=EVENT, resource={"prefect.resource.id": f"evenly.class-list.{identity}"}, payload=payload)
    EventsWorker.instance().drain()
    return {
        "event": str(event.id) if event is not None else None,
        "resource": f"evenly.class-list.{identity}",
        **payload,
    }
