"""What holds of a store holds of each kind of store."""

import pytest


@pytest.fixture
def bucket(any_bucket: str) -> str:
    """A new bucket in a store of each kind."""
    return any_bucket
