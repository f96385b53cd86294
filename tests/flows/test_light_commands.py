"""What the commands that need neither models nor flows import: they start at once, and would run where no torch is."""

import json
import subprocess
import sys
from importlib.metadata import packages_distributions

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.storage.builds import open_build
from evenly.storage.samples import BuildSamples

UID = "a uid"
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
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ended, count, names = json.loads(done.stdout.splitlines()[-1])
    assert ended == status, done.stderr
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


RECIPES = {"evenly.flows.recipe"}
TO_COMPUTE = {"numba", "scipy", "protego", "py3langid"}
READING = [  # a command, what it does without, and how many modules it may load
    (("builds",), MODELS_AND_FLOWS | RECIPES | TO_COMPUTE | {"pandas"}, 700),
    (("diff", "latest", "latest"), MODELS_AND_FLOWS | RECIPES | TO_COMPUTE | {"pandas"}, 700),
    (("card", "latest"), MODELS_AND_FLOWS | RECIPES | TO_COMPUTE, 1000),
    (("why", UID), MODELS_AND_FLOWS | RECIPES | TO_COMPUTE, 1200),
    (("verify", "latest"), MODELS_AND_FLOWS - {"lance"} | {"pandas", "numba", "scipy", "protego"}, 1000),
]


@pytest.mark.embedded
@pytest.mark.parametrize(("command", "without", "most"), READING, ids=[command[0] for command, _, _ in READING])
def test_a_command_that_reads_loads_no_models_flows_and_recipes(undisturbed, command, without, most):
    root = undisturbed[0]
    if UID in command:
        samples = BuildSamples(*open_build("latest", root=root)).read(["uid"])
        command = [samples["uid"][0].as_py() if part == UID else part for part in command]
    names, count = imported(*command, "--root", root)
    assert not names & without
    assert count < most


@pytest.mark.embedded
@pytest.mark.slow
def test_words_are_searched_and_a_rebuild_is_planned_without_torch(undisturbed, small_web):
    for command in (("search", "a fox"), ("plan", small_web.recipe)):
        imported(*command, "--root", undisturbed[0])  # records what the encoder is
        names, _ = imported(*command, "--root", undisturbed[0])
        assert not names & {"torch", "open_clip", "transformers", "timm", "prefect", "sklearn", "numba"}


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
