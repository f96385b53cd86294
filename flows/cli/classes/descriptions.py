"""The command group `evenly descriptions`: audit, show, compare, export, import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from annotated_types import Ge, Le

from evenly.flows.cli import CommandGroup
from evenly.flows.cli.command import typed
from evenly.flows.cli.output import Columns, counted, interval, print_rows, print_text
from evenly.signatures import InWorkspace, Named, Root, taking

Version = Annotated[str, typer.Argument(help="A class list file, the name of a list, or a step key.")]
SHOWN = ("class", "method", "text", "verdict", "reason")
WORDS = ("class", "vector", "word", "distance")
VERSION = ("step", "list", "classes", "methods", "model", "accepted", "ended")


@dataclass(frozen=True, kw_only=True)
class AuditOptions(InWorkspace):
    """Options of `evenly descriptions audit`."""

    build: Annotated[str, "The build whose labelled test pictures judge."] = "latest"
    method: Annotated[list[str] | None, "Only this method; may be repeated."] = None
    aggregate: Annotated[
        str | None, "mean_similarity, mean_embedding or max; default: the recipe's, else the first."
    ] = None
    draws: Annotated[int, Ge(1), Le(100), "How often to shuffle, and to draw random words."] = 5


@taking(AuditOptions)
def audit_command(
    what: Annotated[str, typer.Argument(help="A recipe, or a class list file, list name or step key.")],
    options: AuditOptions,
) -> dict[str, Any]:
    """Hold descriptions against shuffled ones, random words and class names on a build's test pictures, with intervals.

    Example: evenly descriptions audit recipes/demo.yaml
    """
    from evenly.flows.cli.classes.description_audit import audit_latest

    audits = audit_latest(
        what,
        build=options.build,
        methods=options.method,
        aggregate=options.aggregate,
        draws=options.draws,
        root=options.root,
    )
    return {"audits": audits}


def print_audits(result: dict[str, Any]) -> None:
    """Print the audit of each class list and method."""
    accuracies: Columns = {"texts": "texts", "draws": "draws", "accuracy": interval("accuracy")}
    differences: Columns = {"texts": "texts", "minus": "minus", "difference": interval("difference", sign="+")}
    for audit in result["audits"]:
        title = f"{audit['list']}, {audit['method']}: {audit['texts']} texts, {audit['pictures']:,} test pictures"
        print_rows(title, audit["accuracies"], accuracies)
        print_rows("differences", audit["differences"], differences)
        print_text(audit["verdict"])
        if audit["without_texts"]:
            print_text(f"by their name alone, without texts: {', '.join(audit['without_texts'])}")
        if "name_weight" in audit:
            print_text(
                f"selected: {audit['pool']} texts in the pool, weight of the name {audit['name_weight']} (validation), "
                f"{audit['selection_fallback_share']:.0%} of the choices by fallback"
            )


def show_descriptions_command(
    what: Annotated[
        str | None, typer.Argument(help="A class list file, list name, step key or fitted adapter; none: list all.")
    ] = None,
    root: Root = None,
    class_name: Annotated[str | None, Named("--class"), "Only this class."] = None,
    *,
    rejected: Annotated[bool, Named("--rejected"), "Rejected and failed ones too, with reasons."] = False,
) -> dict[str, Any]:
    """Show the texts of a class list with verdicts and reasons, or without an argument what has been described.

    Of an adapter that learned prompts: the words nearest to its context vectors.

    Example: evenly descriptions show recipes/demo_classes.txt --class bird --rejected

    Example: evenly descriptions show fitted
    """
    if what is not None and (Path(what).is_dir() or Path(what).suffix == ".json"):
        from evenly.flows.cli.adapters.predict import learned_words

        return learned_words(Path(what), class_name)
    from evenly.flows.cli.classes.description_versions import list_versions, show_texts

    if what is None:
        return {"versions": list_versions(root)}
    return show_texts(what, class_name=class_name, rejected=rejected, root=root)


def _print_descriptions(facts: dict[str, Any], *, rejected: bool) -> None:
    if "versions" in facts:
        print_rows("described", [_version(version) for version in facts["versions"]])
        return
    if "words" in facts:
        of_classes = any(row["class"] for row in facts["words"])
        kind = "of each class" if of_classes else "of all classes"
        title = f"{facts['adapter']}: the word nearest to each vector {kind}; the name stands at the {facts['place']}"
        print_rows(title, facts["words"], WORDS if of_classes else WORDS[1:])
        return
    print_rows(_title(facts), facts["rows"], SHOWN if rejected else SHOWN[:3])
    if facts["without_texts"]:
        print_rows("without a text", facts["without_texts"])


def compare_command(first: Version, second: Version, root: Root = None) -> dict[str, Any]:
    """Compare two versions of descriptions: which texts stayed, went and came, per class.

    Example: evenly descriptions compare birds.txt more_birds.txt
    """
    from evenly.flows.cli.classes.description_versions import compare_versions

    return compare_versions(first, second, root=root)


def _print_compared(facts: dict[str, Any]) -> None:
    print_rows("versions", [{"version": name, **_version(facts[name])} for name in ("a", "b")])
    print_rows("texts per method", [{"method": name, **counts} for name, counts in facts["counts"].items()])
    for name, classes in (("gone", facts["classes_gone"]), ("new", facts["classes_new"])):
        if classes:
            print_text(f"classes {name}: {', '.join(map(repr, classes))}")
    if texts := [row for row in facts["texts"] if row["state"] != "kept"]:
        columns: Columns = {
            "class": "class",
            "method": "method",
            "a": lambda row: row["text"] if row["state"] != "new" else "",
            "b": lambda row: row["text"] if row["state"] != "gone" else "",
        }
        print_rows("not in both", texts, columns)


def export_descriptions_command(
    what: Version,
    to: Annotated[str, "vcd, cupl or fudd; csv to edit by hand."],
    out: Annotated[Path, "The JSON file to write; the class names go beside it."],
    root: Root = None,
) -> dict[str, Any]:
    """Write descriptions in the JSON shape that the public code of VCD, CuPL or FuDD reads, or as CSV to edit.

    Example: evenly descriptions export birds.txt --to vcd --out descriptors_birds.json

    Example: evenly descriptions export birds.txt --to csv --out birds.csv
    """
    from evenly.flows.cli.classes.description_versions import export_texts

    return export_texts(what, format_name=to, out=out, root=root)


def _print_exported(facts: dict[str, Any]) -> None:
    print_text(f"{facts['texts']} texts of {facts['classes']} classes written to {facts['out']}")
    if facts["class_names"] is not None:
        print_text(f"class names, in order, in {facts['class_names']}")
    if facts["fallbacks"]:
        print_text(f"by the class name alone, for want of texts: {', '.join(map(repr, facts['fallbacks']))}")
    for note in facts["notes"]:
        print_text(note)


def import_command(
    file: Annotated[Path, typer.Argument(help="CSV as `export --to csv` writes it, or JSON of VCD's shape.")],
    classes: Annotated[Path, "The class list file that the texts are about."],
    root: Root = None,
    method: Annotated[str, "Of JSON: description for descriptors, prompts for sentences."] = ("description"),
) -> dict[str, Any]:
    """Read descriptions edited by hand in again, as a version of their own; `given: FILE` in a recipe uses them.

    Example: evenly descriptions import birds.csv --classes birds.txt
    """
    from evenly.flows.cli.classes.description_versions import import_texts

    return import_texts(file, classes, method=method, root=root)


def _print_imported(facts: dict[str, Any]) -> None:
    print_text(f"{facts['accepted']} texts of {facts['classes']} classes imported as edited; step {facts['step'][:12]}")
    if facts["rejected"]:
        print_text(f"rejected: {counted(facts['rejected'])}")
    undescribed = [name for name, _, _ in facts["undescribed"]]
    if undescribed:
        print_text(f"without a text: {', '.join(map(repr, dict.fromkeys(undescribed)))}")
    print_text(f"use them: `given: {facts['file']}` with the class list in a recipe")


def _version(facts: dict[str, Any]) -> dict[str, Any]:
    shown = {"step": facts["step"][:8], "methods": ", ".join(facts["methods"]), "ended": facts["ended"][:16]}
    return {name: facts[name] for name in VERSION} | shown


def _title(facts: dict[str, Any]) -> str:
    methods = ", ".join(facts["methods"])
    return f"{facts['list']} by {methods}: {facts['accepted']} accepted of {facts['texts']}; step {facts['step'][:12]}"


GROUP = typer.Typer(
    cls=CommandGroup, help="Look at, judge and export the descriptions of class lists.", no_args_is_help=True
)
GROUP.command("audit")(typed(audit_command, print_audits))
GROUP.command("show")(typed(show_descriptions_command, _print_descriptions))
GROUP.command("compare")(typed(compare_command, _print_compared))
GROUP.command("export")(typed(export_descriptions_command, _print_exported))
GROUP.command("import")(typed(import_command, _print_imported))
