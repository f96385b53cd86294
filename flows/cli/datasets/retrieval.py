"""`evenly retrieve`: the rule of a retrieval, what it found, and the files that other commands read."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenly.adapters.class_texts import ListSplit
from evenly.curation.retrieval_sets import KEPT, RetrievalRule
from evenly.flows.cli.classes.class_list import list_context
from evenly.flows.cli.classes.class_names import ClassNames, check_templates, names_of
from evenly.flows.cli.datasets.options import RetrieveOptions
from evenly.flows.cli.errors import UsageError
from evenly.flows.collect_pool import collect_pool, pool_source
from evenly.flows.recipe import RecipeFeatures, Source
from evenly.flows.recipe.files import ListingText, read_class_file
from evenly.flows.retrieve_support import retrieve_support
from evenly.flows.runs import as_flow, build_run
from evenly.storage.builds import funnel_of, open_build
from evenly.storage.files.arrays import write_arrays
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.records import replacing
from evenly.storage.workspace import Workspace
from evenly.tasks.classes.retrieve import RANKINGS, SupportRule, support_arrays
from evenly.tasks.splits import split_of_build

TEMPLATES = ("a photo of a {}",)


def retrieve_list(classes: Path, options: RetrieveOptions) -> dict[str, Any]:
    """Retrieve for a class list: the notes of the step, and `classes` as rows; files where `out` is given.

    Pictures of the val and test parts of this list, and of every list that adapters of the build were evaluated on, are
    never chosen, nor are their twins. A pool becomes a build first: `pool` is its funnel.
    """
    if options.method not in RANKINGS:
        raise UsageError(f"`--method` must be one of {', '.join(RANKINGS)}; got `{options.method}`. Choose one.")
    check_templates(options.template or ())
    source, features = _source(options)
    listing = read_class_file(classes)
    class_names = names_of(listing.class_list, options.synonyms, root=options.root)
    if source is None:
        return _retrieve(listing, class_names, options, build=options.build or "latest")
    build = as_flow(collect_pool)(source, features, root=None if options.root is None else str(options.root))
    facts = _retrieve(listing, class_names, options, build=build)
    return facts | {"pool": funnel_of(open_build(build, root=options.root)[1])}


def retrieval_limits(options: RetrieveOptions) -> RetrievalRule:
    """By what candidates are judged; a cosine of None is the method's: swat asks for 0.25 and merges above 0.9."""
    limits = {"min_image_cosine": 0.25, "max_duplicate_cosine": 0.9} if options.method == "swat" else {}
    cosines = {name: getattr(options, name) for name in ("min_image_cosine", "max_duplicate_cosine")}
    chosen = {name: value for name, value in cosines.items() if value is not None}
    return RetrievalRule(per_class=options.per_class, **limits | chosen)


def _source(options: RetrieveOptions) -> tuple[Source | None, RecipeFeatures]:
    """The pool that is named, and what encodes it."""
    features = RecipeFeatures(model=options.model, pretrained=options.pretrained)
    if options.pool is None:
        if (options.caption, options.vector) != (None, None) or features != RecipeFeatures():
            raise UsageError(
                "`--caption`, `--vector`, `--model` and `--pretrained` must go with `--pool`; got none. Leave "
                "them out: a build has its own encoder."
            )
        return None, features
    if options.build is not None:
        raise UsageError("`retrieve` must get `--build` or `--pool`, not both. Leave one out.")
    return pool_source(options.pool, features, caption=options.caption, vector=options.vector), features


def _retrieve(listing: ListingText, class_names: ClassNames, options: RetrieveOptions, *, build: str) -> dict[str, Any]:
    context = list_context(build, root=options.root)
    workspace, manifest = open_build(str(context.build), root=options.root)
    ledger = Ledger(workspace)
    run = build_run(manifest["build"], root=str(workspace.root), quiet=True)
    split_file = context.split or split_of_build(run, manifest)
    split, lists = _judged_lists(ledger, manifest["build"], listing.class_list.classes, split_file)
    rule = SupportRule(
        list=listing.name,
        build=manifest["build"],
        names={name: list(names) for name, names in class_names.names.items()},
        templates=tuple(options.template or TEMPLATES),
        method=options.method,
        **asdict(retrieval_limits(options)),
        seed_share=options.seed_share,
        lists=lists,
        split=split,
        against=tuple(str(path.resolve()) for path in options.against or ()),
        max_evaluation_cosine=options.max_evaluation_cosine,
    )
    key = as_flow(retrieve_support)(rule, root=str(workspace.root))
    record = ledger.get(key)
    facts = {
        "step": key,
        "build": manifest["build"],
        "synonyms": class_names.origin,
        **record.notes,
        "classes": ledger.table(record, "classes").to_pylist(),
    }
    return facts if options.out is None else facts | {"written": write_support(options.out, record, workspace)}


def _judged_lists(
    ledger: Ledger, build: str, classes: tuple[str, ...], split: str | None
) -> tuple[str | None, tuple[ListSplit, ...]]:
    """The split file of `classes`, and with theirs all lists whose val and test pictures may not be chosen.

    `split` is the file of the recipe or of the build. Without one the list has those of the build's evaluations; its
    newest one's counts, else the newest.
    """
    records = [record for record in ledger.records("evaluate_adapters") if record.rule["build"] == build]
    records.sort(key=lambda record: (tuple(record.rule["classes"]) == classes, record.ended))
    evaluated = [record.rule for record in records]
    splits = [split] if split or not evaluated else [rule["split"] for rule in evaluated]
    pairs = {(classes, path or "") for path in splits}
    pairs |= {(tuple(rule["classes"]), rule["split"] or "") for rule in evaluated}
    return splits[-1], tuple(ListSplit(classes=names, split=path or None) for names, path in sorted(pairs))


def write_support(out: Path, record: StepRecord, workspace: Workspace) -> list[str]:
    """Write what was retrieved into the folder `out`; the paths.

    retrieved.parquet (the kept pictures), candidates.parquet (all with verdicts), prototypes.safetensors (`text`
    (c, d) and `image`, with the classes of each as JSON in the metadata), support.npz (for `evenly fit --arrays`).
    """
    from safetensors.numpy import save

    out.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(workspace)
    table = ledger.table(record, "retrieved")
    for name, rows in (("candidates", table), ("retrieved", table.filter(pc.field("verdict") == KEPT))):
        with replacing(out / f"{name}.parquet") as file:
            pq.write_table(rows, file)
    vectors = ledger.table(record, "prototypes")
    arrays, order = {}, {}
    for kind in ("text", "image"):
        of_kind = vectors.filter(pc.field("kind") == kind)
        if len(of_kind):
            arrays[kind] = np.array(of_kind["vector"].to_pylist(), dtype=np.float32)
            order[kind] = of_kind["class"].to_pylist()
    with replacing(out / "prototypes.safetensors") as file:
        # Several keys of metadata would be written in an order that changes from run to run.
        file.write(save(arrays, metadata={"classes": json.dumps(order, ensure_ascii=False)}))
    run = build_run(record.rule["build"], root=str(workspace.root), quiet=True)
    write_arrays(out / "support.npz", support_arrays(run, record))
    names = ("retrieved.parquet", "candidates.parquet", "prototypes.safetensors", "support.npz")
    return [str(out / name) for name in names]
