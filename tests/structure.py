"""Figures of the tree's structure, printed by `make lint`; test_architecture.py holds what must not grow.

python -m tests.structure [CHECKOUT]
"""

import ast
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("flows", "tasks", "audit", "curation", "descriptions", "features", "adapters", "storage", "demo")
PACKAGE = "evenly."
# Words that say nothing of the thing they name, where they stand alone.
FUNCTION_WORDS = frozenset(
    """
    about again alone among another any apart around as asked at away back before behind beside besides between both by
    come each either else enough ever every few for found from gave given go gone got had has have heard held here how
    if in into is it its known like made many meant more much near neither next no none nor not now of off on once one
    ones only or other others over own past put rest said same seen several should since so some such taken than that
    the them then there these they this those through to together told too took twice under until up upon very was what
    when where whether which while who whole whose why with within without would yet
    """.split()  # noqa: SIM905 - a list of so many words would be a page
)


@dataclass(frozen=True)
class Function:
    """A function or method: where it stands, and how many parameters it takes without `self` and `cls`."""

    path: Path
    name: str
    parameters: int
    decorators: tuple[str, ...]
    annotations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tree:
    """The product's files of a checkout."""

    root: Path

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """All modules, and the Python API beside the links."""
        rooms = [path for room in ROOMS for path in sorted((self.root / room).rglob("*.py"))]
        return (*rooms, *sorted((self.root / "src" / "evenly").glob("*.py")))

    @cached_property
    def modules(self) -> dict[str, Path]:
        """Modules by their dotted names below `evenly`."""
        roots = [self.root, self.root / "src" / "evenly"]
        base = {path: roots[1] if roots[1] in path.parents else roots[0] for path in self.files}
        dotted = {path: ".".join(path.relative_to(base[path]).with_suffix("").parts) for path in self.files}
        return {name.removesuffix(".__init__"): path for path, name in dotted.items()}

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Which modules of the product each module imports, late imports counted."""
        found: dict[str, set[str]] = {name: set() for name in self.modules}
        for name, path in self.modules.items():
            for node in ast.walk(parse(path)):
                names = []
                if isinstance(node, ast.ImportFrom) and node.module:
                    module = node.module.removeprefix(PACKAGE)
                    names = [(f"{module}.{alias.name}", module) for alias in node.names]
                elif isinstance(node, ast.Import):
                    names = [(alias.name.removeprefix(PACKAGE),) * 2 for alias in node.names]
                targets = {full if full in self.modules else module for full, module in names}
                found[name] |= targets & self.modules.keys() - {name}
        return found

    @cached_property
    def folders(self) -> dict[Path, list[Path]]:
        """Modules of each folder, without `__init__`."""
        found: dict[Path, list[Path]] = defaultdict(list)
        for path in self.files:
            if path.stem != "__init__":
                found[path.parent].append(path)
        return found

    def circles(self) -> list[list[str]]:
        """Groups of modules that import one another."""
        return [sorted(group) for group in strongly_connected(self.imports) if len(group) > 1]

    def functions(self) -> Iterator[Function]:
        """All functions and methods."""
        for path in self.files:
            for node in ast.walk(parse(path)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                    names = [one.arg for one in taken if one.arg not in {"self", "cls"}]
                    decorators = tuple(ast.unparse(one) for one in node.decorator_list)
                    annotations = tuple(ast.unparse(one.annotation) for one in taken if one.annotation is not None)
                    yield Function(path, node.name, len(names), decorators, annotations)

    def bound_names(self, room: str = "") -> Counter[str]:
        """Every name that is bound in a room, or in all: parameters, assignments, loops, contexts."""
        names: Counter[str] = Counter()
        for path in self.files:
            if room and path.relative_to(self.root).parts[0] != room:
                continue
            for node in ast.walk(parse(path)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    names[node.id] += 1
                elif isinstance(node, ast.arg):
                    names[node.arg] += 1
        return names

    def public_definitions(self) -> dict[str, list[Path]]:
        """Where each public function and class is defined, at the top of a module."""
        found: dict[str, list[Path]] = defaultdict(list)
        for path in self.files:
            for node in parse(path).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(path)
        return found

    def lines(self, folder: str) -> int:
        """Lines of the Python files below a folder of the checkout."""
        return sum(count_lines(path) for path in (self.root / folder).rglob("*.py"))


@cache
def parse(path: Path) -> ast.Module:
    """The module at `path`."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def count_lines(path: Path) -> int:
    """Lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def strongly_connected(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Components of a directed graph in which each node reaches each other one (Tarjan 1972)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = {name: number for number, name in enumerate(sorted(graph))}
    edges = [(nodes[name], nodes[target]) for name, targets in graph.items() for target in targets]
    rows, columns = zip(*edges, strict=True) if edges else ((), ())
    matrix = coo_array(([1] * len(edges), (rows, columns)), shape=(len(nodes), len(nodes)))
    labels = connected_components(matrix, connection="strong")[1]
    groups: dict[int, set[str]] = defaultdict(set)
    for name, number in nodes.items():
        groups[labels[number]].add(name)
    return list(groups.values())


def function_words(names: Counter[str]) -> int:
    """How many of the bound names are words that say nothing of the thing they name."""
    return sum(count for name, count in names.items() if name.strip("_") in FUNCTION_WORDS)


def is_entry_point(function: Function) -> bool:
    """Whether it is a flow or a command: their parameters are what people give by name."""
    if any(word in decorator for decorator in function.decorators for word in ("flow", ".command", ".callback")):
        return True
    return any(annotation == "AsJson" or "typer." in annotation for annotation in function.annotations)


def figures(tree: Tree) -> dict[str, str]:
    """The figures as they are printed."""
    sizes = sorted(count_lines(path) for path in tree.files)
    folders = sorted(len(paths) for paths in tree.folders.values())
    crowded = sum(size for size in folders if size > 15)
    functions = [one for one in tree.functions() if not is_entry_point(one)]
    names = tree.bound_names()
    words = function_words(names)
    twice = {name: paths for name, paths in tree.public_definitions().items() if len(paths) > 1}
    ratios = {room: tree.lines(f"tests/{room}") / max(1, tree.lines(room)) for room in ROOMS}
    return {
        "files; lines median / p90 / max": f"{len(sizes)}; {statistics.median(sizes):g} / "
        f"{sizes[int(0.9 * len(sizes))]} / {sizes[-1]}",
        "files over 350 lines, under 40": f"{sum(size > 350 for size in sizes)}, {sum(size < 40 for size in sizes)}",
        "files per folder, median / max": f"{statistics.median(folders):g} / {folders[-1]}",
        "files in folders of over 15": f"{crowded / sum(folders):.0%}",
        "circles of files": str(len(tree.circles())),
        "functions over 8 parameters; longest list": f"{sum(one.parameters > 8 for one in functions)}; "
        f"{max(one.parameters for one in functions)}",
        "bound names that are function words": f"{words / names.total():.1%}",
        "public names defined twice": f"{len(twice)}" + (f" ({', '.join(sorted(twice)[:8])} …)" if twice else ""),
        "test lines per line of source": ", ".join(f"{room} {ratio:.2f}" for room, ratio in ratios.items()),
    }


def main() -> None:
    """Print the figures of this checkout, or of the one that is named."""
    tree = Tree(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)
    for name, value in figures(tree).items():
        sys.stdout.write(f"{name:44} {value}\n")


if __name__ == "__main__":
    main()
