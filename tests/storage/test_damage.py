"""Bits flipped and files cut in every kind of stored file: refused in one line or without effect."""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from evenly.storage.workspace import Workspace
from tests.storage import damage_driver

DRIVER = Path(damage_driver.__file__)
# Damage that cannot be told from what is no damage, by kind: what is read then is what stood there earlier.
TORN = {"spending journal": "a journal that ends early is what a killed writer leaves"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    made = Workspace.at(tmp_path_factory.mktemp("damaged"))
    damage_driver.make(made)
    return made


def cases(kinds: dict, per_kind: int) -> list[tuple[str, int, float, int | None]]:
    """For each kind and file flips anywhere and near the end, where footers are, and cuts: one in four."""
    chosen = []
    for kind, (paths, _) in kinds.items():
        luck = random.Random(kind)  # noqa: S311 - the same flips each time
        for number in range(max(per_kind, len(paths))):
            at = luck.random() if number % 3 else 1 - luck.random() ** 4 / 10
            bit = None if number % 4 == 3 and kind not in TORN else luck.randrange(8)
            chosen.append((kind, number, at, bit))
    return chosen


def run(workspace: Workspace, wanted: list[tuple]) -> list[tuple[str, str, str]]:
    """(kind, file, outcome) of each case, each read in another process; where that dies, it is a crash."""
    said: list[tuple[str, str, str]] = []
    while len(said) < len(wanted):
        left = wanted[len(said) :]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(DRIVER), str(workspace.root)],
            input="".join(json.dumps(case) + "\n" for case in left),
            capture_output=True, text=True, check=False, timeout=280,
        )  # fmt: skip
        said += [tuple(json.loads(line)) for line in done.stdout.splitlines()]
        if len(said) < len(wanted):
            said.append((wanted[len(said)][0], "", f"crash {done.returncode}: {done.stderr[-300:]}"))
            if sum(outcome.startswith("crash") for _, _, outcome in said) > 5:
                break
    return said


def table(said: list[tuple[str, str, str]]) -> dict[str, Counter]:
    counts: dict[str, Counter] = {}
    for kind, _, outcome in said:
        counts.setdefault(kind, Counter())[outcome.split()[0]] += 1
    return counts


def check(workspace: Workspace, per_kind: int) -> None:
    said = run(workspace, cases(damage_driver.readings(workspace), per_kind))
    wrong = [one for one in said if one[2] not in ("same", "refused", "again")]
    for kind, counts in table(said).items():
        print(f"{kind:26}", ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))  # noqa: T201
    assert not wrong


def test_damage_in_any_kind_of_stored_file_is_refused_in_one_line(workspace):
    check(workspace, 6)


@pytest.mark.slow
def test_much_damage_in_any_kind_of_stored_file_is_refused_in_one_line(workspace):
    check(workspace, 60)
