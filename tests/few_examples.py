"""Fewer examples in `make test` than in `make fuzz`, for properties of which each example is dear. Not a test."""

from typing import Any

from hypothesis import settings


def few(examples: int, *, most: int, **more: Any) -> settings:  # noqa: ANN401 - as hypothesis has them
    """Settings of a property: so many `examples` in `make test`, and `most` in `make fuzz`."""
    chosen = examples if settings.default.derandomize else most
    return settings(max_examples=chosen, deadline=None, **more)
