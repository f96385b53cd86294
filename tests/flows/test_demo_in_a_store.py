"""The demo in an object store: killed ten times, resumed, and then read by all commands that read a build."""

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from evenly.flows.recipe.files import DEMO
from tests.chaos.command import Command, End
from tests.chaos.timeline import watch
from tests.object_store_server import environment_of

KILLS = 10
LONGEST_S = 3600.0


def ended(command: Command) -> End:
    end = command.end(LONGEST_S)
    assert end.status == 0, end.err[-2000:]
    assert not end.left
    return end


def without_described(adapters: Sequence[dict]) -> list[dict]:
    """Those that read no descriptions: what a language model answers depends on what it is asked at the same time."""
    return [
        row | {"path": ""}
        for row in adapters
        if row["name"] in {"zero_shot", "linear", "gda", "tip", "cooked"} and row["texts"] in {"names", "none"}
    ]


@pytest.mark.slow
@pytest.mark.timeout(4 * LONGEST_S)
def test_the_demo_in_a_store_that_is_killed_ten_times_is_the_build_of_a_folder(
    bucket, s3_server, tmp_path, monkeypatch
):
    monkeypatch.setattr(Command, "longest_s", LONGEST_S)
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"PREFECT_HOME": str(tmp_path / "prefect")}
    stored = environment | environment_of(s3_server)
    at = ["--root", f"{bucket}/team/demo", "--json"]

    def start(arguments: Sequence[str]) -> Command:
        return Command.start(arguments, stored, tmp_path)

    def read(*arguments: str) -> dict:
        return json.loads(ended(start([*arguments, *at])).out)

    first = Command.start(["demo", "--root", str(tmp_path / "w"), "--json"], environment, tmp_path)
    timeline = watch(first)
    local = json.loads(ended(first).out)

    kills = []
    for point in timeline.points(KILLS, "demo"):
        for delay_s in (point.delay_s, point.delay_s / 4, 0.0):
            command = start(["demo", *at])
            if command.reach(replace(point, delay_s=delay_s)):
                command.send(signal.SIGKILL)
                assert command.end().status == -signal.SIGKILL
                kills.append(str(point))
                break
            command.end()
    result = json.loads(ended(start(["demo", *at])).out)
    print(f"{len(kills)} kills: {', '.join(kills)}")  # noqa: T201
    assert len(kills) == KILLS
    for name in ("build", "content_hash", "funnel", "truth", "examples"):
        assert result[name] == local[name], name
    assert without_described(result["adapters"]) == without_described(local["adapters"]) != []
    assert len(result["adapters"]) == len(local["adapters"])

    assert read("verify", "latest", "--every-image")["findings"] == []
    for uid in result["examples"].values():
        (pair,) = read("why", uid, "--replay")["pairs"]
        assert {step["replay"]["agrees"] for step in pair["steps"]} <= {True, None}
    changes = read("diff", result["build"], "latest")
    assert changes["entered"] == changes["left"] == changes["changed"] == []
    assert changes["kept_before"] == changes["kept_after"] > 0
    assert read("report", "latest")["report"].startswith(bucket)
    exported = read("export", "latest", "--to", "parquet", "--out", str(tmp_path / "out"))
    assert exported["folder"] == str(tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / "samples.parquet").num_rows
    assert read("fit", str(DEMO))
