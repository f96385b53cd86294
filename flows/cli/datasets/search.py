"""Commands that look for pairs by what they show: search, index."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import AsJson, Build, print_facts, print_result, print_rows, print_text
from evenly.signatures import Root

if TYPE_CHECKING:
    from evenly.tasks.search.search import SearchResult

_SHEETS = (".html", ".png")


def search_command(
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="What the pictures show.")] = None,
    build: Annotated[str, typer.Option(help="A build id, the beginning of one, or a recipe.")] = "latest",
    root: Root = None,
    as_json: AsJson = False,
    image: Annotated[list[Path] | None, typer.Option(help="A picture that they are like; may be repeated.")] = None,
    uid: Annotated[list[str] | None, typer.Option(help="A pair that they are like; may be repeated.")] = None,
    minus: Annotated[list[str] | None, typer.Option(help="What they are not to show; may be repeated.")] = None,
    rows: Annotated[str, typer.Option(help="kept, dropped (all that are not in the build) or all.")] = "all",
    where: Annotated[
        list[str] | None,
        typer.Option(help="source=flickr, reason=near_duplicate, width>=512: any column; may be repeated."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many pairs.")] = 20,
    index: Annotated[
        str | None, typer.Option(help="By an index that `evenly index` made: ivf_pq, ivf_hnsw_sq or binary.")
    ] = None,
    within: Annotated[str, typer.Option("--in", help="What is compared: pictures or captions.")] = "pictures",
    sheet: Annotated[Path | None, typer.Option(help="A contact sheet to write: FILE.html or FILE.png.")] = None,
) -> None:
    """Find the pairs of a build whose pictures or captions are nearest to texts, pictures or pairs, dropped ones too.

    Example: evenly search "a red bird" --build birds --sheet birds.html

    Example: evenly search --image robin.jpg --rows dropped --where source=flickr --json
    """
    from evenly.flows.cli.datasets.searching import read_query, search_in, write_sheet
    from evenly.tasks.search.conditions import Condition
    from evenly.tasks.search.pairs import Selection

    if sheet is not None and sheet.suffix.lower() not in _SHEETS:
        raise UsageError(f"`--sheet` must end with {' or '.join(_SHEETS)}; got `{sheet}`. Correct it.")
    query = read_query(texts=texts or (), images=image or (), uids=uid or (), minus=minus or ())
    selection = Selection(rows=rows, where=[Condition.read(text) for text in where or ()])
    result = search_in(build, query, selection, top=top, index=index, within=within, root=root)
    facts = result.to_dict()
    if sheet is not None:
        terms = [*(texts or ()), *(path.name for path in image or ()), *(uid or ())]
        write_sheet(sheet, result, title=", ".join(terms + [f"minus {text}" for text in minus or ()]), root=root)
        facts["written"] = str(sheet)

    def table() -> None:
        _print_table(result)
        if sheet is not None:
            print_text(f"written  {sheet}")

    print_result(facts, table, as_json=as_json)


def index_command(
    build: Build = "latest",
    root: Root = None,
    as_json: AsJson = False,
    kind: Annotated[str, typer.Option(help="ivf_pq, ivf_hnsw_sq or binary; docs/search.md.")] = "ivf_pq",
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace ivf_pq by ivf_hnsw_sq, or that by it.")] = False,
) -> None:
    """Make an index for `evenly search --index` of all pictures with features by a build's encoder, and measure it.

    Example: evenly index latest --kind binary
    """
    from evenly.flows.cli.datasets.searching import index_build

    facts = index_build(build, kind, root=root, quiet=as_json, force=force)
    print_result(facts, lambda: print_facts(facts), as_json=as_json)


def _print_table(result: "SearchResult") -> None:
    shown = [
        {
            "rank": row["rank"],
            "score": row["score"],
            **_known_by(row),
            "outcome": f"{row['reason']} at {row['step']}" if row["step"] else row["verdict"],
            "caption": row["caption"] or "",
        }
        for row in result.rows
    ]
    if shown:
        print_rows(result.build, shown)
    for line in result.notes:
        print_text(line)


def _known_by(row: Mapping[str, Any]) -> dict[str, str]:
    """What `evenly why` takes for a pair: the file of its picture, else its uid, beside the last part of its URL."""
    if row.get("file_name"):
        return {"picture": row["file_name"]}
    picture = str(row.get("url") or "").partition("?")[0].rstrip("/").rpartition("/")[2]
    return {"uid": row["uid"]} | ({"picture": picture} if picture else {})


COMMANDS: dict[str, Callable[..., None]] = {"search": search_command, "index": index_command}
