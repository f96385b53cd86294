"""Commands about classes: describe, extract, fit, evaluate."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli_output import AsJson, Root, print_json, print_rows, print_text

Recipe = Annotated[Path, typer.Argument(help="A recipe; its latest build is used.")]
Methods = Annotated[list[str] | None, typer.Option("--method", help="A description method; may be repeated.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (describe, extract, fit, evaluate):
        app.command()(command)


def describe(
    classes: Annotated[Path, typer.Argument(help="A class list: one name per line.")],
    root: Root = None,
    as_json: AsJson = False,
    method: Methods = None,
    base_url: Annotated[str, typer.Option(help="`embedded`, or an OpenAI-compatible endpoint.")] = "embedded",
    model: Annotated[str, typer.Option(help="The model's name at that endpoint.")] = "smollm2",
    *,
    submit: Annotated[bool, typer.Option(help="Emit the event that triggers the deployment, and return.")] = False,
) -> None:
    """Write checked descriptions and synonyms for a class list; what is known already is not asked again.

    Example: evenly describe recipes/demo_classes.txt
    """
    from flows.class_listing import describe_list, submit_list
    from flows.recipe_files import read_class_file

    listing = read_class_file(classes)
    if submit:
        event = submit_list(listing, methods=method, root=root)
        if as_json:
            print_json(event)
        else:
            print_text(f"submitted {listing.name} as event {event['event']}")
        return
    result = describe_list(listing, methods=method, base_url=base_url, model=model, root=root)
    if as_json:
        print_json(result)
        return
    print_rows("descriptions", result["descriptions"])
    facts = {name: value for name, value in result.items() if name != "descriptions"}
    print_rows("in all", [facts])


def extract(recipe: Recipe, root: Root = None, as_json: AsJson = False) -> None:
    """Extract image and caption features of the latest build; those that are stored are not made again.

    Example: evenly extract recipes/demo.yaml
    """
    from flows.outcome import extract_latest

    result = extract_latest(recipe, root=root)
    if as_json:
        print_json(result)
    else:
        print_rows("features", [result])


def fit(recipe: Recipe, root: Root = None, as_json: AsJson = False) -> None:
    """Fit the adapters of a recipe on its latest build, chosen on validation data, and save them.

    Example: evenly fit recipes/demo.yaml
    """
    from flows.outcome import fit_latest

    rows = fit_latest(recipe, root=root)
    if as_json:
        print_json({"adapters": rows})
    else:
        print_rows("chosen on validation", rows)


def evaluate(recipe: Recipe, root: Root = None, as_json: AsJson = False) -> None:
    """Evaluate the adapters of a recipe once on test data, with intervals and the difference to zero-shot.

    Example: evenly evaluate recipes/demo.yaml
    """
    from flows.outcome import evaluate_latest

    rows = evaluate_latest(recipe, root=root)
    if as_json:
        print_json({"adapters": rows})
    else:
        print_rows("on test", rows)
