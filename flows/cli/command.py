"""A command made of a function: its options are those of the function, and what it gives is printed."""

import inspect
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from annotated_types import Ge, Le

from evenly.flows.cli.output import AsJson, print_json
from evenly.signatures import NOT_TYPED, Named, help_of, placed, show_as


def typed(function: Callable[..., Any], show: Callable[..., object] | None = None) -> Callable[..., Any]:
    """The command of a function, for typer: each parameter with a text beside its type is an option, or an argument.

    With `show`, what the function gives is printed by it, or with `--json` as JSON; parameters of `show` after the
    first are options too.
    """
    parameters = [one for one in _parameters(function) if NOT_TYPED not in getattr(one.annotation, "__metadata__", ())]
    shown = [] if show is None else _parameters(show)[1:]
    if show is not None:
        place = next((n for n, one in enumerate(parameters, 1) if one.name == "root"), len(parameters))
        parameters.insert(place, _keyword("as_json", AsJson, default=False))

    def command(**values: Any) -> Any:  # noqa: ANN401 - those of the function
        as_json = values.pop("as_json", False) if show is not None else False
        of_table = {one.name: values.pop(one.name) for one in shown}
        result = function(**values)
        if show is None:
            return result
        return print_json(result) if as_json else show(result, **of_table)

    parameters += shown
    command.__name__, command.__doc__ = function.__name__, _without_options(inspect.getdoc(function) or "")
    show_as(command, inspect.Signature([one.replace(annotation=_option(one)) for one in parameters]))
    return command


def _keyword(name: str, annotation: Any, **default: Any) -> inspect.Parameter:  # noqa: ANN401 - a type
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, **default)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    return [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints.get(name, one.annotation))
        for name, one in inspect.signature(function).parameters.items()
    ]


def _option(parameter: inspect.Parameter) -> Any:  # noqa: ANN401 - a type
    """The annotation that typer reads."""
    hint = placed(parameter.annotation, Path)
    beside: Sequence[Any] = getattr(hint, "__metadata__", ())
    if any(isinstance(one, typer.models.ParameterInfo) for one in beside) or not help_of(hint):
        return hint
    named = next((one for one in beside if isinstance(one, Named)), Named())
    limits: dict[str, Any] = dict(
        ("min", one.ge) if isinstance(one, Ge) else ("max", one.le) for one in beside if isinstance(one, Ge | Le)
    )
    return Annotated[
        _plain(hint.__origin__), typer.Option(*named.names, help=help_of(hint), metavar=named.metavar, **limits)
    ]


def _plain(hint: Any) -> Any:  # noqa: ANN401 - types
    """The type as typer knows it: lists for sequences."""
    if get_origin(hint) is Sequence:
        return list[get_args(hint)]  # type: ignore[misc]  # of a type
    if get_origin(hint) is types.UnionType:
        return _plain(get_args(hint)[0]) | None
    return hint


def _without_options(text: str) -> str:
    return text.partition("\n\nArgs:")[0]
