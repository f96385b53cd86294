"""Names in backticks exist: of docstrings in the code around them or what it declares, of docs anywhere in the tree."""

import ast
import builtins
import keyword
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from evenly.storage.files.array_keys import ARRAY_KEYS
from tests.structure import FUNCTION_WORDS, ROOMS, Tree, nodes_of, parse, string_literals

ROOT = Path(__file__).parents[1]
TREE = Tree(ROOT)
NAME = re.compile(r"(?<!`)`([A-Za-z_][\w.]*)(?:\(\))?`(?!`)")
Scope = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
# Names of other packages, protocols and sites that prose may speak of.
FOREIGN = {
    *("Bearer", "Pipeline", "cross_val_score", "GridSearchCV", "clone", "fpr_and_fdr_at_recall", "file_id", "parent"),
    *("with_suffix", "os", "fspath", "Downloader", "WebDatasetSampleWriter", "load_dataset", "datasets", "mlcroissant"),
    *(
        "datasketch",
        "openai",
        "asdict",
        "safetensors",
        "nprobe",
        "nolock",
        "local_lock",
        "AwaitingRetry",
        "gcs_base_url",
        "FIRST",
        "npz",
    ),
}
VARIABLE = re.compile(r"(AWS|AZURE|GOOGLE|RAY)_[A-Z_]+")


def identifiers(node: ast.AST) -> Iterator[str]:
    """Every name that code binds, reads, imports or passes."""
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, ast.arg | ast.keyword):
            yield str(one.arg)
        elif isinstance(one, ast.Attribute):
            yield one.attr
        elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield one.name
        elif isinstance(one, ast.alias):
            yield from re.findall(r"\w+", one.name)


def declared(path: Path) -> Iterator[str]:
    """Names that a reader of another file may know: of classes, functions and fields, and at the top of the module."""
    for node in nodes_of(path):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        if isinstance(node, ast.ClassDef | ast.Module):
            for one in node.body:
                for target in [getattr(one, "target", None), *getattr(one, "targets", [])]:
                    if isinstance(target, ast.Name):
                        yield target.id


def words(node: ast.AST) -> set[str]:
    """Identifiers, and the words of strings that are not prose."""
    prose = {ast.get_docstring(one, clean=False) for one in ast.walk(node) if isinstance(one, Scope)}
    strings = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return {*identifiers(node), *(word for text in strings if text not in prose for word in re.findall(r"\w+", text))}


FILES = {part for path in TREE.files for part in (path.stem, *path.relative_to(ROOT).parts)}
COLUMNS = {"into", "other"}  # of stored tables


@cache
def shared() -> set[str]:
    """Names that every docstring may speak of."""
    names = {name for path in TREE.files for name in (*declared(path), *string_literals(path))} | FOREIGN
    return names - FUNCTION_WORDS | COLUMNS | FILES | {*keyword.kwlist, *dir(builtins)}


def unknown_in(path: Path) -> Iterator[str]:
    """Names in backticks of a module's docstrings that neither the code around them nor the product declares."""

    def visit(node: ast.AST, around: tuple[ast.AST, ...]) -> Iterator[str]:
        if isinstance(node, Scope):
            around = (*around, node)
            for name in NAME.findall(ast.get_docstring(node) or ""):
                parts = {part for part in name.split(".") if part} - shared()
                for scope in around if parts else ():
                    parts -= words(scope) if not isinstance(scope, ast.Module) else {*identifiers(scope)}
                if parts:
                    yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)} {name}"
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                yield from visit(child, around if isinstance(node, ast.ClassDef) else ())

    return visit(parse(path), ())


@pytest.mark.parametrize("room", [*ROOMS, "src"])
def test_a_name_in_backticks_of_a_docstring_is_one_of_the_code(room):
    files = [path for path in TREE.files if path.relative_to(ROOT).parts[0] == room]
    assert not [name for path in files for name in unknown_in(path)]


def test_a_name_in_backticks_of_the_docs_exists():
    texts = [path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    texts += [*TREE.files, *(ROOT / "recipes").iterdir(), *map(ROOT.joinpath, ("prefect.yaml", "pyproject.toml"))]
    known = {word for path in texts for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}
    known |= {*ARRAY_KEYS, *FILES, *FOREIGN, *("weekly", "pictures_bin", "singles")}  # an example, a count, a list
    pages = [*(ROOT / "docs").rglob("*.md"), *map(ROOT.joinpath, ("README.md", "CONTRIBUTING.md"))]
    unknown = set()
    for page in pages:
        prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        names = [name for name in NAME.findall(prose) if not VARIABLE.fullmatch(name)]
        unknown |= {f"{page.name}: {name}" for name in names if not {part for part in name.split(".") if part} <= known}
    assert not unknown
