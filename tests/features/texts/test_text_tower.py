"""The text tower of the embedded model by itself gives the rows of the whole model, and loads little."""

import subprocess
import sys

import numpy as np
import pytest

from evenly.features.texts.text_tower import embedded_text_tower

pytestmark = pytest.mark.embedded
TEXTS = ["bird", "a red  bird\n on snow", "O&amp;Neil&#39;s caf\u00e9 d\u00e9j\u00e0 vu", "\u732b", "a long word " * 60]


def test_rows_are_those_of_the_whole_model(embedded, embedded_cache):
    tower = embedded_text_tower("embedded", embedded_cache)
    rows, whole = tower.encode_texts(TEXTS), embedded.encode_texts(TEXTS)
    assert rows.dtype == np.float32
    assert np.abs(rows - whole).max() < 1e-5 * np.abs(whole).max()
    assert tower.truncated(TEXTS) == embedded.truncated(TEXTS) == [False] * 4 + [True]


def test_neither_torch_nor_open_clip_is_loaded(embedded_cache):
    script = f"""
import sys
from pathlib import Path
from evenly.features.texts.text_tower import embedded_text_tower
embedded_text_tower("embedded", Path({str(embedded_cache)!r})).encode_texts(["a fox"])
print(sorted({{"torch", "open_clip", "transformers", "timm", "pandas"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]"]
