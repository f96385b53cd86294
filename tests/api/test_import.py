"""What `import evenly` loads and shows: nothing before it is used, and all names to people and type checkers."""

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import evenly

API = Path(evenly.__file__)
HEAVY = [
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "torch",
    "open_clip",
    "prefect",
    "pydantic",
    "lance",
    "numba",
]
HEAVY += ["typer", "rich", "PIL", "matplotlib"]


def loaded_by(code: str) -> list[str]:
    script = f"import sys\n{code}\nprint(*sorted({{*{HEAVY!r}}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_evenly_loads_nothing_heavy_and_little_at_all():
    assert loaded_by("import evenly, evenly as e; dir(e); e.__version__") == []


def test_opening_a_workspace_loads_no_model_and_no_prefect(birds):
    assert {"torch", "open_clip", "prefect", "sklearn", "lance"}.isdisjoint(
        loaded_by(f"import evenly; [one.id for one in evenly.open({str(birds.root)!r}).builds]")
    )


def test_matching_and_balancing_texts_load_no_torch_no_prefect_and_no_lance():
    code = "import evenly; evenly.balance(evenly.match(['a dog'], ['dog']), t=1)"
    assert {"torch", "open_clip", "prefect", "sklearn", "lance"}.isdisjoint(loaded_by(code))


def test_an_adapter_loads_no_torch_before_one_that_is_trained():
    code = "import evenly; evenly.GDA().fit([[1, 0], [0, 1]], [0, 1])"
    assert {"torch", "prefect", "lance"}.isdisjoint(loaded_by(code))


@pytest.mark.parametrize("name", evenly.__all__)
def test_every_name_is_there_and_says_what_it_is(name):
    found = getattr(evenly, name)
    assert name in dir(evenly)
    assert found.__doc__


def test_the_version_is_that_of_the_package():
    assert evenly.__version__ == version("evenly")


def test_an_unknown_name_is_an_attribute_error_that_lists_the_known():
    with pytest.raises(AttributeError, match=r"module `evenly` has no attribute `rebuilt`\. It has .*rebuild"):
        evenly.rebuilt  # noqa: B018


def defined_in(module):
    """The public names that a module assigns or defines, and not those that it imports."""
    for node in ast.parse((API.parent / f"{module.removeprefix('evenly.')}.py").read_text(encoding="utf-8")).body:
        names = [ast.unparse(target) for target in getattr(node, "targets", ())]
        names += [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
        yield from (name for name in names if not name.startswith("_"))


def test_type_checkers_see_every_name():
    """They read the imports that run for them alone; at run time the names come by `__getattr__`."""
    (guarded,) = [
        node
        for node in ast.parse(API.read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imports = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
    named = {alias.asname or alias.name for node in imports for alias in node.names} - {"*"}
    every = {name for node in imports if node.names[0].name == "*" for name in defined_in(str(node.module))}
    assert named <= {*evenly.__all__} <= {*named, *every, "__version__"}
    assert {*defined_in("evenly.commands")} <= {*evenly.__all__}
    assert (API.parent / "py.typed").is_file()


def test_rooms_are_still_modules_of_the_package():
    code = "import evenly; from evenly import audit; import evenly.storage.builds; print(evenly.audit is audit)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
