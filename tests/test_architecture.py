"""The rules of the tree: who may import whom, what is imported late, and what a plug-in must bring along."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.structure import (
    DOMAINS,
    FRAME,
    LEANING_START,
    Tree,
    count_lines,
    function_words,
    is_entry_point,
    nodes_of,
    parse,
)

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "flows": {*DOMAINS} | {"tasks", "audit", "storage", "demo"},
    "tasks": {*DOMAINS} | {"audit", "storage", "demo"},
    "audit": {*DOMAINS} | {"storage"},
    **dict.fromkeys(sorted(DOMAINS), frozenset()),
    "storage": frozenset(),
    "demo": {"storage"},
}
HEAVY = {"torch", "open_clip", "ray", "xllamacpp", "transformers", "timm", "img2dataset", "matplotlib", "sklearn"}
HEAVY |= {"lingua", "lance", "mlcroissant", "numba", "onnx", "onnxruntime", "openai"}
DISK = {"os", "pathlib", "shutil", "tempfile", "glob", "fileinput", "fsspec"}
WEB = {"socket", "http", "urllib", "requests", "httpx", "aiohttp", "openai"}
# Features read model weights; these folders of descriptions speak to chat endpoints. Other domain code is shut in.
CHAT = {"descriptions/chat", "descriptions/batch"}
PLUGINS = ("TEXT_FILTERS", "IMAGE_FILTERS", "CAPTIONERS", "METHODS", "ADAPTERS", "OOD_SCORES", "CORRUPTIONS", "EXPORTS")
PLUGINS += ("VALUE_METHODS", "TEXT_EXPORTS", "READERS", "LOCAL_READERS")
MEASURES = ("adapters/evaluation", "adapters/ood")  # no dicts: each module is a measure or what measures are made with
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "core", "misc"}

TREE = Tree(ROOT)
SOURCES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
every_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
every_plugin_dict = pytest.mark.parametrize("plugins", PLUGINS)


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, int]]:
    """(room of evenly, or top-level name, line) of each module that `nodes` import; "." for a relative import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((room_of(alias.name), node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield ("." if node.level else room_of(str(node.module))), node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            name = node.args[0] if node.args else None
            if isinstance(name, ast.Constant):
                yield room_of(str(name.value)), node.lineno


def room_of(module: str) -> str:
    """`curation` of `evenly.curation.draws`, `numpy` of `numpy.linalg`."""
    return module.removeprefix("evenly.").split(".")[0]


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below `node` that run when the module is imported: all but the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from run_at_import(child)


def at(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(ROOT)}:{line} {what}"


def test_imports_go_one_way_and_by_absolute_names():
    assert not [
        at(path, line, f"imports {name}")
        for path in SOURCES
        for name, line in imports(nodes_of(path))
        if name in {".", "tests", "benchmarks"}
        or (name in MAY_IMPORT and name != package_of(path) and name not in MAY_IMPORT[package_of(path)])
    ]


def test_tasks_import_of_audit_what_verifies_and_reports():
    """No step lives off audit, which looks at what steps left. `safe_text` escapes what terminals show."""
    allowed = {"audit.verify", "audit.report", "audit.safe_text", "audit.diff"}
    assert not [
        at(path, node.lineno, f"imports {node.module}")
        for path in SOURCES
        if package_of(path) == "tasks"
        for node in nodes_of(path)
        if isinstance(node, ast.ImportFrom) and room_of(str(node.module)) == "audit"
        if str(node.module).removeprefix("evenly.") not in allowed
    ]


def test_heavy_libraries_are_imported_inside_the_function_that_needs_them():
    assert not [
        at(path, line, f"imports {name}")
        for path in SOURCES
        for name, line in imports(run_at_import(parse(path)))
        if name in HEAVY
    ]


def test_only_flows_and_tasks_know_prefect():
    assert not [
        at(path, line, f"imports {name}")
        for path in SOURCES
        if package_of(path) not in {"flows", "tasks"}
        for name, line in imports(nodes_of(path))
        if name == "prefect"
    ]


def test_domain_code_touches_neither_disk_nor_web():
    wrong = []
    for path in SOURCES:
        package = package_of(path)
        if package not in DOMAINS or path.parent.relative_to(ROOT).as_posix() in CHAT:
            continue
        refused = WEB if package == "features" else WEB | DISK
        nodes = list(nodes_of(path))
        wrong += [at(path, line, f"imports {name}") for name, line in imports(nodes) if name in refused]
        calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "open"]
        wrong += [at(path, call.lineno, "opens a file") for call in calls if package != "features"]
    assert not wrong


def compiled_functions(path: Path) -> Iterator[ast.FunctionDef]:
    """The functions of a module that become machine code: decorated by `compiled`, or handed to it by name."""
    calls = (node for node in nodes_of(path) if isinstance(node, ast.Call) and ast.unparse(node.func) == "compiled")
    names = {ast.unparse(call.args[0]) for call in calls}
    for node in parse(path).body:
        if isinstance(node, ast.FunctionDef):
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            if node.name in names or decorators & {"compiled", "njit", "jit"}:
                yield node


def test_compiled_functions_use_nothing_of_other_files():
    """numba renews machine code on disk when the file of the caller changes, not when that of the called does.

    tests/curation/test_compiled.py shows it. Constants of other files are compiled in likewise.
    """
    compiled = {path: list(compiled_functions(path)) for path in SOURCES}
    assert sum(map(len, compiled.values())) > 50
    wrong = []
    for path, functions in compiled.items():
        imported = {
            alias.asname or alias.name
            for node in nodes_of(path)
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("evenly.")
            for alias in node.names
        }
        for function in functions:
            nodes = (node for statement in function.body for node in ast.walk(statement))
            names = [node for node in nodes if isinstance(node, ast.Name) and node.id in imported]
            wrong += [at(path, name.lineno, f"compiles in {name.id}") for name in names]
    handed = [
        at(path, node.lineno, f"compiles {ast.unparse(node.args[0])}, which stands elsewhere")
        for path in SOURCES
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "compiled"
        if ast.unparse(node.args[0]) not in {function.name for function in compiled[path]}
    ]
    assert not wrong + handed


def test_a_file_is_named_for_what_it_holds():
    assert not [path for path in SOURCES if VAGUE & {path.stem, *path.relative_to(ROOT).parts[:-1]}]


def test_a_public_name_is_defined_once():
    """At the top of one module of the product, so that a reader who searches for it finds one thing."""
    definitions = TREE.public_definitions()
    assert not {name: paths for name, paths in definitions.items() if len(paths) > 1}


@pytest.mark.parametrize("room", ["curation", "audit"])
def test_a_name_says_what_it_holds(room):
    """Rather than found, some, at or other. What is stored or printed under such a name keeps it (`into`, `where`)."""
    names = TREE.bound_names(room)
    assert function_words(names) < 0.02 * names.total()


@cache
def flows_in(path: Path) -> list[str]:
    """Names of the functions under `@job(...)`, or under Prefect's own `@flow`."""
    functions = (node for node in nodes_of(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [
        function.name
        for function in functions
        for one in function.decorator_list
        if ast.unparse(one.func if isinstance(one, ast.Call) else one) in {"job", "flow", "prefect.flow"}
    ]


def test_a_flow_file_has_two_words_and_holds_one_flow_of_that_name():
    found = {path: flows_in(path) for path in SOURCES}
    named = {path: names for path, names in found.items() if names}
    assert named
    assert {package_of(path) for path in named} == {"flows"}
    assert not [path for path in named if not re.fullmatch(r"[a-z]+_[a-z]+", path.stem)]
    assert not {path: names for path, names in named.items() if names != [path.stem]}


def test_a_command_calls_a_job_as_a_flow():
    """So that Prefect is set up in one way only, and a server that is away is one line."""
    flows = {name for path in SOURCES for name in flows_in(path)}
    called, as_flow = set(), set()
    for path in SOURCES:
        if package_of(path) != "flows" or flows_in(path):
            continue
        for node in nodes_of(path):
            if isinstance(node, ast.Call):
                called.add(ast.unparse(node.func))
                as_flow |= {ast.unparse(one) for one in node.args if ast.unparse(node.func) == "as_flow"}
    assert len(as_flow) > 9
    assert not called & flows


def test_processes_are_started_where_it_is_seen_to_that_they_end_with_the_command():
    starts = {"ProcessPoolExecutor", "get_context", "Popen", "run", "fork", "system"}
    found = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for node in nodes_of(path)
        if isinstance(node, ast.Call)
        and (name := ast.unparse(node.func).split("."))[-1] in starts
        and name[0] in {"ProcessPoolExecutor", "get_context", "multiprocessing", "subprocess", "os"}
    }
    git, npm = "storage/step_records.py", "demo/ground/hands.py"
    assert found == {
        "storage/worker_pool.py",
        "storage/decoders/pool.py",
        "flows/process/tether.py",
        git,
        npm,
    }


@every_deployment
def test_a_deployment_has_a_module_entrypoint(deployment):
    assert re.fullmatch(r"evenly\.flows\.deployed\.[a-z]+_[a-z]+", deployment["entrypoint"])


@every_deployment
def test_a_deployment_loads_and_its_flow_takes_its_parameters(deployment):
    from prefect.flows import load_flow_from_entrypoint

    parameters = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False).parameters
    places = (deployment, *deployment.get("triggers", ()))
    given = {name for place in places for name in place.get("parameters") or {}}
    assert given <= set(parameters.properties)
    assert set(parameters.required or ()) <= given


def test_every_folder_of_modules_is_a_package():
    assert not [path.parent for path in SOURCES if not (path.parent / "__init__.py").is_file()]


def test_a_room_is_one_package_below_evenly():
    links = {room: ROOT / "src" / "evenly" / room for room in MAY_IMPORT}
    assert {room: link.readlink().as_posix() for room, link in links.items()} == {
        room: f"../../{room}" for room in links
    }
    code = f"from evenly import {', '.join(links)}; print(*({', '.join(links)}))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    files = re.findall("from '(.*?)'", done.stdout)
    assert [Path(file).resolve() for file in files] == [ROOT / room / "__init__.py" for room in links]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_room_refuses_to_be_imported_under_another_name(package):
    """From the repository's root `flows` and `evenly.flows` would be two modules, each with classes of its own."""
    with pytest.raises(ImportError, match=f"this package is `evenly.{package}`"):
        importlib.import_module(package)


def test_the_command_line_and_the_flows_load_no_heavy_library():
    jobs = (deployment["entrypoint"].rpartition(".")[2] for deployment in DEPLOYMENTS)
    modules = ["evenly.flows.cli", *(f"evenly.flows.{job}" for job in jobs)]
    script = f"import sys, {', '.join(modules)}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_reading_a_recipe_loads_no_prefect():
    """Nor does a job where Prefect has no API."""
    script = "import sys, evenly.flows.recipe, evenly.flows.rebuild_dataset; print('prefect' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def plugin_module(plugins: str) -> str:
    """The module whose top level writes the dict `plugins`."""
    for path in SOURCES:
        for node in parse(path).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == plugins for target in targets):
                return ".".join(("evenly", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    return pytest.fail(f"no module writes {plugins}")


def plugin_names(plugins: str) -> list[str]:
    return list(getattr(importlib.import_module(plugin_module(plugins)), plugins))


@every_plugin_dict
def test_a_plugin_dict_holds_plain_names(plugins):
    names = plugin_names(plugins)
    assert names
    assert not [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_]*", name)]


@every_plugin_dict
def test_a_plugin_has_a_row_in_the_docs(plugins):
    """In docs/methods.md, or the page named for the dict or its module (exports.md, pools.md)."""
    pages = {"methods", plugins.lower(), plugin_module(plugins).rpartition(".")[2]}
    files = [ROOT / "docs" / f"{page}.md" for page in sorted(pages)]
    lines = [line for file in files if file.is_file() for line in file.read_text(encoding="utf-8").splitlines()]
    assert not [name for name in plugin_names(plugins) if not any(line.startswith(f"| `{name}` |") for line in lines)]


@every_plugin_dict
def test_a_plugin_has_a_test_file(plugins):
    """Named for it or for the file it is written in; or one for the whole dict (test_exports.py) that names it."""
    folder = ROOT.joinpath("tests", *plugin_module(plugins).split(".")[1:])
    shared = [folder.parent / f"test_{folder.name}.py", folder / f"test_{plugins.lower()}.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in shared if path.is_file())
    found = getattr(importlib.import_module(plugin_module(plugins)), plugins)
    stems = {
        name: {name, str(getattr(plugin, "__module__", name)).rpartition(".")[2]} for name, plugin in found.items()
    }
    folders = {
        name: {folder, ROOT.joinpath("tests", *str(getattr(plugin, "__module__", "")).split(".")[1:-1])}
        for name, plugin in found.items()
    }
    alone = [
        name
        for name in found
        if not any((place / f"test_{stem}.py").is_file() for place in folders[name] for stem in stems[name])
    ]
    assert not [name for name in alone if not re.search(rf"[\"']{name}[\"']", text)]


@pytest.mark.parametrize("folder", MEASURES)
def test_a_module_of_measures_is_in_the_method_table(folder):
    table = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    modules = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / folder).rglob("[!_]*.py"))]
    assert modules
    assert not [module for module in modules if module not in table]


def test_the_method_table_names_files_that_exist():
    paths = re.findall(r"\b[a-z]+/[\w/]+\.py\b", (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"))
    assert not [path for path in paths if not (ROOT / path).is_file()]


# Folders below the rooms: the nouns of every floor, what a floor is made of, and kinds of plug-ins. A new one is added
# with its reason.
FOLDERS = {
    "pools", "reading", "web", "files", "concepts", "balance", "duplicates", "exclusions", "classes", "adapters",
    "matches", "recipe", "process", "cli", "start", "datasets", "audit", "rebuild",  # flows and tasks
    "checks", "report", "plots",  # audit
    "moves",  # audit: pairs that moved between two builds, and by which cause
    "lineage",  # audit: the graph around a thing; storage: its events
    "captions",  # candidates, what speaks for and against them, who makes them
    "filters", "methods", "corruptions", "exports", "ood",  # dicts of plug-ins
    "texts", "chat", "batch",  # descriptions
    "prompts",  # adapters that learn them
    "forms", "own_features", "evaluation", "measures", "protocols", "effects",  # adapters
    "tables", "decoders", "stores", "pictures",  # storage (stores: what an object store needs), demo, features
    "scenes",  # demo: pictures of several objects, of which all is known
    "ground",  # demo: the same codes by several hands, to tell methods' effects on
    "encoders",  # which are here, and how fast
    "ray",  # tasks: the engine of that name
    "refining", "objectives",  # features, tasks: heads trained on pairs of a build, and what for
    "values",  # curation: columns, scorers and methods that give a pair a number of one's own
    "dense",  # features: rows of the cells of pictures, and regions
    "search",  # tasks, features: pairs of a build by what they show
    "server",  # tasks: what a run leaves on a Prefect server
    "artifacts",  # storage: what is made of builds and has a name
    "removal",  # storage: what is of no use in a workspace, and what is to be forgotten
    "publication",  # audit, curation: what is told to the public of a build and of what was made of it
    "regions",  # what is where in pictures
    "reservations",  # curation: what sites, answers and picture files say of machines that learn from them
}  # fmt: skip
PLUGIN_FOLDERS = {"adapters/methods", "flows"}  # of flows each stands in a file of its own
MOST_LINES = 350
LONG_KERNELS = {"match_kernel", "kernels"}


def test_a_folder_holds_few_modules():
    """At most 15, or 22 where each is an entry of one dict or one group of commands."""
    counts = {folder.relative_to(ROOT).as_posix(): len(paths) for folder, paths in TREE.folders.items()}
    assert not {name: n for name, n in counts.items() if n > (22 if name in PLUGIN_FOLDERS else 15)}


def test_folders_are_named_by_the_nouns_of_the_tree():
    names = {part for folder in TREE.folders for part in folder.relative_to(ROOT).parts[1:]} - {"evenly"}
    assert names == FOLDERS


def test_a_module_can_be_read_in_a_few_minutes():
    sizes = {path: count_lines(path) for path in TREE.files if path.stem not in LONG_KERNELS}
    assert not {path: lines for path, lines in sizes.items() if lines > MOST_LINES}


def test_no_modules_import_one_another_in_a_circle():
    assert TREE.circles() == []


def test_a_function_takes_at_most_eight_parameters():
    """But flows and commands, whose parameters people give by name; their counterpart in Python; and compiled loops."""
    long = [one for one in TREE.functions if one.parameters > 8 and not is_entry_point(one)]
    assert not [one for one in long if one.path.stem not in LONG_KERNELS]


# What must not grow. Lower a number whenever the tree is below it.
MOST_FRAME = 0.57  # of all lines but the demo's
MOST_LONG_LISTS = 38  # functions over six parameters
MOST_LEANING = 0.01  # of docstrings begin with what, how, which, those or its
MOST_FUNCTION_WORDS = 0.004
# Modules that hold a step's name as a literal, often in another sense (a rank, the command `balance`); of a step that
# is not listed, the one that declares it.
STEP_PLACES = {
    "rank": 11,
    "balance": 10,
    "download": 5,
    "align": 4,
    "collect": 4,
    "image_based": 4,
    "preselect": 4,
    "recaption": 4,
    "check_images": 3,
    "check_texts": 3,
    "deduplicate_exact": 3,
    "deduplicate_perceptual": 3,
    "deduplicate_semantic": 3,
    "safety": 3,
    "count_concepts": 2,
    "decontaminate": 2,
    "deduplicate_captions": 2,
    "deduplicate_linked": 2,
    "mix_sources": 2,
    "score_features": 2,
}


def test_running_takes_no_larger_a_share_of_the_tree():
    assert TREE.share(FRAME) <= MOST_FRAME


def test_long_lists_of_parameters_grow_no_more():
    assert sum(one.parameters > 6 for one in TREE.functions) <= MOST_LONG_LISTS


def test_names_grow_no_emptier():
    names = TREE.bound_names()
    assert function_words(names) <= MOST_FUNCTION_WORDS * names.total()


def test_a_docstring_begins_with_the_thing():
    starts = TREE.docstring_starts()
    leaning = [f"{path.relative_to(ROOT)}: {line}" for path, line in starts if LEANING_START.match(line)]
    assert len(leaning) <= MOST_LEANING * len(starts), leaning


def test_a_step_is_named_in_one_place():
    places = TREE.step_places()
    assert places
    assert not {name: paths for name, paths in places.items() if len(paths) > STEP_PLACES.get(name, 1)}
