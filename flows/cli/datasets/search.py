"""Commands that look for pairs by what they show: search, index."""

from collections.abc import Mapping
from typing import Annotated, Any

from evenly.flows.cli.command import typed
from evenly.flows.cli.datasets.options import SearchOptions
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import Build, print_rows, print_text, print_written
from evenly.signatures import Named, Quiet, Root, taking

_SHEETS = (".html", ".png")


@taking(SearchOptions)
def search_command(options: SearchOptions) -> dict[str, Any]:
    """Find the pairs of a build whose pictures or captions are nearest to texts, pictures or pairs, dropped ones too.

    Example: evenly search "a red bird" --build birds --sheet birds.html

    Example: evenly search --image robin.jpg --rows dropped --where source=flickr --json
    """
    from evenly.flows.cli.datasets.searching import read_query, search_in, write_sheet
    from evenly.tasks.search.conditions import Condition
    from evenly.tasks.search.pairs import Selection

    if options.sheet is not None and options.sheet.suffix.lower() not in _SHEETS:
        raise UsageError(f"`--sheet` must end with {' or '.join(_SHEETS)}; got `{options.sheet}`. Correct it.")
    query = read_query(
        texts=options.texts or (), images=options.image or (), uids=options.uid or (), minus=options.minus or ()
    )
    selection = Selection(rows=options.rows, where=[Condition.read(text) for text in options.where or ()])
    result = search_in(query, selection, options)
    facts = result.to_dict() | {"notes": result.notes}
    if options.sheet is not None:
        terms = [*(options.texts or ()), *(path.name for path in options.image or ()), *(options.uid or ())]
        write_sheet(
            options.sheet,
            result,
            title=", ".join(terms + [f"minus {text}" for text in options.minus or ()]),
            root=options.root,
        )
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
    from evenly.flows.cli.datasets.searching import index_build

    return index_build(build, kind, root=root, quiet=quiet, force=force)


def _print_pairs(facts: dict[str, Any]) -> None:
    shown = [
        {
            "rank": row["rank"],
            "score": row["score"],
            **_known_by(row),
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
    """What `evenly why` takes for a pair: the file of its picture, else its uid, beside the last part of its URL."""
    if row.get("file_name"):
        return {"picture": row["file_name"]}
    picture = str(row.get("url") or "").partition("?")[0].rstrip("/").rpartition("/")[2]
    return {"uid": row["uid"]} | ({"picture": picture} if picture else {})


COMMANDS = {"search": typed(search_command, _print_pairs), "index": typed(index_command)}
