"""Run a recipe's steps in this process, without Prefect; print the content hash. Not a test: tests start it.

usage: pipeline_driver.py RECIPE ROOT [--kill-at NAME] [--workers N] [--replay-from ROOT]

--kill-at ends the process with SIGKILL when the named function is called: a step's compute function, or one of
download-shard, samples-written, before-manifest.
"""

import argparse
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.steps import content_of, steps_of
from evenly.flows.runs import open_run
from evenly.storage.builds import Builds
from evenly.storage.samples import Samples
from evenly.tasks.rebuild.publish import publish_build
from evenly.tasks.stage import run_step
from evenly.tasks.step import Step


def killed(*_arguments: object, **_options: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(function: Callable[..., Any]) -> Callable[..., Any]:
    def then_killed(*arguments: object, **options: object) -> None:
        function(*arguments, **options)
        killed()

    return then_killed


def kill_halfway(step: Step) -> Step:
    """The step, killed once its result is computed and before it is committed."""
    return replace(step, judge=after(step.judge))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe")
    parser.add_argument("root")
    parser.add_argument("--kill-at", default="")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--replay-from")
    options = parser.parse_args()
    recipe = read_recipe(options.recipe)
    if options.kill_at == "samples-written":
        Samples.write = after(Samples.write)  # type: ignore[method-assign]
    if options.kill_at == "before-manifest":
        Builds.publish = killed  # type: ignore[method-assign]
    with open_run(
        recipe, root=options.root, workers=options.workers, replay_from=options.replay_from, quiet=True
    ) as run:
        records: tuple[Any, ...] = ()
        for step, rule in steps_of(recipe):
            chosen = kill_halfway(step) if step.name == options.kill_at else step
            records = (*records, run_step(run, chosen, records, rule))
        manifest = publish_build(run, records, name=recipe.name, recipe=content_of(recipe), limit=None, max_change=0.2)
    print(manifest["content_hash"])  # noqa: T201


if __name__ == "__main__":
    main()
