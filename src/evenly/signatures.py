"""One signature for the command, the flow and the Python function of a job: the fields of a dataclass, written once.

    @dataclass(frozen=True, kw_only=True)
    class WorthOptions(InWorkspace):
        seeds: Annotated[int, Ge(1), "How often heads are trained on each."] = 5

    @taking(WorthOptions)
    def measure(recipe: str, options: WorthOptions) -> Facts: ...   # is called as measure("birds.yaml", seeds=3)

A text beside the type is its help, limits are its bounds. Python checks them in every call, a flow's schema has both,
and `evenly.flows.cli.command` makes a command's options of them. mypy and editors see the fields as parameters.
"""

import inspect
import os
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from typing import (
    Annotated,
    Any,
    Concatenate,
    ParamSpec,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

P = ParamSpec("P")
Options = TypeVar("Options", covariant=True)  # noqa: PLC0105 - no better name
First = TypeVar("First")
First_contra = TypeVar("First_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)
Second = TypeVar("Second")
Result = TypeVar("Result")
Made = TypeVar("Made")

Place = str | os.PathLike[str]
"""A file or folder: any of its forms in Python, a path on the command line, a text in a flow."""


@dataclass(frozen=True)
class Named:
    """The name of a command's option where it is not that of its field, and what stands for its value in the help.

    A switch that is named has no form that puts it off.
    """

    name: str = ""
    metavar: str | None = None


NOT_TYPED = "not on the command line"
"""Marks a field that flows and Python alone have."""
Root = Annotated[Place | None, Named("--root"), "The workspace; default: EVENLY_ROOT, else .evenly."]
Quiet = Annotated[bool, NOT_TYPED, "Show no progress on the terminal; a server is told of it all the same."]


@dataclass(frozen=True, kw_only=True)
class InWorkspace:
    """Options of every job in a workspace."""

    root: Root = None


class _MayBeginWith(Protocol[First_contra, P, Result_co]):
    """A function whose first parameter need not be given."""

    def __call__(self, first: First_contra | None = None, /, *args: P.args, **kwargs: P.kwargs) -> Result_co: ...


class _Taking(Protocol[P, Options]):
    """Makes the options of a function, its last parameter, parameters of their own."""

    @overload
    def __call__(self, function: Callable[[Options], Result], /) -> Callable[P, Result]: ...
    @overload
    def __call__(self, function: Callable[[First | None, Options], Result], /) -> _MayBeginWith[First, P, Result]: ...
    @overload
    def __call__(self, function: Callable[[First, Options], Result], /) -> Callable[Concatenate[First, P], Result]: ...
    @overload
    def __call__(
        self, function: Callable[[First, Second, Options], Result], /
    ) -> Callable[Concatenate[First, Second, P], Result]: ...


class _TakingValues(Protocol[P]):
    """Shows the `**values` of a flow as parameters."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[First, Second, ...], Result], /
    ) -> Callable[Concatenate[First, Second, P], Result]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[First, ...], Result], /
    ) -> Callable[Concatenate[First, P], Result]: ...
    @overload
    def __call__(self, function: Callable[..., Result], /) -> Callable[P, Result]: ...


def taking_values(kind: Callable[P, Any]) -> _TakingValues[P]:
    """Have a flow, which takes them as `**values`, show the fields of `kind` as its parameters, files as texts.

    `options_of` makes options of them. A text beside the type of a parameter before them is its help.
    """

    def shown(function: Callable[..., Any]) -> Callable[..., Any]:
        *first, _ = inspect.signature(function).parameters.values()
        signature = inspect.Signature([*first, *parameters_of(kind, place=str)])
        show_as(function, signature)
        function.__doc__ = f"{inspect.getdoc(function)}\n\n{_documented(signature)}"
        return function

    return shown


def options_of(kind: Callable[..., Made], values: Mapping[str, object]) -> Made:
    """Options by the values of their fields. Raises InputError for the first that is out of its bounds."""
    from evenly.bounds import check_bounds
    from evenly.storage.errors import InputError

    options = kind(**values)
    check_bounds(options, InputError, remedy="Correct it.", quote="`")
    return options


def taking(kind: Callable[P, Options]) -> _Taking[P, Options]:
    """Have a function take the fields of `kind` by name in place of its last parameter.

    What may be None need not be given. A value out of its bounds is an InputError.
    """
    make: Any = kind

    def spread(function: Callable[..., Any]) -> Callable[..., Any]:
        *first, last = inspect.signature(function).parameters.values()
        first = [
            item.replace(default=None) if types.NoneType in get_args(bare(item.annotation)) else item for item in first
        ]
        signature = inspect.Signature([*first, *parameters_of(kind)])
        plain = [item.replace(annotation=bare(item.annotation)) for item in signature.parameters.values()]
        names = {field.name for field in fields(make)}

        def packed(*args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - those of the function
            values = {item.name: None for item in first if item.default is None} | signature.bind(
                *args, **kwargs
            ).arguments
            return values | {last.name: options_of(make, {name: values.pop(name) for name in names & values.keys()})}

        @wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - those of the function
            return function(**packed(*args, **kwargs))

        called.packed = packed, function  # type: ignore[attr-defined]  # for a command, which calls it itself

        show_as(called, signature)
        called.__signature__ = inspect.Signature(plain)  # type: ignore[attr-defined]  # of a function
        called.__doc__ = f"{inspect.getdoc(function)}\n\n{_documented(signature)}"
        return called

    return spread


def parameters_of(kind: Any, *, place: Any = Place) -> list[inspect.Parameter]:  # noqa: ANN401 - a dataclass, a type
    """The fields of a dataclass as parameters that are given by name."""
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=placed(hints[field.name], place),
        )
        for field in fields(kind)
    ]


def _default(field: Any) -> Any:  # noqa: ANN401 - of a dataclass
    if field.default_factory is not MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is MISSING else field.default


def placed(hint: Any, place: Any) -> Any:  # noqa: ANN401 - types
    """A type with `place` for each `Place` in it."""
    if get_origin(hint) is Annotated:
        return Annotated[placed(hint.__origin__, place), *hint.__metadata__]
    if get_origin(hint) is types.UnionType and {str, os.PathLike[str]} <= {*get_args(hint)}:
        return place | None if types.NoneType in get_args(hint) else place
    return hint


def bare(hint: Any) -> Any:  # noqa: ANN401 - types
    """A type without what stands beside it."""
    return hint.__origin__ if get_origin(hint) is Annotated else hint


def help_of(hint: Any) -> str:  # noqa: ANN401 - a type
    """The text beside a type; "" without one."""
    notes = getattr(hint, "__metadata__", ())
    return next((text for text in notes if isinstance(text, str) and text != NOT_TYPED), "")


def fields_of(kind: Any, options: Any) -> dict[str, Any]:  # noqa: ANN401 - dataclasses
    """The options that another dataclass has fields for, by name."""
    return {field.name: getattr(options, field.name) for field in fields(kind) if hasattr(options, field.name)}


def flow_values(options: Any) -> dict[str, Any]:  # noqa: ANN401 - a dataclass
    """The fields of options by name, a file or folder as text: as a flow takes them."""
    return {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in vars(options).items()
    }


def show_as(function: Any, signature: inspect.Signature) -> None:  # noqa: ANN401 - a function
    """Let a function be seen with another signature than it was written with."""
    function.__signature__ = signature
    function.__annotations__ = {item.name: item.annotation for item in signature.parameters.values()}


def _documented(signature: inspect.Signature) -> str:
    """The part of a docstring that says what each parameter is, as Prefect and editors read it."""
    texts = {item.name: help_of(item.annotation) for item in signature.parameters.values()}
    lines = [f"    {name}: {text}" for name, text in texts.items() if text]
    return "\n".join(["Args:", *lines])
