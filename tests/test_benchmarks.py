"""Benchmarks are run by hand, and so must not lose touch with what they measure."""

import importlib
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS

FOLDER = Path(__file__).parents[1] / "benchmarks"
OF_THE_EXTRA = {"ahocorasick", "wordsegment"}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("[a-z]*.py")))
def test_a_benchmark_imports_what_is_there(name):
    try:
        importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        if error.name not in OF_THE_EXTRA:
            raise


def test_make_bench_runs_benchmarks_that_are_there():
    assert set(BENCHMARKS) <= {path.stem for path in FOLDER.glob("*.py")}
