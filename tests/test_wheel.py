"""The wheel, installed apart from the repository: commands run from it, whatever lies in the folder they run in."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("flows", "tasks", "audit", "curation", "descriptions", "features", "adapters", "storage", "demo")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the files that git knows, so that nothing which lies about gets into the wheel."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().splitlines():
        source, target = ROOT / name, folder / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return folder


def build(folder, out):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    done = build(checkout, out)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def command(wheel, tmp_path_factory):
    """Run `evenly` as the wheel installs it, in an environment without the repository."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next((folder / "lib").glob("python*")) / "site-packages"
    here = [path for path in sys.path if path.endswith("site-packages")]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--target",
            str(packages),
            str(wheel),
        ],
        check=True,
    )
    (packages / "dependencies.pth").write_text(
        "\n".join(here) + "\n"
    )  # a plain path: links of editable installs stay out

    def run(*arguments, cwd, check=True):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        line = [str(folder / "bin" / "python"), "-m", "evenly.flows", *map(str, arguments)]
        done = subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done

    run.python = folder / "bin" / "python"
    run.packages = packages
    return run


def test_the_wheel_holds_every_module_and_the_data_that_commands_read(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {f"evenly/{path.relative_to(ROOT)}" for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert modules <= names
    data = {
        "py.typed",
        "prefect.yaml",
        "recipes/template.yaml",
        "recipes/text_template.yaml",
        "recipes/folder_template.yaml",
        "recipes/demo.yaml",
        "recipes/demo_labels.csv",
        "storage/files/wordnet_nouns.tsv.gz",
    }
    data |= {f"audit/report/templates/{path.name}" for path in (ROOT / "audit/report/templates").iterdir()}
    assert {f"evenly/{name}" for name in data} <= names
    assert {name.split("/")[0] for name in names} == {
        "evenly",
        next(n for n in names if "dist-info" in n).split("/")[0],
    }


def test_a_checkout_whose_links_became_text_files_is_not_built(checkout, tmp_path):
    shutil.copytree(checkout, tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    link = tmp_path / "copy" / "src" / "evenly" / "storage"
    link.unlink()
    link.write_text("../../storage")
    done = build(tmp_path / "copy", tmp_path / "out")
    assert done.returncode != 0
    assert "`src/evenly/storage` must be a symbolic link" in done.stdout + done.stderr


def test_a_recipe_is_written_and_checked_from_the_wheel(command, tmp_path):
    assert command("--version", cwd=tmp_path).stdout.startswith("evenly ")
    command("init", "birds.yaml", cwd=tmp_path)
    done = command("check", "birds.yaml", cwd=tmp_path, check=False)
    assert "Traceback" not in done.stderr
    where = subprocess.run(
        [command.python, "-c", "import evenly.flows.recipe.files as f; print(f.TEMPLATE)"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(command.packages)


def test_a_pool_is_matched_and_balanced_whatever_packages_lie_in_the_folder(command, tmp_path):
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("raise RuntimeError('not ours')")
        (command.packages / f"{room}.py").write_text("raise RuntimeError('of another distribution')")
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["a dog", "a cat"]}), tmp_path / "pool.parquet")
    (tmp_path / "list.txt").write_text("dog\ncat\n")
    place = ("pool.parquet", "--metadata", "list.txt", "--caption", "text", "--uid", "id", "--out", "matches.parquet")
    assert json.loads(command("match", *place, "--json", cwd=tmp_path).stdout)["matched"] == 2
    balanced = command("balance", "matches.parquet", "--t", "5", "--out", "kept.parquet", "--json", cwd=tmp_path)
    assert json.loads(balanced.stdout)["kept"] == 2
