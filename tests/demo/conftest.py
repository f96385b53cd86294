"""A web of forty pictures that has every fault, made once for all tests of the demo."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evenly.demo.make import make_demo

CODES = [
    "1F1E6-1F1FA", "1F1ED-1F1F2", "1F32D", "1F333", "1F34C", "1F3B7", "1F3E0", "1F3F4-E0075-E0073-E0074-E0078-E007F",
    "1F3F4", "1F404", "1F408", "1F415", "1F418", "1F41F", "1F427", "1F436", "1F44D-1F3FB", "1F44D-1F3FF", "1F44D",
    "1F451", "1F460", "1F468-1F3FC-200D-1F33E", "1F468-200D-1F33E", "1F468-200D-1F680", "1F4A1", "1F4D6", "1F528",
    "1F600", "1F680", "1F697", "1F6B2", "1F988", "1F9D1-1F3FC-200D-1F33E", "1F9D1-200D-1F33E", "1F9D1-200D-1F680",
    "2708", "E000", "E001", "E002", "E003",
]  # fmt: skip


@pytest.fixture(scope="session")
def web_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web")
    make_demo(folder, codes=CODES)
    return folder


@pytest.fixture(scope="session")
def truth(web_folder: Path) -> list[dict]:
    return pq.read_table(web_folder / "truth.parquet").to_pylist()
