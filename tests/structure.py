"""Figures of the tree's structure, printed by `make lint`; test_architecture.py holds what must not grow.

python -m tests.structure [--root CHECKOUT] [--since COMMIT] [--rebuild]
"""

import argparse
import ast
import json
import re
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOMAINS = ("curation", "descriptions", "features", "adapters")
FRAME = ("flows", "tasks", "engine", "audit", "storage")
ROOMS = ("flows", "tasks", "engine", "audit", *DOMAINS, "storage", "demo")
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


LEANING = re.compile(r"\b(what|those|its)\b", re.IGNORECASE)
"""Words by which the first line of a docstring leans on another thing instead of naming its own."""
LEANING_START = re.compile(r"(what|how|which|those|its)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Function:
    """A function or method: where it stands, and how many parameters it takes without `self` and `cls`."""

    path: Path
    name: str
    parameters: int
    decorators: tuple[str, ...]
    annotations: tuple[str, ...] = ()


def function_of(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    """The function that is defined at a node."""
    taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    names = [one.arg for one in taken if one.arg not in {"self", "cls"}]
    decorators = tuple(ast.unparse(one) for one in node.decorator_list)
    annotations = tuple(ast.unparse(one.annotation) for one in taken if one.annotation is not None)
    return Function(path, node.name, len(names), decorators, annotations)


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
            for node in nodes_of(path):
                names = []
                if isinstance(node, ast.ImportFrom) and node.module:
                    module = node.module.removeprefix(PACKAGE)
                    names = [(f"{module}.{alias.name}", module) for alias in node.names]
                elif isinstance(node, ast.Import):
                    names = [(alias.name.removeprefix(PACKAGE),) * 2 for alias in node.names]
                targets = (full if full in self.modules else module for full, module in names)
                found[name] |= {target for target in targets if target in self.modules and target != name}
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

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """All functions and methods."""
        return tuple(
            function_of(path, node)
            for path in self.files
            for node in nodes_of(path)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )

    def bound_names(self, room: str = "") -> Counter[str]:
        """Every name that is bound in a room, or in all: parameters, assignments, loops, contexts."""
        names: Counter[str] = Counter()
        for path in self.files:
            if room and path.relative_to(self.root).parts[0] != room:
                continue
            for node in nodes_of(path):
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

    def docstring_starts(self) -> list[tuple[Path, str]]:
        """The first line of each docstring, with its file."""
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = [(path, node) for path in self.files for node in nodes_of(path) if isinstance(node, kinds)]
        texts = [(path, ast.get_docstring(node)) for path, node in nodes]
        return [(path, text.splitlines()[0]) for path, text in texts if text]

    def importers(self, module: str, name: str) -> list[Path]:
        """The files that import a name from a module of that last name."""
        wanted = re.compile(rf"(.*\.)?{module}")
        return [
            path
            for path in self.files
            for node in nodes_of(path)
            if isinstance(node, ast.ImportFrom) and wanted.fullmatch(str(node.module))
            if any(alias.name == name for alias in node.names)
        ]

    def step_places(self) -> dict[str, set[str]]:
        """The modules that hold the name of a step of a rebuild as a literal, by step."""
        literals = {path: set(string_literals(path)) for path in self.files}
        names = {
            keyword.value.value
            for path in self.files
            for node in parse(path).body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
            if ast.unparse(node.targets[0]).isupper() and self._declares_step(path, node.value)
            for keyword in node.value.keywords
            if keyword.arg == "name" and isinstance(keyword.value, ast.Constant)
        }
        return {
            name: {path.relative_to(self.root).as_posix() for path, strings in literals.items() if name in strings}
            for name in sorted(names)
        }

    def _declares_step(self, path: Path, call: ast.Call) -> bool:
        """Whether a call makes the judgement of a step, which asks a question, or a step that has none."""
        if path.relative_to(self.root).as_posix().startswith(("tasks/rebuild", "tasks/captions")):
            return True
        return path.is_relative_to(self.root / "curation") and "question" in {word.arg for word in call.keywords}

    def share(self, rooms: Sequence[str]) -> float:
        """The share of lines that rooms have of all that is not the demo."""
        lines = {room: self.lines(room) for room in (*ROOMS, "src")}
        return sum(lines[room] for room in rooms) / (sum(lines.values()) - lines["demo"])

    def lines(self, folder: str) -> int:
        """Lines of the Python files below a folder of the checkout."""
        return sum(count_lines(path) for path in (self.root / folder).rglob("*.py"))


@cache
def parse(path: Path) -> ast.Module:
    """The module at `path`."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of the module at `path`, as ast.walk gives them."""
    return tuple(ast.walk(parse(path)))


@cache
def count_lines(path: Path) -> int:
    """Lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def string_literals(path: Path) -> Iterator[str]:
    """The strings of a module, without its docstrings."""
    prose = {id(node.value) for node in nodes_of(path) if isinstance(node, ast.Expr)}
    for node in nodes_of(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


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
    every = tree.functions
    functions = [one for one in every if not is_entry_point(one)]
    names = tree.bound_names()
    words = function_words(names)
    twice = {name: paths for name, paths in tree.public_definitions().items() if len(paths) > 1}
    lines = {room: tree.lines(room) for room in (*ROOMS, "src") if tree.lines(room)}
    ratios = {room: tree.lines(f"tests/{room}") / size for room, size in lines.items() if room != "src"}
    starts = [line for _, line in tree.docstring_starts()]
    places = {name: len(paths) for name, paths in tree.step_places().items()}
    return {
        "files; lines median / p90 / max": f"{len(sizes)}; {statistics.median(sizes):g} / "
        f"{sizes[int(0.9 * len(sizes))]} / {sizes[-1]}",
        "files over 350 lines, under 40": f"{sum(size > 350 for size in sizes)}, {sum(size < 40 for size in sizes)}",
        "files per folder, median / max": f"{statistics.median(folders):g} / {folders[-1]}",
        "files in folders of over 15": f"{crowded / sum(folders):.0%}",
        "lines": f"{sum(lines.values()):,}: " + ", ".join(f"{room} {size:,}" for room, size in lines.items()),
        "domain, of all lines; frame, without the demo": f"{sum(map(tree.lines, DOMAINS)) / sum(lines.values()):.1%}; "
        f"{tree.share(FRAME):.1%}",
        "circles of files": str(len(tree.circles())),
        "functions over 6, over 8 parameters; longest list": f"{sum(one.parameters > 6 for one in every)}, "
        f"{sum(one.parameters > 8 for one in functions)} but entry points; {max(one.parameters for one in every)}",
        "modules that import Run": str(len(tree.importers("run", "Run"))),
        "modules that name a step, mean / max": f"{statistics.mean(places.values()):.1f} / {max(places.values())}"
        f" ({max(places, key=lambda name: places[name])}) of {len(places)} steps",
        "bound names that are function words": f"{words / names.total():.1%}",
        "docstrings that lean on what, those, its": f"{sum(map(bool, map(LEANING.search, starts))) / len(starts):.1%}; "
        f"begin so: {sum(map(bool, map(LEANING_START.match, starts))) / len(starts):.1%}",
        "public names defined twice": f"{len(twice)}" + (f" ({', '.join(sorted(twice)[:8])} …)" if twice else ""),
        "test lines per line of source": ", ".join(f"{room} {ratio:.2f}" for room, ratio in ratios.items()),
    }


def rebuild_figures(root: Path) -> dict[str, str]:
    """How much of a checkout a rebuild of 300 captions enters, and how deep curation lies: traced_rebuild.py."""
    command = [sys.executable, str(Path(__file__).with_name("traced_rebuild.py")), str(root)]
    traced = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    frames = traced["frames"].values()
    return {
        "files that a rebuild of 300 captions enters": str(len(traced["files"])),
        "frames above curation, mean / max": f"{statistics.mean(frames):.1f} / {max(frames)} ({len(frames)} functions)",
    }


def net_lines(root: Path, commit: str) -> dict[str, str]:
    """Lines of Python added less those deleted since a commit, per room, and of the product together."""
    command = ["git", "-C", str(root), "diff", "--numstat", "--no-renames", commit, "--", "*.py"]
    rows = [line.split("\t") for line in subprocess.check_output(command, text=True).splitlines()]
    net = Counter[str]()
    for added, deleted, path in rows:
        net[path.partition("/")[0]] += int(added) - int(deleted)
    product = sum(net[room] for room in (*ROOMS, "src"))
    shown = [f"{room} {net[room]:+,}" for room in (*ROOMS, "src", "benchmarks", "tests") if net[room]]
    return {f"net lines since {commit}": f"{product:+,}: " + ", ".join(shown)}


def main() -> None:
    """Print the figures of this checkout, or of the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout than this")
    parser.add_argument("--since", help="count lines since this commit")
    parser.add_argument("--rebuild", action="store_true", help="also run a small rebuild and count what it enters")
    given = parser.parse_args()
    root = given.root.resolve()
    rows = figures(Tree(root))
    rows |= net_lines(root, given.since) if given.since else {}
    rows |= rebuild_figures(root) if given.rebuild else {}
    for name, value in rows.items():
        sys.stdout.write(f"{name:50} {value}\n")


if __name__ == "__main__":
    main()
