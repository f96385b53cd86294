import platform
import resource

import numpy as np
import pytest

from evenly.allocation import blocks_reused

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere nothing is changed")


def fresh_pages() -> int:
    """Pages that the system gave while a block of 80 MB was had, filled and freed twice, the first time not counted."""
    np.ones(10_000_000).sum()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(10_000_000).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_block_that_was_freed_is_had_again_without_fresh_pages():
    alone = fresh_pages()
    with blocks_reused():
        reused = fresh_pages()
    after = fresh_pages()
    assert reused * 10 < min(alone, after)
