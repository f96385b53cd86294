"""One signature for a command, a flow and a function: what a dataclass says of each option is what all of them take."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from annotated_types import Ge, Le
from prefect import flow
from typer.testing import CliRunner

from evenly.flows.cli.command import typed
from evenly.signatures import (
    NOT_TYPED,
    InWorkspace,
    Named,
    Place,
    Quiet,
    flow_values,
    options_of,
    taking,
    taking_values,
)
from evenly.storage.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options(InWorkspace):
    count: Annotated[int, Ge(1), Le(9), "How many."] = 3
    words: Annotated[tuple[str, ...] | None, NOT_TYPED] = None
    into: Annotated[Place | None, Named("--to", "FOLDER"), "Where to."] = None
    quiet: Quiet = False


@taking(Options)
def job(recipe: Annotated[Place, typer.Argument(help="A recipe.")], options: Options) -> dict[str, object]:
    """Do it."""
    return {"recipe": recipe, **vars(options)}


def test_python_takes_the_fields_by_name_and_fills_in_the_others():
    assert job("r.yaml", count=4) == {"recipe": "r.yaml", **vars(Options(count=4))}
    assert [*inspect.signature(job).parameters] == ["recipe", "root", "count", "words", "into", "quiet"]
    assert "count: How many." in job.__doc__


def test_a_first_parameter_that_may_be_none_need_not_be_given():
    @taking(Options)
    def either(recipe: Place | None, options: Options) -> tuple[object, int]:
        return recipe, options.count

    assert either(count=2) == (None, 2)
    assert either("r.yaml") == ("r.yaml", 3)


def test_a_value_out_of_its_bounds_is_refused_with_its_name():
    with pytest.raises(InputError, match=r"`count` must be 1 to 9; got `0`"):
        job("r.yaml", count=0)


def test_an_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="colour"):
        job("r.yaml", colour="red")


def test_a_command_has_options_of_these_names_bounds_and_helps():
    shown = []
    app = typer.Typer(rich_markup_mode=None)
    app.command()(typed(job, shown.append))
    done = CliRunner().invoke(app, ["r.yaml", "--to", "folder", "--root", "w", "--count", "2"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert shown == [{"recipe": Path("r.yaml"), **vars(Options(count=2, into=Path("folder"), root=Path("w")))}]
    page = CliRunner().invoke(app, ["--help"]).output
    assert all(word in page for word in ("--count", "How many.", "--to FOLDER", "--root", "--json", "1<=x<=9"))
    assert "--quiet" not in page
    assert "--words" not in page
    assert CliRunner().invoke(app, ["r.yaml", "--count", "10"]).exit_code == 2


def test_a_flow_has_parameters_of_these_bounds_and_helps():
    @flow
    @taking_values(Options)
    def job_of_flow(recipe: Annotated[str, "Its path."], **values: object) -> Options:  # noqa: ARG001 - a flow has it
        return options_of(Options, values)

    described = job_of_flow.parameters.properties
    assert described["recipe"]["description"] == "Its path."
    assert described["count"] | {"position": 0} == {
        "default": 3, "description": "How many.", "maximum": 9, "minimum": 1, "position": 0, "title": "count",
        "type": "integer",
    }  # fmt: skip
    assert described["into"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert job_of_flow.fn("r.yaml", count=4) == Options(count=4)
    with pytest.raises(InputError, match=r"`count` must be 1 to 9; got `0`"):
        job_of_flow.fn("r.yaml", count=0)


def test_options_are_handed_to_a_flow_as_plain_values():
    assert flow_values(Options(root=Path("w")))["root"] == "w"
