"""Tests of a file share a process, and with it what its fixtures and caches hold."""

import pytest


def test_tests_of_a_file_are_given_to_one_process(request):
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("tests run in one process, or are dealt in another way")
    assert request.node.nodeid.endswith("@tests/test_distribution.py")
