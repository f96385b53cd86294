"""Modules that workers of partitions share: loaded once, by the process that these are forked from."""

import gc

import numpy as np
import pyarrow as pa

from evenly.curation.hash_kernel import hashes_of, starting_state, texts_of
from evenly.tasks import engine, stage
from evenly.tasks.rebuild import balance, collect, concepts, filters, publish

LOADED = (engine, stage, balance, collect, concepts, filters, publish)
"""Modules of the steps that most rebuilds have."""
_text = texts_of(pa.array(["a"]), np.zeros(1, np.int64))
hashes_of(starting_state(digest_size=16, person=b""), b"", _text, _text, words=2)  # numba is ready after its first loop
gc.freeze()  # a collection in a worker would copy the pages of what is shared
