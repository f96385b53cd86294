"""`evenly describe`: describe a class list here, or submit it so that the deployment does."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import TypeAdapter, ValidationError

from evenly.adapters.methods.fudd import ConfusablePairs
from evenly.descriptions.chat.endpoint import LanguageModel
from evenly.descriptions.described import METHODS_ABOUT_PAIRS
from evenly.flows.cli.errors import PrefectServerError, UsageError
from evenly.flows.describe_classes import describe_classes
from evenly.flows.recipe import Source, read_recipe
from evenly.flows.recipe.class_rules import DEFAULT_METHODS, ListContext, describe_rule, describing
from evenly.flows.recipe.files import ListingText
from evenly.flows.recipe.problems import describe_problems
from evenly.flows.runs import as_flow, prefect_api
from evenly.options import LanguageModelOptions
from evenly.signatures import Place, fields_of
from evenly.storage.builds import Builds
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.pools.rows import file_kind
from evenly.storage.workspace import Workspace
from evenly.tasks.chat.endpoints import account, spent
from evenly.tasks.classes.confusable import expected_pairs
from evenly.tasks.classes.describe import COUNT_NAMES, estimate_list
from evenly.tasks.server.artifacts import server_client
from evenly.tasks.server.events import WORKSPACE

EVENT = "evenly.class-list.submitted"
NO_CONTEXT = ListContext()
NOTHING_SENT = dict.fromkeys(
    ("requests_sent", "attempts", "prompt_tokens", "completion_tokens", "cost_usd", "lost_attempts", "lost_usd"), 0
)


def language_model(options: LanguageModelOptions) -> LanguageModel:
    """The language model of these options; raises UsageError where they do not go together."""
    try:
        return TypeAdapter(LanguageModel).validate_python(fields_of(LanguageModel, options))
    except ValidationError as error:
        problems = "\n".join(describe_problems(error, LanguageModel))
        raise UsageError(problems.replace("`recipe`: ", "").replace(" and run `evenly check` again", "")) from None


def describe_list(
    listing: ListingText,
    *,
    methods: Sequence[str] | None,
    llm: LanguageModel,
    root: Place | None,
    context: ListContext = NO_CONTEXT,
) -> dict[str, Any]:
    """Describe a class list in this process; counts, and every text with its verdict.

    Requests and cost count as of this call: none were sent if the whole step was found in the ledger. `account` is what
    all runs on the list have cost, None where nothing has a price. Where texts were chosen on a build, `selection` says
    how many of each method stay, `selection_step` is the key of their verdicts. Where names were counted, `names` and
    `most_frequent` are the tables of the step `count_names`.
    """
    todo = describing(describe_rule(listing, methods=methods, llm=llm), llm, context, root=root)
    ledger = todo.run.ledger
    earlier_keys = {record.key for record in ledger.records("describe")}
    key = as_flow(describe_classes)(
        listing.name,
        listing.text,
        methods=methods,
        **vars(llm),
        **vars(context),
        root=None if root is None else os.fspath(root),
    )
    record = ledger.get(key)
    facts = dict(record.notes)
    if key in earlier_keys:
        hits = int(facts["requests_sent"]) + int(facts["cache_hits"])
        facts |= NOTHING_SENT | {"cache_hits": hits}
    facts["account"] = spent(account(todo.run, listing.name))
    facts |= {"step": key, "descriptions": ledger.table(record, "descriptions").to_pylist()}
    if (chosen := todo.choice(record)) is not None:
        facts |= {"selection": chosen.notes["selection"], "selection_step": chosen.key}
    counted = None if todo.names is None else ledger.find(COUNT_NAMES.spec(todo.run, (record,), todo.names).key)
    return facts if counted is None else facts | _counts(ledger, counted)


def _counts(ledger: Ledger, counted: StepRecord) -> dict[str, Any]:
    tables = {name: ledger.table(counted, name).to_pylist() for name in ("names", "most_frequent")}
    return {"captions_searched": counted.notes["captions_searched"], **tables}


def estimate_listing(
    listing: ListingText,
    *,
    methods: Sequence[str] | None,
    llm: LanguageModel,
    root: Place | None,
    context: ListContext = NO_CONTEXT,
) -> list[dict[str, Any]]:
    """The requests and cost of describing a class list now, a row for each method; nothing is sent.

    `pairs_asked` and `pairs_possible` are 0 but for methods about pairs of classes.
    """
    todo = describing(describe_rule(listing, methods=methods, llm=llm), llm, context, root=root, quiet=True)
    pairs, possible, upstream = expected_pairs(todo.run, todo.pairs)
    upstream = todo.with_phrases(upstream)
    return [
        row
        | {"pairs_asked": len(pairs) if row["method"] in METHODS_ABOUT_PAIRS else 0}
        | {"pairs_possible": possible if row["method"] in METHODS_ABOUT_PAIRS else 0}
        for row in estimate_list(todo.run, todo.rule, pairs, upstream=upstream)
    ]


def list_context(
    build: str | None,
    *,
    root: Place | None,
    pairs: ConfusablePairs = NO_CONTEXT.pairs,
    pool: Place | None = None,
    caption: str = "caption",
) -> ListContext:
    """What the options of `evenly describe` name: a build, or a recipe for its latest build and split; a pool."""
    split = None
    if build is not None and build.endswith((".yaml", ".yml")):
        recipe = read_recipe(build)
        split = None if recipe.labels is None else recipe.labels.split
        build = f"{recipe.name}-latest"
    if build is not None:
        build = str(Builds(Workspace.at(root)).read(build)["build"])
    source = None if pool is None else Source(kind=_kind(Path(pool)), path=str(pool), caption=caption)
    return ListContext(build=build, split=split, pairs=pairs, pool=source)


def _kind(pool: Path) -> Literal["parquet", "csv", "jsonl"]:
    for kind in ("parquet", "csv", "jsonl"):
        if file_kind(pool) == kind:
            return kind
    raise UsageError(f"`--pool` must end in .parquet, .csv or .jsonl; got `{pool}`. Convert it, or rename it.")


def submit_list(
    listing: ListingText, *, methods: Sequence[str] | None, llm: LanguageModel, root: Place | None
) -> dict[str, Any]:
    """Emit the event that the deployment `describe` waits for; what was emitted.

    Raises UsageError where no Prefect server is named: an event without a server reaches nobody, and PrefectServerError
    where it does not take the event.
    """
    from prefect.events import Event, Resource
    from prefect.settings import PREFECT_API_URL

    chosen = list(methods or DEFAULT_METHODS)
    describe_rule(listing, methods=chosen, llm=llm)
    if not PREFECT_API_URL.value():
        raise UsageError(
            "`PREFECT_API_URL` must name a Prefect server for --submit; it is not set. Start one with "
            "`prefect server start` and `evenly serve`, or describe here without --submit."
        )
    identity = hashlib.sha256(listing.text.encode()).hexdigest()[:16]
    payload = {"name": listing.name, "text": listing.text, "methods": chosen, "root": str(Workspace.at(root).root)}
    payload |= vars(llm)
    resource = f"evenly.class-list.{identity}"
    subject = Resource({"prefect.resource.id": resource, WORKSPACE: str(payload["root"])})
    event = Event(event=EVENT, resource=subject, payload=payload)
    with prefect_api(), server_client() as client:
        try:
            client.request("POST", "/events", json=[event.model_dump(mode="json")])
        except httpx.HTTPStatusError as error:
            raise PrefectServerError(
                f"the Prefect server must take the event of a class list; it answered {error.response.status_code}. "
                "See whether PREFECT_API_URL and PREFECT_API_KEY are those of the server, and its log."
            ) from None
    return {"event": str(event.id), "resource": resource, **payload}
