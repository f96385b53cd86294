"""`evenly demo --ground` with its encoder: a tenth of it, killed on the way, then asked for again."""

import json
import subprocess
import sys
import time

import pytest

from evenly.adapters.effects import CLAIMS
from evenly.adapters.effects.page import VERDICTS, claim_of
from evenly.commands import effects as effects_command
from evenly.flows.cli.datasets.demo import demo_command
from evenly.storage.artifacts.kinds import refined_encoders_of
from evenly.storage.errors import InputError
from evenly.storage.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.embedded, pytest.mark.timeout(1800)]


def test_a_small_ground_is_refined_and_the_gate_says_what_it_lacks(tmp_path):
    folder = tmp_path / "ground"
    command = [sys.executable, "-m", "evenly.flows", "demo", "--ground", str(folder), "--codes", "250", "--json"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(folder.glob("workspace/features/*")) and killed.poll() is None:
        time.sleep(0.2)
    killed.kill()
    killed.wait()
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    result = json.loads(outcome.stdout)
    assert outcome.returncode == 1
    assert result["problems"]
    by_key = {(row["part"], row["question"]): row for row in result["measures"]}
    background = by_key["test", "background"]
    assert background["refined"] > 0.5 > background["frozen"]
    assert background["groups"] == result["ground"]["parts"]["test"]["groups"]
    assert json.loads((folder / "gate.json").read_bytes())["measures"] == result["measures"]
    card = refined_encoders_of(Workspace.at(folder / "workspace")).read("ground")[0]
    again = demo_command(ground=folder, codes=250)
    assert again["measures"] == result["measures"]
    assert refined_encoders_of(Workspace.at(folder / "workspace")).read("ground")[0] == card

    page = tmp_path / "effects.md"
    tables = effects_command(folder, seeds=1, check_choices=True, markdown=page)["encoders"]
    assert list(tables) == ["the frozen encoder", "the refined encoder `ground`"]
    (frozen, refined) = tables.values()
    assert [line["system"] for line in frozen] == [claim.system for claim in CLAIMS]
    gains = [next(line["gain"] for line in lines if line["system"] == "VCD") for lines in (frozen, refined)]
    assert gains[0].spans_zero
    assert not gains[1].spans_zero, "the refined encoder reads colours and backgrounds"
    assert {line["verdict"] for line in refined} <= set(VERDICTS)
    assert all(claim_of(line) in page.read_text() for line in refined)
    assert "the refined encoder `ground`" in (tmp_path / "effects.svg").read_text()
    lines = effects_command(folder, seeds=1, only="44, 21", refine="")["encoders"]["the frozen encoder"]
    assert {line["number"] for line in lines} == {21, 44}
    with pytest.raises(InputError, match=r"`folder` must be a ground that `evenly demo --ground` made; got"):
        effects_command(tmp_path)
    picture = next((folder / "test" / "pictures").iterdir())
    picture.write_bytes(picture.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match=r"must have the SHA-256 that truth\.parquet says; it has changed"):
        effects_command(folder, root=tmp_path / "elsewhere")
