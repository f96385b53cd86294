"""The first tutorial, typed as it stands."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "tutorials"
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)


@pytest.mark.slow
def test_eight_commands_lead_from_a_folder_of_pictures_to_a_report(tmp_path, capsys):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment = {name: value for name, value in environment.items() if name not in {"EVENLY_ROOT", "PREFECT_API_URL"}}
    started, commands, printed = time.monotonic(), [], ""
    for text in BLOCK.findall((PAGES / "pictures.md").read_text(encoding="utf-8")):
        commands += text.splitlines()
        done = subprocess.run(
            ["bash", "-e", "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        printed = done.stdout
    with capsys.disabled():
        sys.stdout.write(f"\n{len(commands)} commands, {time.monotonic() - started:.0f} s\n")
    assert len([line for line in commands if line.startswith("evenly ")]) == 8
    assert "<html" in Path(printed.split()[-1]).read_text(encoding="utf-8")
