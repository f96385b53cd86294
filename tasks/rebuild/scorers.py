"""Have functions of users score pairs, each partition in a process of its own, which a scorer can end but not harm."""

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, redirect_stdout
from functools import lru_cache, partial
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import decode_source, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pyarrow as pa

import evenly
from evenly.audit.safe_text import visible
from evenly.curation.values.rule import ScorersRule, Value
from evenly.curation.values.scoring import SCORES, ScoringError, array_of_values, decide, refuse_columns, scored
from evenly.redaction import without_secrets
from evenly.storage.errors import InputError
from evenly.storage.files.code import Code, read_code
from evenly.storage.ledger import StepOutput
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.worker_pool import end_with_parent, worker_pool
from evenly.tasks.run import Records, Run
from evenly.tasks.step import Step


def read_scorers(run: Run, values: Mapping[str, Value]) -> dict[str, Code]:
    """The code of the scorers of a recipe, read once for all workers. Raises InputError for what is not allowed."""
    root = run.workspace.root
    workspace = None if isinstance(root, ObjectPath) else Path(root)
    scorers = {}
    for name, value in values.items():
        if value.python is not None:
            field = f"curate.values.{name}.python"
            path = Path(run.locate(value.python.rpartition(":")[0]))
            sources = read_code(field, path, value.imports, workspace=workspace)
            scorers[name] = Code(module=path.stem, function=value.function, sources=sources, timeout_s=value.timeout_s)
    return scorers


def run_scorers(run: Run, upstream: Records, rule: ScorersRule) -> StepOutput:
    """Score the pairs of a partition: a column for each scorer, and one of what it said where it failed."""
    refuse_columns(rule, upstream)
    pairs = run.ledger.alive(upstream, rule.columns)
    columns, errors = dict[str, pa.Array](), []
    for scorer in rule.scorers:
        with _Child(run.scorers[scorer.name]) as child:
            values, messages = scored(pairs.select(list(scorer.reads)), scorer, child.score)
        columns |= {scorer.name: values, f"{scorer.name}_error": messages}
        errors.append((scorer.name, messages))
    table = decide(errors, pairs.num_rows).to_table(pairs["uid"].combine_chunks())
    for name, column in columns.items():
        table = table.append_column(name, column)
    return StepOutput(decisions=table)


def _check_ready(run: Run, rule: ScorersRule) -> None:
    """Run modules that have scored nothing yet once: what they lack is said before anything is downloaded."""
    names = (SCORES[place].name for place in SCORES)
    scored_by = {digest for name in names for record in run.ledger.records(name) for digest in record.inputs.values()}
    for scorer in rule.scorers:
        if run.scorers[scorer.name].digest in scored_by:
            continue
        with _Child(run.scorers[scorer.name]) as child:
            child.load(scorer.name)


def _code_hashes(run: Run, _upstream: Records, rule: ScorersRule) -> dict[str, str]:
    return {f"code of {scorer.name}": run.scorers[scorer.name].digest for scorer in rule.scorers}


class _EndedError(ScoringError):
    """A scorer's process ended."""


class _Child:
    """A process that runs a scorer; it starts with the first batch, and anew after one that ended it or took too long.

    Leave it at the end.
    """

    def __init__(self, code: Code) -> None:
        self._code = code
        self._stack = ExitStack()
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor = None
        self._stack.close()

    def load(self, name: str) -> None:
        """Load the scorer's modules. Raises InputError where they cannot be."""
        try:
            self._started()
        except ScoringError as error:
            raise InputError(
                f"`curate.values.{name}.python` must load; {error}. Correct it; files beside it that it imports stand "
                "in `imports`, and loading a model may take a longer `timeout_s`."
            ) from None

    def score(self, batch: pa.Table) -> Any:  # noqa: ANN401 - whatever the scorer gives
        """The scorer's values for a batch. Raises ScoringError where it raises, ends, or is not done in time.

        A process that ended may have been killed by somebody else: a second one is asked.
        """
        work = partial(_score, batch=batch)
        try:
            return self._ask(self._started(), work)
        except _EndedError:
            return self._ask(self._started(), work)

    def _started(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = self._stack.enter_context(worker_pool(1, initializer=_prepare))
            self._ask(self._executor, _load)
        return self._executor

    def _ask(self, executor: ProcessPoolExecutor, function: Callable[[Code], Any]) -> Any:  # noqa: ANN401 - whatever the scorer gives
        try:
            result, message = executor.submit(_within, function, self._code).result(self._code.timeout_s)
        except TimeoutError:
            self.__exit__()
            raise ScoringError(f"no answer within {self._code.timeout_s:g} s", silent=True) from None
        except BrokenProcessPool:
            self.__exit__()
            raise _EndedError("its process ended", silent=True) from None
        if message is not None:
            raise ScoringError(visible(without_secrets(message)))
        return result


def _prepare() -> None:
    """Have the process end with its parent, and find no modules but installed ones and evenly."""
    end_with_parent()
    installed = [Path(place).resolve() for place in (sys.prefix, sys.base_prefix)]
    source_root = Path(evenly.__file__).parent.parent
    paths = [(entry, Path(entry).resolve()) for entry in sys.path if entry]
    sys.path[:] = [entry for entry, path in paths if path == source_root or any(map(path.is_relative_to, installed))]


def _within(function: Callable[[Code], Any], code: Code) -> tuple[Any, str | None]:
    """The result of a function of the code, or its message where it fails."""
    try:
        with redirect_stdout(sys.stderr):
            return function(code), None
    except BaseException as error:  # noqa: BLE001 - a scorer may raise anything, SystemExit too
        return None, f"{type(error).__name__}: {error}".split("\n", 1)[0]


def _load(code: Code) -> None:
    _function(code)


def _score(code: Code, batch: pa.Table) -> pa.Array:
    return array_of_values(_function(code)(batch))


@lru_cache(maxsize=1)
def _function(code: Code) -> Callable[[pa.Table], Any]:
    """The function of the code, whose modules are loaded from the bytes that were hashed."""
    sys.meta_path.insert(0, _Sources(code.sources))
    function: Callable[[pa.Table], Any] | None = getattr(import_module(code.module), code.function, None)
    if not callable(function):
        raise TypeError(f"{code.module}.py must have a function {code.function}; it has none")
    return function


class _Sources(MetaPathFinder, InspectLoader):
    """Finds and loads modules by their sources."""

    def __init__(self, sources: Mapping[str, bytes]) -> None:
        self._sources = sources

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See MetaPathFinder."""
        return spec_from_loader(fullname, self, is_package=False) if fullname in self._sources else None

    def get_source(self, fullname: str) -> str:
        """See InspectLoader."""
        return decode_source(self._sources[fullname])


SCORE_TEXTS, SCORE_IMAGES, SCORE_PAIRS = (
    Step(
        name=SCORES[place].name,
        rule=ScorersRule,
        judge=run_scorers,
        inputs=_code_hashes,
        ready=_check_ready,
    )
    for place in ("texts", "images", "pairs")
)
