"""`evenly search`: the query that its words make, and the contact sheet of what was found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evenly.audit.report.sheet import html_sheet, png_sheet
from evenly.flows.cli.datasets.options import SearchOptions
from evenly.flows.process.environment import no_widgets
from evenly.flows.runs import build_run
from evenly.signatures import Place
from evenly.storage.builds import encoder_of, open_build
from evenly.storage.decoders.structure import MAX_BYTES
from evenly.storage.errors import InputError
from evenly.storage.reading.budget import read_whole
from evenly.storage.records import replacing
from evenly.storage.web.images import reader
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress
from evenly.tasks.search.index import make_index
from evenly.tasks.search.pairs import Selection
from evenly.tasks.search.query import Query
from evenly.tasks.search.search import SearchResult, search_build


def read_query(*, texts: Sequence[str], images: Sequence[Path], uids: Sequence[str], minus: Sequence[str]) -> Query:
    """The query of a search, with the pictures of these files. Raises InputError."""
    return Query(texts=texts, images=[_read(path) for path in images], uids=uids, minus=minus)


def search_in(query: Query, selection: Selection, options: SearchOptions) -> SearchResult:
    """The pairs of a build that a selection takes, nearest to a query."""
    workspace, manifest = open_build(options.build, root=options.root)
    run = build_run(manifest["build"], root=str(workspace.root), quiet=True)
    with no_widgets():
        return search_build(
            run, manifest, query, selection=selection, top=options.top, index=options.index, within=options.within
        )


def index_build(build: str, kind: str, *, root: Place | None, quiet: bool, force: bool = False) -> dict[str, Any]:
    """Make an index of the features by a build's encoder; what it finds and costs."""
    workspace, manifest = open_build(build, root=root)
    return make_index(workspace, encoder_of(manifest), kind, Progress(quiet=quiet), force=force).to_dict()


def write_sheet(path: Path, result: SearchResult, *, title: str, root: Place | None) -> None:
    """Write what was found as a page or a picture, by the ending of `path`; pictures that are not held are left out."""
    read_bytes = reader(Workspace.at(root).downloads)
    notes = [result.build, *result.notes]
    if path.suffix.lower() == ".png":
        content = png_sheet(result.rows, title=title, notes=notes, read_bytes=read_bytes)
    else:
        content = html_sheet(result.rows, title=title, notes=notes, read_bytes=read_bytes).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        stream.write(content)


def _read(path: Path) -> bytes:
    try:
        return read_whole(path, limit_bytes=MAX_BYTES, field="image")
    except OSError as error:
        raise InputError(f"`image` must be readable; {error.strerror}: `{path}`. Correct the path.") from None
