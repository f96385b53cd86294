"""Compiled loops run as the Python they are written in, so that both can be compared."""

import importlib.util
from types import ModuleType

import numpy as np
import pytest


def interpreted(name: str) -> ModuleType:
    """A second copy of a module, in which nothing is compiled."""
    spec = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evenly.curation.arrays.compiled", lambda loop: loop)
        spec.loader.exec_module(module)
    return module


def agreed(modules, name, *arguments):
    """What the function returns and what it left in the arrays that it was handed: the same in both modules."""
    results = []
    for module in modules:
        own = [value.copy() if isinstance(value, np.ndarray) else value for value in arguments]
        with np.errstate(over="ignore"):  # words wrap around
            returned = getattr(module, name)(*own)
        results.append([returned, *own])
    for compiled_value, plain_value in zip(*map(flat, results), strict=True):
        assert np.array_equal(compiled_value, plain_value)
    return results[0]


def flat(values):
    """The arrays and numbers of nested tuples, one after the other."""
    for value in values:
        if isinstance(value, tuple):
            yield from flat(value)
        else:
            yield value
