"""New buckets in a store of each kind, by the servers that fixtures start. Not a test."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import azure_store_server, google_store_server, object_store_server

KINDS = ("s3", "gs", pytest.param("az", marks=pytest.mark.slow))


@contextmanager
def new_bucket(kind: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a new bucket for a test, which this process can reach."""
    name = f"bucket-{abs(hash(request.node.nodeid)):x}"
    if kind == "s3":
        address = request.getfixturevalue("s3_server")
        object_store_server.make_bucket(address, name)
        environment = object_store_server.environment_of(address)
    elif kind == "gs":
        address = request.getfixturevalue("google_server")
        google_store_server.make_google_bucket(address, name)
        folder = request.getfixturevalue("tmp_path_factory").mktemp("account")
        environment = google_store_server.google_environment(address, folder)
    else:
        address = request.getfixturevalue("azure_server")
        azure_store_server.make_container(address, name)
        environment = azure_store_server.azure_environment(address)
    with object_store_server.reaching_by(environment):
        yield f"{kind}://{name}"
