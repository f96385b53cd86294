"""Fewer examples in `make test` than in `make fuzz`, for properties of which each example is dear. Not a test."""

from typing import Any

from hypothesis import settings


def few(examples: int, *, most: int | None = None, **more: Any) -> settings:  # noqa: ANN401 - as hypothesis has them
    """Settings of a property: so many `examples` in `make test`; in `make fuzz` at most `most`, or as many as asked."""
    if not settings.default.derandomize:
        examples = settings.default.max_examples if most is None else most
    return settings(max_examples=examples, deadline=None, **more)
