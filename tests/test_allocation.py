import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import numpy as np
from evenly.allocation import blocks_reused

def fresh_pages():
    np.ones(10_000_000).sum()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(10_000_000).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

alone = fresh_pages()
with blocks_reused():
    reused = fresh_pages()
print(alone, reused)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere nothing is changed")
def test_a_block_that_was_freed_is_had_again_without_fresh_pages():
    """Pages that the system gives for a block of 80 MB, when one was freed just before; in a process of its own."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    alone, reused = map(int, done.stdout.split())
    assert reused * 10 < alone


IN_THREADS = """
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from evenly.allocation import blocks_reused
from evenly.flows.process.interruption import Interruption

both, alone = threading.Barrier(2), threading.Lock()

def fresh_pages(_):
    import numpy as np
    both.wait()
    with alone:  # or one takes what the other freed
        np.ones(10_000_000).sum()
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        np.ones(10_000_000).sum()
        return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before

def command():
    with blocks_reused(), ThreadPoolExecutor(2) as pool:
        print(*pool.map(fresh_pages, range(2)))
    return 0

with Interruption() as interruption:
    status = command()
interruption.finish(status)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere nothing is changed")
def test_every_thread_of_a_command_has_freed_blocks_again():
    done = subprocess.run([sys.executable, "-c", IN_THREADS], capture_output=True, text=True, check=True)
    assert max(map(int, done.stdout.split())) < 50  # of 600 and more, even where the system gives huge pages
