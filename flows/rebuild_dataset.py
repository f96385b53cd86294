"""Rebuild a dataset by its recipe: on a schedule, by hand, or as part of the demo."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from evenly.flows.describe_classes import describe_classes
from evenly.flows.recipe import Recipe, read_notify, read_recipe
from evenly.flows.recipe.files import read_listing
from evenly.flows.recipe.steps import content_of, say_changes, steps_of
from evenly.flows.runs import open_run, with_engine
from evenly.options import RebuildOptions
from evenly.signatures import options_of, taking_values
from evenly.storage.builds import Builds
from evenly.storage.lineage.emitter import rebuild_events
from evenly.storage.web.rule import Retry
from evenly.storage.workspace import Workspace, writing
from evenly.tasks.partitioning import cut_run, open_engine
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.balance import say_concepts
from evenly.tasks.rebuild.features import encode_pairs
from evenly.tasks.rebuild.publish import publish_build
from evenly.tasks.run import Each, Records, Run
from evenly.tasks.server.builds import Published, ended_with, published, show_build, show_results, tell_of
from evenly.tasks.server.jobs import ended, job, reason_to_skip
from evenly.tasks.server.journal import RunNotes
from evenly.tasks.server.notices import Notice, log_to_run, send_notice
from evenly.tasks.splits import describe_split
from evenly.tasks.stage import Steps, run_step, run_steps
from evenly.tasks.step import check_ready

if TYPE_CHECKING:
    from prefect import Flow, State
    from prefect.client.schemas.objects import FlowRun


def _name_of_run() -> str:
    """The recipe by its file; when the build is there, the run is named by that."""
    from prefect.runtime import flow_run

    return f"rebuild {Path(flow_run.parameters['recipe']).stem}"


def tell_of_failure(flow: "Flow[..., Any]", flow_run: "FlowRun", state: "State[Any]") -> None:  # noqa: ARG001 - Prefect's
    """Tell the recipe's blocks of a run that failed or crashed, but not of one by hand that was interrupted."""
    recipe, notify = read_notify(flow_run.parameters["recipe"])
    if notify is not None and (state.is_failed() or flow_run.deployment_id is not None):
        notice = Notice(event="failed", recipe=recipe, text=state.message or str(state.name), run=str(flow_run.id))
        send_notice(notice, notify.blocks_for(notice.event), log_to_run(flow_run))


@job("rebuild-dataset", flow_run_name=_name_of_run, on_failure=[tell_of_failure], on_crashed=[tell_of_failure])
@taking_values(RebuildOptions)
def rebuild_dataset(recipe: Annotated[str, "The path of the recipe's file."], **values: object) -> str:
    """Rebuild by the recipe file; the id of the published build. With a limit it has no descriptions and adapters.

    Raises WriterError where another process rebuilds the recipe there still.
    """
    options = options_of(RebuildOptions, values)
    name, notify = read_notify(recipe)
    limit, quiet, notes = options.limit, options.quiet, RunNotes(root=options.root, recipe=name)
    notes.file = str(Path(recipe).absolute())
    with notes:
        chosen = read_recipe(recipe)
    notes.max_age = None if chosen.schedule is None else chosen.schedule.max_age
    notes.blocks = () if notify is None else notify.blocks_for("stale")
    if chosen.schedule is not None and (reason := reason_to_skip(chosen.schedule.catch_up)):
        return ended(reason, reason, outcome="skipped")
    with (
        writing(
            Workspace.at(options.root),
            chosen.name,
            wait_s=options.wait_s,
            say=lambda text: Progress(quiet=quiet).say(f"{'waiting':<24} {text}"),
        ),
        notes,
        open_run(
            with_engine(chosen, options.engine),
            root=options.root,
            workers=options.workers,
            retry=_retry(chosen, options, notes.started),
            replay_from=options.replay_from,
            quiet=quiet,
        ) as run,
        rebuild_events(run.workspace, chosen.name, notes.flow_run["run"], run.progress.warn) as completed,
    ):
        notes.run = run
        notes.write()
        say_changes(run.workspace, run.progress, chosen)
        with open_rebuild(run, chosen, limit=limit, memory=options.memory) as rebuild:
            records = run_steps(rebuild.run, rebuild.steps, rebuild.engine)
            result = notes.build = rebuild.publish(records)
        completed(result.manifest)
        show_build(run, result)
        build, root_of_run = result.build, str(run.workspace.root)
        for listing in () if limit else chosen.classes:
            classes = read_listing(recipe, listing)
            describe_classes(
                classes.name,
                classes.text,
                methods=list(listing.methods),
                **vars(chosen.llm),
                build=build,
                split=None if chosen.labels is None else chosen.labels.split,
                pairs=listing.pairs,
                root=root_of_run,
                quiet=quiet,
            )
        if chosen.classes and not limit:
            from evenly.flows.fit_adapters import fit_adapters  # here, for it loads pandas

            fit_adapters(recipe=recipe, build=build, root=root_of_run, quiet=quiet)
        if chosen.measured_pairs and result.manifest["samples"]["kept"] > 1:
            from evenly.tasks.adapters.probes import pair_measures

            for step, rule in pair_measures(build, pairs=chosen.measured_pairs):
                run_step(run, step, (), rule)
        notes.write()  # the report says what was asked again
        show_results(run, result)
        tell_of(run, result, () if chosen.notify is None else chosen.notify.blocks_for(result.event))
        return ended_with(result)


def _retry(recipe: Recipe, options: RebuildOptions, started: datetime) -> Retry | None:
    """The failed downloads that are asked again: all that may pass if that is asked for, none in a replay."""
    if options.retry_failed:
        return Retry()
    return None if options.replay_from is not None else recipe.retry_at(started)


@dataclass(frozen=True, kw_only=True)
class OpenRebuild:
    """The steps of a recipe in a run whose pools are cut into partitions, and what works on these.

    split: what is published of the recipe's split file.
    """

    run: Run
    engine: Each
    recipe: Recipe
    steps: Steps
    limit: int | None
    split: Mapping[str, str] | None

    def publish(self, records: Records, *, promote: bool = True) -> Published:
        """Publish a build of what the steps left; the pairs that all of them keep are encoded where that is asked for.

        Without `promote`, `latest` stays where it is.
        """
        run, recipe, engine, limit = self.run, self.recipe, self.engine, self.limit
        max_change = recipe.guard.max_change if promote else None
        previous = None if limit else Builds(run.workspace).latest_of(recipe.name)
        say_concepts(run, records)
        if recipe.has_pictures and recipe.features.encode:
            run = replace(run, encoder_identity=encode_pairs(run, records, engine)["encoder"])
        build = publish_build(
            run, records, name=recipe.name, recipe=content_of(recipe), limit=limit, split=self.split,
            max_change=max_change, engine=engine,
        )  # fmt: skip
        return published(run, build, previous=previous, max_change=max_change)


@contextmanager
def open_rebuild(
    run: Run, recipe: Recipe, *, limit: int | None = None, memory: str | None = None
) -> Iterator[OpenRebuild]:
    """A rebuild whose steps have what they need: that is looked for first."""
    steps = steps_of(recipe, limit=limit)
    check_ready(run, steps)
    path = None if recipe.labels is None else recipe.labels.split
    split = None if path is None else describe_split(run, path)
    cut = cut_run(run, pictured=recipe.has_pictures, memory=memory or recipe.memory, limit=limit)
    run = replace(run, bits=cut.bits, pairs=cut.rows)
    with open_engine(run, cut.workers) as engine:
        yield OpenRebuild(run=run, engine=engine, recipe=recipe, steps=steps, limit=limit, split=split)
