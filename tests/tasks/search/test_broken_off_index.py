"""An index whose making is killed: what was there before is used as it was, or it is said what to do."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evenly.storage.errors import NotFoundError
from evenly.tasks.search import index
from evenly.tasks.search.index import FeatureIndex
from tests.labelled_build import WordEncoder
from tests.searched_build import Pair, publish
from tests.tasks.search.test_index import NAMES, made

ROOT = Path(__file__).parents[3]
KILLED = """
import os, signal, sys
from evenly.storage.tables import lance_commits
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress
from evenly.tasks.search import index
root, encoder, kind, moment = sys.argv[1:]
index.QUERIES = 4
module = lance_commits if moment == "_seal" else index
setattr(module, moment, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
index.make_index(Workspace.at(root), encoder, kind, Progress(quiet=True))
"""
"""Makes an index, and dies where Lance has committed and `_seal` would count it, or ahead of writing its record."""


@pytest.mark.parametrize("kind", ["ivf_pq", pytest.param("binary", marks=pytest.mark.slow)])
def test_nothing_half_is_taken_for_an_index(workspace, monkeypatch, kind):
    monkeypatch.setattr(index, "QUERIES", 4)
    publish(workspace, [Pair(name, name) for name in NAMES])
    encoder = WordEncoder.identity
    kill(workspace, kind, "_seal")
    with pytest.raises(NotFoundError, match=f"there is no {kind} of the features by encoder"):
        FeatureIndex(workspace, encoder, kind)
    facts = made(workspace, kind)
    kill(workspace, kind, "_seal")
    assert FeatureIndex(workspace, encoder, kind).facts == facts
    kill(workspace, kind, "asdict")
    with pytest.raises(NotFoundError, match=f"Make the index again: `evenly index --kind {kind}`"):
        FeatureIndex(workspace, encoder, kind)
    assert made(workspace, kind).rows == 400
    assert FeatureIndex(workspace, encoder, kind).unindexed == 0


def kill(workspace, kind, moment):
    arguments = [sys.executable, "-c", KILLED, str(workspace.root), WordEncoder.identity, kind, moment]
    assert subprocess.run(arguments, cwd=ROOT, check=False).returncode == -signal.SIGKILL
