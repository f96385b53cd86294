"""What holds of a store holds of each kind of store."""

from pathlib import Path

import pytest

OF_EACH_KIND = ("test_object_path", "test_records_in_a_store", "test_writer_lock")
"""What all others go through: on a store of each kind also in `make test`."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave other stores than S3 to `make test-all`, where a test is of what stands on OF_EACH_KIND."""
    for item in items:
        kind = getattr(item, "callspec", None) and item.callspec.params.get("any_bucket")
        if kind == "gs" and item.path.parent == Path(__file__).parent and item.path.stem not in OF_EACH_KIND:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def bucket(any_bucket: str) -> str:
    """A new bucket in a store of each kind."""
    return any_bucket
