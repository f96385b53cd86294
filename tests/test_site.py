"""The documentation as a site."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import evenly

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="MkDocs is not installed: make docs"),
]


def test_the_site_is_built_with_no_broken_link_and_every_command_and_name(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "commands" / "index.html").read_text()
    assert 'id="evenly-rebuild"' in commands
    assert "--retry-failed" in commands
    interface = (tmp_path / "api" / "index.html").read_text()
    objects = re.findall(r'id="evenly\.[\w.]*?(\w+)"', interface)
    assert set(evenly.__all__) - set(objects) == {
        "__version__",
        "match",
        "balance",
        "encode",
        "describe",
        "rebuild",
        "open",
    }
    assert {"match_texts", "balance_matches", "encode_items", "describe_names"} <= set(objects)
    loaded = [page for page in tmp_path.rglob("*.html") if '<script src="http' in page.read_text()]
    assert not loaded, "pages load scripts from elsewhere"
