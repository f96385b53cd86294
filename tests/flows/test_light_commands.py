"""What the commands that need neither models nor flows import: they start at once, and would run where no torch is."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from importlib.metadata import packages_distributions
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from evenly.storage.builds import open_build
from evenly.storage.samples import BuildSamples

UID, RECIPE = "a uid", "a recipe"
MODELS_AND_FLOWS = {"torch", "prefect", "lance", "open_clip", "timm", "transformers", "sklearn", "matplotlib", "openai"}
MODELS_AND_FLOWS |= {"img2dataset", "imagehash", "jinja2", "httpx", "fsspec"}
SCRIPT = """
import json, sys
from evenly.flows.cli import app
from evenly.flows.cli.errors import ReportedErrors
from evenly.flows.process.environment import set_up_command
sys.argv = ["evenly", *sys.argv[1:]]
set_up_command()
with ReportedErrors() as reported:
    app()
loaded = {name for name, module in sys.modules.items() if module is not None}
names = sorted({name.split(".")[0] for name in loaded} | {"evenly.flows.recipe"} & loaded)
print("\\n" + json.dumps([reported.status, len(sys.modules), names]))
"""


def imported(*arguments, status=0):
    """Top-level names of all modules that a command has imported when it ends, and their number."""
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    folder = Path(__file__).parents[2]  # its pyproject.toml names Prefect as a dependency
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=folder)
    ended, count, names = json.loads(done.stdout.splitlines()[-1])
    assert status in {None, ended}, done.stderr
    return set(names), count


@pytest.fixture
def files(tmp_path):
    pq.write_table(
        pa.table({"id": ["a", "b", "c"], "text": ["a dog", "a cat", "dogs and a dog"]}), tmp_path / "pool.parquet"
    )
    (tmp_path / "list.txt").write_text("dog\ncat\n")
    return tmp_path


def test_help_imports_neither_tables_nor_arrays():
    names, count = imported("--help")
    assert not names & (MODELS_AND_FLOWS | {"numpy", "pyarrow", "pandas", "pydantic", "PIL"})
    assert count < 400


@pytest.mark.slow
def test_texts_are_matched_and_balanced_without_models_flows_and_lance(files):
    matches, out = files / "m.parquet", files / "b.parquet"
    place = (files / "pool.parquet", "--metadata", files / "list.txt", "--caption", "text", "--uid", "id")
    place += ("--out", matches)
    ran = [imported("match", *place), imported("balance", matches, "--t", "1", "--out", out)]
    ran += [imported("metadata", "show", files / "list.txt")]
    packages = {name: made for name, made in packages_distributions().items() if name not in sys.stdlib_module_names}
    for names, _ in ran:
        assert not names & MODELS_AND_FLOWS
        assert len({package for name in names for package in packages.get(name, ())}) < 30  # of about 170
    assert out.is_file()


COMMAND = {
    *("evenly", "numpy", "pyarrow", "pydantic", "pydantic_core", "annotated-types", "typing_extensions", "xxhash"),
    *("typing-inspection", "typer", "annotated-doc", "click", "shellingham", "rich", "Pygments", "idna"),
    *("python-dateutil", "six", "cloudpickle", "setuptools"),
}
LANCE, PICTURES, YAML = {"pylance"}, {"pillow", "simplejpeg"}, {"PyYAML", "pytz"}  # pytz: Prefect's copy of croniter
PAGES, PLOTS = {"Jinja2", "MarkupSafe"}, {"matplotlib", "cycler", "fonttools", "kiwisolver", "packaging", "pyparsing"}
READING = [
    pytest.param(one, id=one[0][0], marks=[pytest.mark.slow] * (one[0][0] in {"evaluate", "report"}))
    for one in [  # a command, the distributions that it loads besides COMMAND, and how many modules it may load
        (("builds",), set(), 600),
        (("diff", "latest", "latest"), set(), 660),
        (("card", "latest"), set(), 600),
        (("why", UID), PICTURES, 700),
        (("trace", "latest"), PICTURES, 700),
        (("doctor",), LANCE | PICTURES | YAML | {"Protego", "py3langid"}, 1200),
        (("verify", "latest"), LANCE | {"py3langid"}, 700),
        (("check", RECIPE), LANCE | PICTURES | YAML | {"py3langid"}, 1150),
        (("plan", RECIPE), LANCE | PICTURES | YAML | {"Protego", "httpx"}, 1250),
        (("report", "latest"), LANCE | PICTURES | PAGES | PLOTS | {"pandas", "pytz"}, 1500),
        (("evaluate", RECIPE), LANCE | PICTURES | PAGES | YAML | {"pandas"}, 1600),
    ]
]


@pytest.fixture(scope="module")
def judged(undisturbed, small_web, tmp_path_factory):
    """A workspace with a build whose adapters are evaluated, and the recipe."""
    folder = tmp_path_factory.mktemp("judged")
    shutil.copytree(undisturbed[0], folder / "root")
    labels = Counter(pq.read_table(small_web.folder / "web" / "labels.parquet")["label"].to_pylist())
    (folder / "list.txt").write_text("".join(f"{label}\n" for label, _ in labels.most_common(3)))
    recipe = yaml.safe_load(small_web.recipe.read_text()) | {"classes": [{"list": "list.txt", "adapters": ["gda"]}]}
    (folder / "small.yaml").write_text(yaml.safe_dump(recipe))
    imported("evaluate", folder / "small.yaml", "--root", folder / "root")
    return folder / "root", folder / "small.yaml"


@pytest.mark.embedded
@pytest.mark.parametrize("reading", READING)
def test_a_command_that_reads_loads_no_models_and_flows(undisturbed, small_web, request, reading):
    command, besides, most = reading
    root, recipe = undisturbed[0], small_web.recipe
    if command[0] == "evaluate":
        root, recipe = request.getfixturevalue("judged")
    named = {RECIPE: recipe}
    if UID in command:
        named[UID] = BuildSamples(*open_build("latest", root=root)).read(["uid"])["uid"][0].as_py()
    names, count = imported(
        *(named.get(part, part) for part in command), "--root", root, status=None if command[0] == "doctor" else 0
    )
    packages = {name: made for name, made in packages_distributions().items() if name not in sys.stdlib_module_names}
    loaded = {package for name in names for package in packages.get(name, ())}
    assert loaded <= COMMAND | besides
    assert count < most
    assert ("evenly.flows.recipe" in names) <= bool(besides & YAML)


@pytest.mark.embedded
@pytest.mark.slow
def test_words_are_searched_without_torch(undisturbed):
    imported("search", "a fox", "--root", undisturbed[0])  # records what the encoder is
    names, _ = imported("search", "a fox", "--root", undisturbed[0])
    assert not names & {"torch", "open_clip", "transformers", "timm", "prefect", "sklearn", "numba", "pandas"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [
        "from evenly.flows.process.environment import set_up_command; set_up_command()",
        'from evenly.tasks.engine import _start_worker; _start_worker(None, "INFO")',
    ],
    ids=["command", "worker"],
)
def test_what_encodes_does_without_wandb(start):
    """timm imports it where it can: it makes temporary folders, which a process that is killed leaves behind."""
    script = f"import sys; {start}; import timm.utils; "
    done = subprocess.run(
        [sys.executable, "-c", f"{script}print(sys.modules['wandb'])"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == "None"
