"""A recaptioning that is killed at any point asks nothing twice but what was under way, and ends in the same build."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.picture_pool import picture
from tests.tasks.whole_rebuild import Row, write_pool
from tests.vision_server import vision_server

N_PICTURES = 60
UNDER_WAY = 4
"""Requests that were sent or whose replies were being stored: twice the concurrency."""
DRIVER = """
import json
import sys
from pathlib import Path
import pytest
from tests.tasks.conftest import encoding_colours
from tests.tasks.captions.test_chat_captioners import recaption
from tests.tasks.captions.test_killed import run_at
root, captioner = sys.argv[1:]
with encoding_colours():
    record = recaption(run_at(Path(root)), [json.loads(captioner)])
print(record.key, record.output_hash)
"""


def run_at(root: Path):
    """The run of a workspace whose pool is there already."""
    from evenly.storage.pools.source import PoolSource
    from evenly.storage.workspace import Workspace
    from evenly.tasks.progress import Progress
    from evenly.tasks.run import Run

    source = PoolSource(kind="folder", path=str(root / "pool"), name="pool")
    return Run(workspace=Workspace.at(root), seed=3, processes=1, sources=(source,), progress=Progress(quiet=True))


def drive(root: Path, url: str, **fields: object) -> subprocess.Popen[str]:
    captioner = {"name": "seen", "kind": "seen", "base_url": url, "model": "eyes", "concurrency": 2, "max_side": 64}
    command = [sys.executable, "-c", DRIVER, str(root), json.dumps(captioner | fields)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3])])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_after_ten_kills_nothing_was_asked_twice_but_what_was_under_way(tmp_path):
    pool = [Row(f"p{at:02}", f"caption number {at}", picture((240, 90, 80), pattern=at)) for at in range(N_PICTURES)]
    write_pool(tmp_path / "w" / "pool", pool)
    with vision_server(delay_s=0.05) as server:
        for kill in range(1, 11):
            process = drive(tmp_path / "w", server.url)
            while server.counts()["different"] < kill * 5 and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
        ended = drive(tmp_path / "w", server.url)
        output = ended.communicate()[0]
        assert ended.returncode == 0
        counts = server.counts()
        assert counts["different"] == N_PICTURES
        assert counts["requests"] <= N_PICTURES + 10 * UNDER_WAY
        again = drive(tmp_path / "w", server.url)
        assert again.communicate()[0] == output
        write_pool(tmp_path / "undisturbed" / "pool", pool)
        whole = drive(tmp_path / "undisturbed", server.url)
        assert whole.communicate()[0].split()[1] == output.split()[1]
    sys.stderr.write(f"\n{counts['requests']} requests for {N_PICTURES} pictures, {counts['twice']} twice\n")
