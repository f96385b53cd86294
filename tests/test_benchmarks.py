"""Benchmarks are run by hand, and so must not lose touch with what they measure."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, main

FOLDER = Path(__file__).parents[1] / "benchmarks"
OF_THE_EXTRA = {"ahocorasick", "wordsegment"}
SMALL = {
    "caption_languages": "",
    "caption_truth": "--count 20",
    "concept_matching": "--count 20000",
    "incremental_duplicates": "--rows 2000",
    "incremental_rebuild": "--texts 2000 --no-pictures",
    "near_duplicates": "--every 100",
    "perceptual_duplicates": "--rows 2000",
    "semantic_duplicates": "--rows 2000",
    "feature_search": "--rows 20000",
    "text_curation": "--rows 40000",
    "table_formats": "--rows 5000",
    "checking_cost": "--texts 2000",
    "whole_rebuild": "--pairs 5000",
    "audit_commands": "--pairs 5000",
    "downloads": "--pictures 100",
    "ledger_overhead": "--rows 5000 --pairs 1000",
    "exchange": "--keys 20000 --bits 3",
    "partitioned_duplicates": "captions --rows 2000 --bits 2 --compare",
    "gda_fit": "--rounds 1 --validation 500",
    "tip_grid": "--rounds 1 --betas 1",
    "describe_throughput": "--rounds 1 --requests 20",
    "caption_throughput": "--pairs 200 --bare 50",
    "decoded_throughput": "--pictures 16 --rounds 1",
    "extraction": "--pictures 96 --rounds 1",
    "long_texts": "--count 10",
}
"""What `make bench` runs, at the smallest size that it takes."""


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("[a-z]*.py")))
def test_a_benchmark_imports_what_is_there(name):
    try:
        importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        if error.name not in OF_THE_EXTRA:
            raise


def test_make_bench_runs_benchmarks_that_are_there():
    assert set(BENCHMARKS) <= {path.stem for path in FOLDER.glob("*.py")}


def test_a_benchmark_that_does_not_end_well_is_named_after_the_others_have_run(monkeypatch, capfd):
    monkeypatch.chdir(FOLDER.parent)
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    monkeypatch.setattr("benchmarks.__main__.BENCHMARKS", {"not_there": [], "process_cost": []})
    with pytest.raises(SystemExit, match=r": not_there$"):
        main()
    assert "== process_cost" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_runs_to_its_end_at_a_small_size(name):
    words = [sys.executable, "-m", f"benchmarks.{name}", *SMALL[name].split()]
    done = subprocess.run(words, check=False, cwd=FOLDER.parent, capture_output=True, text=True)
    if any(f"No module named '{package}'" in done.stderr for package in OF_THE_EXTRA):
        pytest.skip(f"{name} needs the extra `bench`")
    assert "Traceback" not in done.stderr, done.stderr[-2000:]  # a ratio that is not reached by so few is no defect
    assert done.stdout.strip()
