"""What `evenly describe` does: describe here, or submit the list so that the deployment does."""

import hashlib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flows.class_rules import DEFAULT_METHODS, describe_rule, payment_of
from flows.cli_errors import UsageError
from flows.describe_classes import describe_classes
from flows.opening import workspace_run
from flows.recipe import LanguageModel
from flows.recipe_files import ListingText
from flows.recipe_problems import describe_problems
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.describe import account, estimate_list, spent

EVENT = "evenly.class-list.submitted"


NOTHING_SENT = {"requests_sent": 0, "attempts": 0, "cost_usd": 0.0, "lost_attempts": 0, "lost_usd": 0.0}


def language_model(**options: Any) -> LanguageModel:  # noqa: ANN401 - the fields of LanguageModel
    """The language model of these options; raises UsageError where they do not go together."""
    try:
        return LanguageModel(**options)
    except ValidationError as error:
        problems = "\n".join(describe_problems(error, LanguageModel))
        raise UsageError(problems.replace("`recipe`: ", "").replace(" and run `evenly check` again", "")) from None


def describe_list(
    listing: ListingText, *, methods: list[str] | None, llm: LanguageModel, root: Path | None
) -> dict[str, Any]:
    """Describe a class list in this process; counts, and every text with its verdict.

    Requests and cost count as of this call: none were sent if the whole step was found in the ledger. `account` is what
    all runs on the list have cost, None where nothing has a price.
    """
    describe_rule(name=listing.name, text=listing.text, methods=methods, llm=llm)
    ledger = Ledger(Workspace.at(root))
    before = {record.key for record in ledger.records("describe")}
    key = describe_classes(
        name=listing.name,
        text=listing.text,
        methods=methods,
        **llm.model_dump(),
        root=None if root is None else str(root),
    )
    record = ledger.find(key)
    if record is None:
        raise UsageError(f"step `{key}` must be in the ledger; it is not. Was the workspace removed meanwhile?")
    facts = dict(record.notes)
    if key in before:
        hits = int(facts["requests_sent"]) + int(facts["cache_hits"])
        facts |= NOTHING_SENT | {"cache_hits": hits}
    facts["account"] = spent(account(workspace_run(root, payment=payment_of(llm)), listing.name))
    return {**facts, "step": key, "descriptions": ledger.table(record, "descriptions").to_pylist()}


def estimate_listing(
    listing: ListingText, *, methods: list[str] | tuple[str, ...] | None, llm: LanguageModel, root: Path | None
) -> list[dict[str, Any]]:
    """What describing a class list would ask and cost now, a row for each method; nothing is sent."""
    rule = describe_rule(name=listing.name, text=listing.text, methods=methods, llm=llm)
    return estimate_list(workspace_run(root, quiet=True, payment=payment_of(llm)), rule)


def submit_list(
    listing: ListingText, *, methods: list[str] | None, llm: LanguageModel, root: Path | None
) -> dict[str, Any]:
    """Emit the event that the deployment `describe` waits for; what was emitted.

    Raises UsageError where no Prefect server is named: an event without a server reaches nobody.
    """
    from prefect.events import emit_event
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_URL

    chosen = list(methods or DEFAULT_METHODS)
    describe_rule(name=listing.name, text=listing.text, methods=chosen, llm=llm)
    if not PREFECT_API_URL.value():
        raise UsageError(
            "`PREFECT_API_URL` must name a Prefect server for --submit; it is not set. Start one with "
            "`prefect server start` and `evenly serve`, or describe here without --submit."
        )
    identity = hashlib.sha256(listing.text.encode()).hexdigest()[:16]
    payload = {"name": listing.name, "text": listing.text, "methods": chosen, "root": str(Workspace.at(root).root)}
    payload |= llm.model_dump(mode="json")
    event = emit_event(event=EVENT, resource={"prefect.resource.id": f"evenly.class-list.{identity}"}, payload=payload)
    EventsWorker.instance().drain()
    return {
        "event": str(event.id) if event is not None else None,
        "resource": f"evenly.class-list.{identity}",
        **payload,
    }
