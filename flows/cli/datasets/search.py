"""Commands that look for pairs by what they show: search, index."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from evenly.flows.cli.command import typed
from evenly.flows.cli.datasets.options import SearchOptions
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import Build, print_rows, print_text, print_written
from evenly.signatures import Named, Quiet, Root, taking

if TYPE_CHECKING:
    from evenly.storage.workspace import Workspace
    from evenly.tasks.search.search import SearchResult

_SHEETS = (".html", ".png")


@taking(SearchOptions)
def search_command(options: SearchOptions) -> dict[str, Any]:
    """Find the pairs of a build whose pictures or captions are nearest to texts, pictures or pairs, dropped ones too.

    Example: evenly search "a red bird" --build birds --sheet birds.html

    Example: evenly search --image robin.jpg --rows dropped --where source=flickr --json

    Example: evenly search "a cup above a plate" --relations things.txt
    """
    from evenly.flows.process.environment import no_widgets
    from evenly.flows.runs import build_run
    from evenly.storage.builds import open_build
    from evenly.tasks.search.pairs import PICTURES, Condition, Query, Selection
    from evenly.tasks.search.search import search_build

    if options.sheet is not None and options.sheet.suffix.lower() not in _SHEETS:
        raise UsageError(f"`--sheet` must end with {' or '.join(_SHEETS)}; got `{options.sheet}`. Correct it.")
    if options.relations is not None and (options.index is not None or options.within != PICTURES):
        raise UsageError("`--relations` must be without `--index` and `--in`; got both. Leave one out.")
    texts, uids, minus = (chosen or [] for chosen in (options.texts, options.uid, options.minus))
    images = options.image or []
    query = Query(texts=texts, images=[_read(path) for path in images], uids=uids, minus=minus)
    selection = Selection(rows=options.rows, where=[Condition.read(text) for text in options.where or ()])
    workspace, manifest = open_build(options.build, root=options.root)
    run = build_run(manifest["build"], root=str(workspace.root), quiet=True)
    choice: dict[str, Any] = {"selection": selection, "top": options.top}
    with no_widgets():
        if options.relations is None:
            result = search_build(run, manifest, query, index=options.index, within=options.within, **choice)
        else:
            from evenly.tasks.search.orders import search_order

            result = search_order(run, manifest, query, options.relations, **choice)
    facts = result.to_dict() | {"notes": result.notes}
    if options.sheet is not None:
        terms = [*texts, *(path.name for path in images), *uids, *(f"minus {text}" for text in minus)]
        _write_sheet(options.sheet, result, title=", ".join(terms), workspace=workspace)
        facts["written"] = str(options.sheet)
    return facts


def index_command(
    build: Build = "latest",
    root: Root = None,
    kind: Annotated[str, "ivf_pq, ivf_hnsw_sq or binary; docs/search.md."] = "ivf_pq",
    *,
    force: Annotated[bool, Named("--force"), "Replace ivf_pq by ivf_hnsw_sq, or that by it."] = False,
    quiet: Quiet = True,
) -> dict[str, Any]:
    """Make an index for `evenly search --index` of all pictures with features by a build's encoder, and measure it.

    Example: evenly index latest --kind binary
    """
    from evenly.storage.builds import encoder_of, open_build
    from evenly.tasks.progress import Progress
    from evenly.tasks.search.index import make_index

    workspace, manifest = open_build(build, root=root)
    return make_index(workspace, encoder_of(manifest), kind, Progress(quiet=quiet), force=force).to_dict()


def _read(path: Path) -> bytes:
    from evenly.storage.decoders.structure import MAX_BYTES
    from evenly.storage.errors import InputError
    from evenly.storage.reading.budget import read_whole

    try:
        return read_whole(path, limit_bytes=MAX_BYTES, field="image")
    except OSError as error:
        raise InputError(f"`image` must be readable; {error.strerror}: `{path}`. Correct the path.") from None


def _write_sheet(path: Path, result: "SearchResult", *, title: str, workspace: "Workspace") -> None:
    """Write what was found as a page or a picture, by the ending of `path`; pictures that are not held are left out."""
    from evenly.audit.report.sheet import html_sheet, png_sheet
    from evenly.storage.records import replacing
    from evenly.storage.web.images import reader

    read_bytes, notes = reader(workspace.downloads), [result.build, *result.notes]
    if path.suffix.lower() == ".png":
        content = png_sheet(result.rows, title=title, notes=notes, read_bytes=read_bytes)
    else:
        content = html_sheet(result.rows, title=title, notes=notes, read_bytes=read_bytes).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        stream.write(content)


def _print_pairs(facts: dict[str, Any]) -> None:
    shown = [
        {
            "rank": row["rank"],
            "score": row["score"],
            **({"order": row["order"]} if "order" in row else {}),
            **_known_by(row),
            **(
                {"region": row["region_label"], "box": " ".join(f"{side:g}" for side in row["box"])}
                if "box" in row
                else {}
            ),
            "outcome": f"{row['reason']} at {row['step']}" if row["step"] else row["verdict"],
            "caption": row["caption"] or "",
        }
        for row in facts["rows"]
    ]
    if shown:
        print_rows(facts["build"], shown)
    for line in facts["notes"]:
        print_text(line)
    print_written(facts)


def _known_by(row: Mapping[str, Any]) -> dict[str, str]:
    """Argument of `evenly why` for a pair: the file of its picture, else its uid, beside the last part of its URL."""
    if row.get("file_name"):
        return {"picture": row["file_name"]}
    picture = str(row.get("url") or "").partition("?")[0].rstrip("/").rpartition("/")[2]
    return {"uid": row["uid"]} | ({"picture": picture} if picture else {})


def _part_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The label and corners of a region; nothing of a pair."""
    if "box" not in row:
        return {}
    return {"region": row["region_label"], "box": " ".join(f"{side:g}" for side in row["box"])}


COMMANDS = {"search": typed(search_command, _print_pairs), "index": typed(index_command)}
