"""Runs of jobs: called as flows where Prefect has an API, with workspace, cache, choices of the recipe and its web.

The Prefect API is the one of PREFECT_API_URL or a profile. The web is the demo's own, where the recipe asks for it.
"""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pydantic import TypeAdapter

from evenly.features.open_clip_models import check_model_name
from evenly.flows.cli.errors import PrefectServerError
from evenly.flows.process.environment import OF_A_COMMAND, command_settings, no_widgets
from evenly.redaction import keep_secrets_out_of_logs, without_secrets
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.storage.pools.source import LabelFile, PoolSource
from evenly.storage.web.rule import Retry
from evenly.storage.workspace import Workspace, adopt_observations, shared_use
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.scorers import read_scorers
from evenly.tasks.run import EncoderChoice, LabelColumns, Run, SecondChoice, read_engine
from evenly.tasks.server.api import has_api
from evenly.tasks.server.jobs import Job
from evenly.tasks.server.logs import keep_prefect_secrets, off_terminal

if TYPE_CHECKING:
    from evenly.flows.recipe import Labels, Recipe, Source, Web

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@contextmanager
def prefect_api() -> Iterator[None]:
    """Have Prefect set up for the jobs that a command calls while the context lasts, where it has an API.

    Where it has none they are called as functions, and Prefect is not loaded: evenly.tasks.server.jobs.
    """
    keep_secrets_out_of_logs()
    if not has_api():
        with no_widgets():
            yield
        return
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_LEVEL

    keep_prefect_secrets()
    with command_settings(), ExitStack() as stack:
        if PREFECT_LOGGING_LEVEL.value() == OF_A_COMMAND["PREFECT_LOGGING_LEVEL"]:  # not as the user wants to see more
            stack.enter_context(off_terminal())
        stack.enter_context(_needed(str(PREFECT_API_URL.value())))
        yield


def as_flow(job: Job[Parameters, Result]) -> Callable[Parameters, Result]:
    """A job for a command to call: as a flow where Prefect has an API, elsewhere as the function that it is."""
    return prefect_api()(job if has_api() else job.checked)


@contextmanager
def _needed(url: str) -> Iterator[None]:
    """Say in one line that the server is gone, where a flow can no longer report to it."""
    import httpx
    from prefect.exceptions import PrefectException

    try:
        yield
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        if (reason := _server_trouble(error)) is None:
            raise
        raise PrefectServerError(
            f"the Prefect server at `{without_secrets(url)}` must answer until the end; {reason}. See that it runs and "
            "that PREFECT_API_URL is its address, then run again: what is finished is kept and reused."
        ) from None


def _server_trouble(error: BaseException) -> str | None:
    """What a server did wrong, by an error of Prefect's client or one that came of it; None for another error."""
    if type(error).__module__.startswith("evenly."):
        return None
    import httpx

    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    for cause in causes:
        if isinstance(cause, httpx.HTTPStatusError):
            return f"it answered with status {cause.response.status_code}"
        if isinstance(cause, httpx.TransportError):
            return without_secrets(str(cause)) or type(cause).__name__
    text = str(error).partition("\n")[0]
    return without_secrets(text.rstrip(".")) if text.startswith(("Failed to reach API", "Found incompatible")) else None


def in_shared_use(flow_function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """A function that writes in the workspace at its `root`, as flows do: nobody removes anything from it meanwhile."""

    @wraps(flow_function)
    def used(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        arguments = inspect.signature(flow_function).bind(*args, **kwargs).arguments
        workspace = Workspace.at(arguments.get("root"))
        with shared_use(workspace, flow_function.__name__.replace("_", " ")):
            return flow_function(*args, **kwargs)

    return used


# The demo's own web, made once and served on a loopback address while a run lasts.


@contextmanager
def loopback(run: Run, web: "str | Web | None") -> Iterator[Mapping[str, str]]:
    """Yield where hosts are reached: those that the recipe names, or those of the demo's web while it is served."""
    if not isinstance(web, str):
        yield {**(web.connect if web else {}), **run.connect}
        return
    from evenly.demo import loopback_web, make_demo

    folder = run.cache / "demo"
    with run.progress.bar("drawing the demo's pictures", None) as advance:
        make_demo(folder, progress=advance)
    with loopback_web(folder) as connect:
        yield connect


@contextmanager
def open_run(
    recipe: "Recipe",
    *,
    root: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    retry: Retry | None = None,
    replay_from: str | os.PathLike[str] | None = None,
    quiet: bool = False,
) -> Iterator[Run]:
    """A run of `recipe` in the workspace at `root`; while it is open, the recipe's loopback web is served."""
    if recipe.has_pictures:
        check_model_name(recipe.features.model, recipe.features.pretrained)
    run = replace(run_in(recipe, root=root, workers=workers, quiet=quiet), retry=retry)
    if recipe.curate.values:
        run = replace(run, scorers=read_scorers(run, recipe.curate.values))
    if replay_from is not None:
        adopt_observations(run.workspace, Workspace.at(replay_from))
    with loopback(run, recipe.web) as connect:
        yield replace(run, connect=connect)


def run_in(
    recipe: "Recipe",
    *,
    root: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    quiet: bool = False,
) -> Run:
    """A run of `recipe` that reaches no web: enough to plan, fit and look."""
    run = Run(
        workspace=Workspace.at(root),
        seed=recipe.seed,
        folder=recipe.folder,
        processes=workers or os.cpu_count() or 1,
        engine=recipe.engine,
        encoder=recipe.features.encoder,
        second=recipe.features.second,
        views=recipe.features.views,
        stores_cells=recipe.curate.regions is not None and recipe.curate.regions.stores_cells,
        progress=Progress(quiet=quiet, subject=recipe.name),
    )
    sources = tuple(pool_of(run, source) for source in recipe.sources)
    return replace(run, sources=sources, labels=_labels(run, recipe.labels))


def with_engine(recipe: "Recipe", engine: str | None) -> "Recipe":
    """The recipe with another engine, where one is named. Raises InputError for one that cannot be."""
    if engine is None:
        return recipe
    try:
        return recipe.model_copy(update={"engine": read_engine(engine)})
    except ValueError as error:
        raise InputError(f"`engine` {error}. Correct --engine.") from None


def pool_of(run: Run, source: "Source") -> PoolSource:
    """Where a source of a recipe is read from."""
    return replace(source.pool, path=run.expand(source.path))


def _labels(run: Run, labels: "Labels | None") -> LabelFile | LabelColumns | None:
    if labels is None:
        return None
    if labels.file is None:
        return LabelColumns(label=labels.column, group=labels.group)
    return LabelFile(file=run.locate(labels.file), key=labels.key, column=labels.column, group=labels.group)


def build_run(build: str, *, root: str | os.PathLike[str] | None = None, quiet: bool = False) -> Run:
    """A run with the encoder and the seed of a build, for work on its pictures without its recipe's file."""
    workspace = Workspace.at(root)
    manifest = Builds(workspace).read(build)
    encoder = TypeAdapter(EncoderChoice).validate_python(manifest["recipe"]["features"])
    folder = Path((manifest.get("split") or {}).get("folder", ""))  # a split file is all that a build names by path
    return Run(
        workspace=workspace,
        seed=manifest["seed"],
        folder=folder,
        encoder=encoder,
        progress=Progress(quiet=quiet, subject=str(manifest["recipe_name"])),
    )


def encoder_choice(named: Mapping[str, Any], features: Mapping[str, Any]) -> EncoderChoice:
    """The encoder that a manifest or a card names, with those of its `features` that change its numbers."""
    kinds = (*EncoderChoice().numbers, "engine")
    numbers = {name: features[name] for name in kinds if name in features}
    return EncoderChoice(model=named["model"], pretrained=named["pretrained"], **numbers)


def workspace_run(
    root: str | os.PathLike[str] | None = None,
    *,
    quiet: bool = False,
    encoder: EncoderChoice | None = None,
    second: SecondChoice | None = None,
) -> Run:
    """A run without a recipe, for work on what a workspace holds."""
    return Run(
        workspace=Workspace.at(root),
        seed=0,
        encoder=encoder or EncoderChoice(),
        second=second,
        progress=Progress(quiet=quiet),
    )
