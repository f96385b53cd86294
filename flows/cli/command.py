"""A command made of a function: its options are those of the function, and what it gives is printed.

Before it runs, paths must be of this machine; and while it writes in a workspace nobody else removes anything from it.
`evenly clean --yes` and the forget list, which remove, are alone in it: evenly.storage.removal. All others only read.
"""

import inspect
import os
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, get_args, get_origin, get_type_hints

import typer
from annotated_types import Ge, Le
from typer.models import ArgumentInfo

from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import AsJson, print_facts, print_json
from evenly.flows.process.environment import spare_pandas
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
        from evenly.flows.process.environment import no_widgets

        values = {
            name: _path(value, hints.get(name)) for name, value in signature.bind(*args, **kwargs).arguments.items()
        }
        with no_widgets(), sharing(name, values):
            return as_plain(run(**values))

    texts = {item.name: _help(hints.get(item.name)) for item in items}
    lines = [f"    {parameter}: {text}" for parameter, text in texts.items() if text]
    description = _without_options(inspect.getdoc(command) or "").partition("\n\nExample:")[0]
    called.__doc__ = "\n".join([description, "", "Args:", *lines])
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


WRITTEN = ("out", "sheet", "plot", "html", "openlineage")
"""Parameters that name a file or folder to write."""
WORKSPACES = ("root", "replay_from")
"""Parameters that name a workspace, which may lie in an object store."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # as a Path shows it, which makes one slash of two


def check_out(out: Path) -> None:
    """Refuse to write to a file that is a folder, or by another name than features have."""
    if out.is_dir():
        raise UsageError(f"`--out` must be a file; got the folder `{out}`. Name an .npz file.")
    if out.suffix != ".npz":
        raise UsageError(f"`--out` must end in .npz; got `{out}`. Write `{out.with_suffix('.npz')}`.")


def check_paths(values: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> None:
    """Raise UsageError for a URL in the place of a path, and for a place where nothing can be written."""
    for name, value in values.items():
        for path in value if isinstance(value, list | tuple) else (value,):
            if name not in WORKSPACES and isinstance(path, Path) and _URL.match(str(path)):
                optional = parameters[name].default is not inspect.Parameter.empty
                shown = f"--{name.replace('_', '-')}" if optional else name
                url = str(path).replace(":/", "://", 1)
                raise UsageError(
                    f"`{shown}` must be a path of this machine; got `{url}`. Mount it, or copy it here: on the command "
                    "line only a workspace may be a URL."
                )
            if name in WRITTEN and isinstance(path, Path):
                _check_writable(path, f"--{name.replace('_', '-')}")


def _check_writable(path: Path, option: str) -> None:
    """Refuse what cannot be written, before anything is computed for it."""
    place = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not place.is_dir() and place != path.absolute():
        raise UsageError(f"`{option}` must be in a folder; got `{path}`, where `{place}` is a file. Name another.")
    if not os.access(place, os.W_OK):
        raise UsageError(f"`{option}` must be writable; got `{path}`, and `{place}` is not. Name another place.")


Values = Mapping[str, Any]


def _always(_values: Values) -> bool:
    return True


def _given(name: str, values: Values) -> bool:
    return values.get(name) is not None


WRITES: Mapping[str, Callable[[Values], bool]] = {
    **dict.fromkeys(
        ("demo", "rebuild", "promote", "report", "export", "describe", "extract", "concepts", "effects"), _always
    ),
    **dict.fromkeys(
        ("clusters", "link", "retrieve", "index", "regions", "leaderboard", "probe", "refine", "worth", "tune"), _always
    ),
    **dict.fromkeys(("descriptions audit", "descriptions import", "batches cancel"), _always),
    **dict.fromkeys(("fit", "evaluate"), partial(_given, "recipe")),
    **dict.fromkeys(("match", "balance"), partial(_given, "root")),
    "diff": partial(_given, "html"),
}
"""Commands that write, and whether they do with the values that they are given."""
READS = frozenset(
    (
        *("init", "check", "plan", "builds", "batches", "search", "predict", "export-adapter", "encode", "encoders"),
        *("base-to-new", "sessions", "why", "what-if", "trace", "card", "verify", "doctor", "clean", "forget"),
        *("serve", "deploy", "summary", "facts", "model-card"),
        *("descriptions show", "descriptions compare", "descriptions export", "encoders tune", "encoders tokens"),
        *("metadata build", "metadata show"),
    )
)
"""Commands that write nothing in a workspace, or lock it themselves."""
WITHOUT_FRAMES = frozenset(
    (
        *("builds", "card", "check", "diff", "doctor", "facts", "model-card", "plan", "search", "summary", "trace"),
        *("verify", "why"),
    )
)
"""Commands that make no data frames."""


def guard_commands(app: typer.Typer, group: str = "") -> None:
    """Have every command of `app`, those of groups included, refuse URLs where it takes a path, and lock as it must."""
    for command in app.registered_commands:
        function: Any = command.callback
        function.guard = partial(_guarded, f"{group}{command.name}", inspect.signature(function).parameters)
    for commands in app.registered_groups:
        if commands.typer_instance is not None:
            guard_commands(commands.typer_instance, f"{commands.name} ")


@contextmanager
def _guarded(name: str, parameters: Mapping[str, inspect.Parameter], values: Values) -> Iterator[None]:
    check_paths(values, parameters)
    if name in WITHOUT_FRAMES:
        spare_pandas()
    with sharing(name, values):
        yield


@contextmanager
def sharing(name: str, values: Values) -> Iterator[None]:
    """Share the workspace of a command, by its name and what it is given, while it writes there."""
    with ExitStack() as stack:
        if name not in READS and WRITES[name](values):
            from evenly.storage.stores.object_path import ObjectPath
            from evenly.storage.workspace import Workspace, shared_use

            workspace = Workspace.at(values.get("root"))
            if isinstance(workspace.root, ObjectPath) or workspace.root.is_dir():  # else nothing could be removed
                stack.enter_context(shared_use(workspace, f"`evenly {name}`", wait_s=values.get("wait_s") or 0))
        yield
