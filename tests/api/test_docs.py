"""The Python of the docs: python.md runs from top to bottom, and other pages call what there is as it is."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import evenly
from evenly.builds import Build
from evenly.flows.cli.command import READS, WRITES
from evenly.workspaces import BuildsByName, OpenedWorkspace
from tests.api.conftest import write_pool, write_recipe
from tests.chat_server import tiny_server

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHAT_URL = "http://127.0.0.1:8000/v1"  # of the example
PAGES = ["rebuild", "pools", "concepts", "metadata", "classes", "adapters", "evaluation", "audit", "exports", "python"]


def blocks(page: str) -> list[str]:
    return BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("colours")
def test_python_md_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    write_pool(tmp_path)
    (tmp_path / "photos" / "wren" / "broken.png").unlink()
    write_recipe(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVENLY_ROOT", raising=False)
    names: dict[str, object] = {}
    with tiny_server() as server:
        for block in blocks("python"):
            exec(compile(block.replace(CHAT_URL, server.url), "python.md", "exec"), names)  # noqa: S102
    assert isinstance(names["build"], Build)
    assert names["build"].root == tmp_path / ".evenly"
    assert names["decided"]["kept"].any()
    assert names["zero_shot"].score(names["X"], names["y"]) == 1
    assert names["described"].texts()["wren"]
    assert "no build matches `tits`" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_the_python_way(page):
    assert any("evenly." in block for block in blocks(page))


@pytest.mark.parametrize("page", PAGES)
def test_calls_in_a_page_are_calls_that_there_are(page):
    """Each `evenly.name(...)` binds to the function's signature; each method of a build or workspace is one."""
    methods = {name: getattr(kind, name) for kind in (OpenedWorkspace, BuildsByName, Build) for name in vars(kind)}
    for block in blocks(page):
        for node in ast.walk(ast.parse(block)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            function = getattr(evenly, called.removeprefix("evenly."), None) if called.startswith("evenly.") else None
            owner, _, method = called.rpartition(".")
            if owner == "build" or owner.endswith("]"):
                function = methods[method]
            if function is None:
                assert not re.fullmatch(r"evenly\.\w+", called), called
                continue
            names = {keyword.arg for keyword in node.keywords}
            assert names <= {*inspect.signature(function).parameters}, f"{page}: {ast.unparse(node)}"


def test_every_command_has_a_row_with_its_form_in_python():
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `evenly ([\w -]+)` \| `([\w.]+)", page, re.MULTILINE))
    assert {*rows} == WRITES.keys() | READS | {"encoders", "batches"}
    for form in rows.values():
        owner, _, name = form.partition(".")
        assert name in evenly.__all__ if owner == "evenly" else hasattr({**globals()}[owner], name) or name == "builds"
