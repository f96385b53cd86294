import csv

import pytest

from evenly.demo.ground import classes

SMALL = {"bird", "fruit", "clock"}


@pytest.fixture(scope="module")
def few_classes(tmp_path_factory):
    """The ground of three classes of four families each, one of which has two codes."""
    path = tmp_path_factory.mktemp("classes") / "few.csv"
    with classes.CLASSES_FILE.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["name"] in SMALL]
    for row in rows:
        families = sorted(row["codes"].split("|"), key=lambda family: (-len(family.split()), family))[:4]
        row["codes"] = "|".join(" ".join(family.split()[:2]) for family in families)
    with path.open("w", newline="", encoding="utf-8") as lines:
        table = csv.DictWriter(lines, rows[0])
        table.writeheader()
        table.writerows(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classes, "CLASSES_FILE", path)
        classes.read_classes.cache_clear()
        classes.members_of.cache_clear()
        yield
    classes.read_classes.cache_clear()
    classes.members_of.cache_clear()
