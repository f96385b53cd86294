"""Describe the class lists that appear in a folder or below a bucket prefix; one run is one look."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge

from evenly.flows.describe_classes import ListOptions, describe_classes
from evenly.flows.recipe.class_rules import DEFAULT_METHODS
from evenly.flows.runs import in_shared_use, workspace_run
from evenly.signatures import fields_of, options_of, taking_values
from evenly.tasks.classes.watch import look_for_lists, note_described, rows_in_words
from evenly.tasks.server.api import opaque
from evenly.tasks.server.jobs import ended, job


@dataclass(frozen=True, kw_only=True)
class WatchOptions(ListOptions):
    """Options of a look: those of each list, and which lists wait."""

    settle_s: Annotated[float, Ge(0), "Seconds since its last change before a file is read; others wait."] = 10.0


@job("watch-classes", flow_run_name="watch {folder}")
@in_shared_use
@taking_values(WatchOptions)
def watch_classes(
    folder: Annotated[str, "A path, in which {root} stands for the workspace, or a URL such as s3://bucket/lists."],
    **values: object,
) -> list[Mapping[str, Any]]:
    """Describe each `*.txt` of `folder` whose content is new; a row (file, status) for each that was looked at anew."""
    options = options_of(WatchOptions, values)
    run = workspace_run(options.root, quiet=options.quiet)
    chosen = list(options.methods or DEFAULT_METHODS)
    method = {"methods": chosen, "base_url": options.base_url, "model": options.model}
    look = look_for_lists(run, folder, method, settle_s=options.settle_s)
    shared = fields_of(ListOptions, options) | {"methods": chosen, "root": str(run.workspace.root)}
    states = [describe_classes(listed.name, listed.text, **shared, return_state=True) for listed in look.new]
    rows = note_described(run, look, opaque(states))
    return ended(rows, rows_in_words(rows))
