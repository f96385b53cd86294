"""Describe a class list: by hand, within a rebuild, or caused by the event of `evenly describe --submit`."""

from prefect import flow

from evenly.adapters.methods.fudd import ConfusablePairs
from evenly.flows.recipe import Source
from evenly.flows.recipe.describing import ListContext, describing
from evenly.flows.recipe.files import ListingText
from evenly.flows.runs import in_shared_use
from evenly.tasks.classes.confusable import confusable_pairs
from evenly.tasks.classes.describe import DESCRIBE, announce_described
from evenly.tasks.classes.names import COUNT_NAMES
from evenly.tasks.run import EncoderChoice, LanguageModel
from evenly.tasks.server.retries import tried_again
from evenly.tasks.server.states import ended
from evenly.tasks.step import run_step


@flow(name="describe-classes", flow_run_name="describe {name}", persist_result=False)
@tried_again
@in_shared_use
def describe_classes(
    name: str,
    text: str,
    methods: list[str] | None = None,
    base_url: str = "embedded",
    model: str = "smollm2",
    encoder: str = "embedded",
    pretrained: str | None = None,
    budget_usd: float | None = None,
    prompt_usd_per_million: float = 0.0,
    completion_usd_per_million: float = 0.0,
    batch: bool = False,
    build: str | None = None,
    split: str | None = None,
    pairs: ConfusablePairs = ConfusablePairs(),  # noqa: B008 - frozen
    pool: Source | None = None,
    root: str | None = None,
    quiet: bool = False,
) -> str:
    """Describe the classes of `text`, one per line, by each of `methods`; the key of the step record.

    base_url: `embedded`, or an OpenAI-compatible endpoint, whose key comes from OPENAI_API_KEY. encoder, pretrained:
    the open_clip model that tells whether a synonym means its own class; that of the build, where one is named.
    budget_usd: what the list may cost in all its runs, at prices in US dollars for a million tokens. batch: send the
    requests through the endpoint's Batch API. build, split, pairs, pool: see evenly.flows.recipe.describing.Beside.
    """
    todo = describing(
        ListingText(name=name, text=text),
        methods=methods,
        llm=LanguageModel(
            base_url=base_url,
            model=model,
            budget_usd=budget_usd,
            prompt_usd_per_million=prompt_usd_per_million,
            completion_usd_per_million=completion_usd_per_million,
            batch=batch,
        ),
        encoder=EncoderChoice(model=encoder, pretrained=pretrained),
        context=ListContext(build=build, split=split, pairs=pairs, pool=pool),
        root=root,
        quiet=quiet,
    )
    confusable = () if todo.pairs is None else (confusable_pairs(todo.run, todo.pairs),)
    described = run_step(todo.run, DESCRIBE, confusable, todo.rule)
    outcome = announce_described(todo.run, described)
    if todo.names is not None:
        run_step(todo.run, COUNT_NAMES, (described,), todo.names)
    return ended(described.key, outcome)
