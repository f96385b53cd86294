"""Describe a class list: by hand, within a rebuild, or caused by the event of `evenly describe --submit`."""

from prefect import flow

from flows.class_rules import describe_rule, payment_of
from flows.opening import workspace_run
from flows.recipe import LanguageModel
from tasks.describe import DESCRIBE
from tasks.run import EncoderChoice
from tasks.step import run_step


@flow(name="describe-classes", flow_run_name="describe {name}", persist_result=False)
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
    root: str | None = None,
    quiet: bool = False,
) -> str:
    """Describe the classes of `text`, one per line, by each of `methods`; the key of the step record.

    base_url: `embedded`, or an OpenAI-compatible endpoint, whose key comes from OPENAI_API_KEY. encoder, pretrained:
    the open_clip model that tells whether a synonym means its own class. budget_usd: what the list may cost in all its
    runs, at prices in US dollars for a million tokens. batch: send the requests through the endpoint's Batch API.
    """
    llm = LanguageModel(
        base_url=base_url,
        model=model,
        budget_usd=budget_usd,
        prompt_usd_per_million=prompt_usd_per_million,
        completion_usd_per_million=completion_usd_per_million,
        batch=batch,
    )
    run = workspace_run(
        root,
        quiet=quiet,
        encoder=EncoderChoice(model=encoder, pretrained=pretrained),
        payment=payment_of(llm),
    )
    rule = describe_rule(name=name, text=text, methods=methods, llm=llm)
    return run_step(run, DESCRIBE, (), rule).key
