"""docs/notebook.ipynb runs from its first cell to its last, and shows what is stored in it."""

from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
LIMIT_BYTES = 60_000


def cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell) -> list[list[str]]:
    """The kinds of what a cell shows: streams by name, results by their forms; parts of a stream count once."""
    kinds = [[output.name] if output.output_type == "stream" else sorted(output.data) for output in cell.outputs]
    return [kind for place, kind in enumerate(kinds) if place == 0 or kind != kinds[place - 1]]


@pytest.fixture(scope="module")
def stored():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_small_and_holds_its_outputs_and_no_error(stored):
    assert NOTEBOOK.stat().st_size < LIMIT_BYTES
    outputs = [output for cell in cells(stored) for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"stream", "execute_result", "display_data"}
    assert not [output for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert all(cell.outputs for cell in cells(stored))


@pytest.mark.slow
@pytest.mark.embedded
def test_the_notebook_runs_and_shows_what_is_stored(stored, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    fresh = nbformat.from_dict(stored)
    for cell in cells(fresh):
        cell.outputs, cell.execution_count = [], None
    NotebookClient(fresh, timeout=280, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [shown(cell) for cell in cells(fresh)] == [shown(cell) for cell in cells(stored)]
    text = "".join(output.text for cell in cells(fresh) for output in cell.outputs if output.output_type == "stream")
    assert "99 -> 81 pairs; by cause: {'rule': 18}" in text
    assert ": ok; pictures drawn with seed 1" in text
