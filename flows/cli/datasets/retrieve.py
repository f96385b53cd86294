"""Commands that choose pictures for classes: retrieve."""

from typing import Any

from evenly.flows.cli.command import typed
from evenly.flows.cli.datasets.concepts import Classes
from evenly.flows.cli.datasets.options import RetrieveOptions
from evenly.flows.cli.output import counted, print_funnel, print_rows, print_text, print_written, printable
from evenly.signatures import taking


@taking(RetrieveOptions)
def retrieve_command(classes: Classes, options: RetrieveOptions) -> dict[str, Any]:
    """Choose pictures for each class by captions and features, without labels, as a set to learn from.

    Example: evenly retrieve birds.txt --method swat --synonyms wordnet --out support

    Example: evenly retrieve birds.txt --pool photos --caption text --per-class 16 --out support

    Example: evenly fit --arrays support/support.npz --adapter real_linear --out fitted
    """
    from evenly.flows.cli.datasets.retrieval import retrieve_list

    return retrieve_list(classes, options)


def _print_retrieved(facts: dict[str, Any]) -> None:
    if "pool" in facts:
        print_funnel(facts["pool"])
        print_text(f"build {facts['build']}")
    print_rows(f"{facts['list']} by {facts['method']}", facts["classes"], ("class", "candidates", "kept", "short"))
    print_text(f"{facts['kept']:,} kept, {facts['different_pictures']:,} different pictures of {facts['pictures']:,}")
    for title, counts in (("never chosen", facts["excluded"]), ("not kept", facts["reasons"])):
        print_text(f"{title}: {counted(counts) or 'none'}")
    if facts["short"]:
        print_text(f"fall short: {len(facts['short'])} classes: {printable(', '.join(facts['short']))}")
    print_written(facts)


COMMANDS = {"retrieve": typed(retrieve_command, _print_retrieved)}
