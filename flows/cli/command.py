"""A command made of a function: its options are those of the function, and what it gives is printed."""

import inspect
import types
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, get_args, get_origin, get_type_hints

import typer
from annotated_types import Ge, Le
from typer.models import ArgumentInfo

from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import AsJson, print_facts, print_json
from evenly.signatures import NOT_TYPED, Named, bare, help_of, placed, show_as
from evenly.storage.errors import InputError

P = ParamSpec("P")


def typed(
    function: Callable[..., Any],
    show: Callable[..., object] | None = print_facts,
    *,
    status: Callable[[Any], int] | None = None,
    is_group: bool = False,
) -> Callable[..., Any]:
    """The command of a function, for typer: each parameter with a text beside its type is an option, or an argument.

    What the function gives is printed by `show`, or with `--json` as JSON; None: it prints all itself. Parameters of
    `show` after the first are those of the function, or options too. A `quiet` that is True in Python is so here with
    `--json`. status: the exit status, by what the function gives. is_group: other commands stand below it.
    """
    items = _parameters(function)
    parameters = [item for item in items if NOT_TYPED not in getattr(item.annotation, "__metadata__", ())]
    names = {item.name for item in parameters}
    shown = [] if show is None else _parameters(show)[1:]
    packed, job = getattr(function, "packed", (dict, function))
    is_loud = any(item.name == "quiet" and item.default is True for item in items)
    if show is not None:
        place = next((n for n, item in enumerate(parameters, 1) if item.name == "root"), len(parameters))
        parameters.insert(place, _keyword("as_json", AsJson, default=False))

    def command(**values: Any) -> Any:  # noqa: ANN401 - those of the function
        as_json = values.pop("as_json", False)
        if is_group and values.pop("context").invoked_subcommand is not None:
            return
        of_table = {item.name: values.get(item.name, item.default) for item in shown}
        chosen = {name: value for name, value in values.items() if name in names}
        chosen |= {"quiet": as_json} if is_loud else {}
        with command.guard(values):  # type: ignore[attr-defined]  # of a function
            try:
                result = job(**packed(**chosen))
            except InputError as error:
                raise UsageError(_as_typed(str(error), parameters)) from None
            if as_json:
                print_json(as_plain(result))
            elif show is not None:
                show(result, **of_table)
            if status is not None and (code := status(result)):
                raise typer.Exit(code)

    parameters += [item for item in shown if item.name not in names]
    parameters += [_keyword("context", typer.Context)] if is_group else []
    command.guard = lambda _values: nullcontext()  # type: ignore[attr-defined]  # of a function; see guard_commands
    command.__name__, command.__doc__ = function.__name__, _without_options(inspect.getdoc(function) or "")
    show_as(command, inspect.Signature([item.replace(annotation=_option(item)) for item in parameters]))
    return command


def _as_typed(problem: str, parameters: Sequence[inspect.Parameter]) -> str:
    """A problem of an option that is named as in Python (`learning_rate`), by its name on the command line."""
    for item in parameters:
        notes = getattr(item.annotation, "__metadata__", ())
        if problem.startswith(f"`{item.name}` ") and not any(isinstance(note, ArgumentInfo) for note in notes):
            name = next((note.name for note in notes if isinstance(note, Named) and note.name), f"--{item.name}")
            return problem.replace(f"`{item.name}`", f"`{name.replace('_', '-')}`", 1)
    return problem


def _keyword(name: str, annotation: Any, **default: Any) -> inspect.Parameter:  # noqa: ANN401 - a type
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, **default)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    return [
        item.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints.get(name, item.annotation))
        for name, item in inspect.signature(function).parameters.items()
    ]


def _option(parameter: inspect.Parameter) -> Any:  # noqa: ANN401 - a type
    """The annotation that typer reads."""
    hint = placed(parameter.annotation, Path)
    notes: Sequence[Any] = getattr(hint, "__metadata__", ())
    if any(isinstance(item, typer.models.ParameterInfo) for item in notes) or not help_of(hint):
        return Annotated[_plain(hint.__origin__), *notes] if notes else hint
    named = next((item for item in notes if isinstance(item, Named)), Named())
    limits: dict[str, Any] = dict(
        ("min", item.ge) if isinstance(item, Ge) else ("max", item.le) for item in notes if isinstance(item, Ge | Le)
    )
    names = [named.name] if named.name else []
    return Annotated[_plain(hint.__origin__), typer.Option(*names, help=help_of(hint), metavar=named.metavar, **limits)]


def _plain(hint: Any) -> Any:  # noqa: ANN401 - types
    """The type as typer knows it: lists for sequences."""
    if get_origin(hint) is Sequence:
        return list[get_args(hint)]  # type: ignore[misc]  # of a type
    if get_origin(hint) is types.UnionType:
        return _plain(get_args(hint)[0]) | None
    return hint


def _without_options(text: str) -> str:
    return text.partition("\n\nArgs:")[0]


def in_python(command: Callable[P, object], name: str = "") -> Callable[P, Any]:
    """The function of a command, for Python: it gives as plain values what the command prints with `--json`.

    name: the command's, where the function is not called by it.

    It shares the workspace as the command does, and raises the command's errors. Files and folders may be texts.
    """
    run: Callable[..., Any] = command
    name = name or command.__name__.removesuffix("_command").replace("_", "-")
    hints = get_type_hints(command, include_extras=True)
    items = inspect.signature(command).parameters.values()
    signature = inspect.Signature([item.replace(annotation=bare(item.annotation)) for item in items])

    @wraps(command)
    def called(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - what the command prints
        from evenly.flows.cli.locking import sharing
        from evenly.flows.process.environment import no_widgets

        values = {
            name: _path(value, hints.get(name)) for name, value in signature.bind(*args, **kwargs).arguments.items()
        }
        with no_widgets(), sharing(name, values):
            return as_plain(run(**values))

    texts = {item.name: _help(hints.get(item.name)) for item in items}
    lines = [f"    {parameter}: {text}" for parameter, text in texts.items() if text]
    about = _without_options(inspect.getdoc(command) or "").partition("\n\nExample:")[0]
    called.__doc__ = "\n".join([about, "", "Args:", *lines])
    called.__signature__ = signature  # type: ignore[attr-defined]  # of a function
    return called


def as_plain(result: Any) -> Any:  # noqa: ANN401 - what a command gives
    """The result of a command, as JSON has it."""
    return result.to_dict() if hasattr(result, "to_dict") else result


def _help(hint: Any) -> str:  # noqa: ANN401 - a type
    notes = getattr(hint, "__metadata__", ())
    return help_of(hint) or next((str(item.help) for item in notes if isinstance(item, typer.models.ParameterInfo)), "")


def _path(value: Any, hint: Any) -> Any:  # noqa: ANN401 - any value and its type
    """A text as a path where the command takes one, alone or in a list."""
    kinds = {bare(hint), *get_args(bare(hint))}
    if isinstance(value, str) and Path in kinds:
        return Path(value)
    if isinstance(value, list | tuple) and kinds & {list[Path], Path}:
        return [Path(item) for item in value]
    return value
