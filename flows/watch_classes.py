"""Describe the class lists that appear in a folder or below a bucket prefix; one run is one look."""

from collections.abc import Mapping
from typing import Any

from prefect import flow, tags
from prefect.runtime import flow_run
from prefect.utilities.annotations import quote

from evenly.flows.describe_classes import describe_classes
from evenly.flows.recipe.class_rules import DEFAULT_METHODS
from evenly.flows.runs import in_shared_use, workspace_run
from evenly.tasks.classes.watch import look_for_lists, note_described, rows_in_words
from evenly.tasks.run import LanguageModel
from evenly.tasks.server.states import ended


@flow(name="watch-classes", flow_run_name="watch {folder}", persist_result=False)
@in_shared_use
def watch_classes(
    folder: str,
    methods: list[str] | None = None,
    llm: LanguageModel = LanguageModel(),  # noqa: B008 - frozen
    encoder: str = "embedded",
    pretrained: str | None = None,
    settle_s: float = 10.0,
    root: str | None = None,
    quiet: bool = False,
) -> list[Mapping[str, Any]]:
    """Describe each `*.txt` of `folder` whose content is new; a row (file, status) for each that was looked at anew.

    `folder` is a path, in which {root} stands for the workspace, or a URL such as s3://bucket/lists. A file that was
    changed less than `settle_s` seconds ago waits for the next run. The others are those of describe_classes.
    """
    run = workspace_run(root, quiet=quiet)
    chosen = methods or list(DEFAULT_METHODS)
    method = {"methods": chosen, "base_url": llm.base_url, "model": llm.model}
    look = look_for_lists(run, folder, method, settle_s=settle_s)
    with tags(*flow_run.tags):
        states = [
            describe_classes(
                new_list.name,
                new_list.text,
                methods=chosen,
                **vars(llm),
                encoder=encoder,
                pretrained=pretrained,
                root=str(run.workspace.root),
                quiet=quiet,
                return_state=True,
            )
            for new_list in look.new
        ]
    rows = note_described(run, look, quote(states))
    return ended(rows, rows_in_words(rows))
