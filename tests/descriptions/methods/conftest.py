"""Describe by one method against a real server on loopback, and look at its rows."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.describe import describe


@pytest.fixture
def asked(server, client) -> Callable[..., list[dict[str, Any]]]:
    """Rows of a class list by one method, where the server answers each request with `answer(request)` as JSON."""

    def run(method, classes, answer, *, samples=1, **more):
        def reply(request: Mapping[str, Any], _before: int):
            found = answer(request) if callable(answer) else answer
            return server.completion(found if isinstance(found, str) else json.dumps(found))

        server.answer = reply
        found = describe(parse_class_list(classes, "list"), methods=[method], client=client, samples=samples, **more)
        return found.table.to_pylist()

    return run
