"""The lists of the ground: codes, class lists, synonyms, sentences, planted classes, links between hands, recipes."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any

from evenly.demo.draws import demo_draw, pick
from evenly.demo.files import csv_text
from evenly.demo.ground.classes import LISTS, PARTS, READ, GroundCode, read_classes
from evenly.demo.ground.plans import HUES, GroundPlan
from evenly.demo.ground.textures import TEXTURES
from evenly.demo.scenes.captions import indefinite

SEVERAL = "several things"
"""The label of pictures of two things."""

LINK_COLUMNS = ("part", "group", "code", "first_hand", "second_hand", "first", "second")

_SYLLABLES = ("ba", "do", "fi", "gu", "ka", "lo", "mi", "nu", "pe", "ra", "so", "tu", "ve", "zi")
_READ_BY = {"fit": "train", "val": "val", "test": "test"}
RECIPES = {
    "refine.yaml": """\
# The pairs that the ground's encoder is refined on: docs/ground.md.
name: ground-refine
seed: 20261124
sources:
  - {kind: folder, path: refine}
labels: {column: label, group: group}
curate:
  download: {}
  deduplicate: {exact: true, perceptual: null, semantic: null}
features: {model: embedded}
""",
    "ground.yaml": """\
# The pairs that methods fit on, choose on and are judged on: docs/ground.md. No pair of `refine` is among them.
name: ground
seed: 20261124
sources:
  - {kind: folder, path: fit}
  - {kind: folder, path: val}
  - {kind: folder, path: test}
labels: {column: label, group: group, split: split.csv}
curate:
  download: {}
  deduplicate: {exact: true, perceptual: null, semantic: null}
features: {model: embedded}             # refined: {model: embedded, refine: ground}
# classes:
#   - {list: known.txt, methods: [synonyms], adapters: [linear, gda, tip], templates: ["{}", "a {}"]}
""",
}


def ground_lists(members: Sequence[GroundCode], seed: int) -> dict[str, str]:
    """The lists that depend on the codes alone, by file name."""
    classes = read_classes()
    files = {f"{name}.txt": [label for label, entry in classes.items() if entry.list == name] for name in LISTS}
    files["classes.txt"] = list(classes)
    tables = {
        "codes.csv": [vars(member) for member in members],
        "synonyms.csv": _synonyms(),
        "sentences.csv": _sentences(members),
        "planted.csv": planted_classes(seed),
    }
    lists = {name: "".join(f"{line}\n" for line in lines) for name, lines in files.items()}
    return lists | {name: _csv(rows) for name, rows in tables.items()} | RECIPES


def picture_lists(plans: Sequence[GroundPlan], rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The lists of pictures by file name: of each part, of all but `refine`, of links between hands."""
    lists = {}
    for part in PARTS:
        listed = [
            {name: row[name] for name in ("file_name", "caption", "label", "group")}
            for row in rows
            if row["part"] == part
        ]
        lists[f"{part}/metadata.csv"] = _csv(listed)
    keys = [
        {"key": f"sha256:{row['sha256']}", "part": _READ_BY[row["part"]]} for row in rows if row["part"] in _READ_BY
    ]
    return lists | {"split.csv": _csv(keys), "links.csv": _csv(_links(plans, rows), LINK_COLUMNS)}


def planted_classes(seed: int) -> list[dict[str, str]]:
    """A class for each hue and texture, with a name that says nothing and a sentence that says both."""
    classes: dict[str, dict[str, str]] = {}
    for hue, background in product(HUES, TEXTURES):
        tries = (
            "".join(pick(_SYLLABLES, seed, "planted name", hue, background, str(attempt), place) for place in "abc")
            for attempt in range(99)
        )
        name = next(name for name in tries if name not in classes)
        sentence = f"{name}, which is something {hue} {background}"
        classes[name] = {"name": name, "colour": hue, "background": background, "sentence": sentence}
    return sorted(classes.values(), key=lambda row: demo_draw(seed, "planted order", row["name"]))


def _synonyms() -> list[dict[str, Any]]:
    return [
        {"class": label, "word": word.singular, "plural": word.plural, "read": read, "share": READ.get(read, 0.0)}
        for label, entry in read_classes().items()
        for read, word in entry.words.items()
    ]


def _sentences(members: Sequence[GroundCode]) -> list[dict[str, str]]:
    """Sentences on each class: of its kind, and one for each drawing of `refine` and `fit`, none of val and test."""
    sentences = [
        {"class": label, "about": "kind", "sentence": f"{indefinite(label)}, which is of the kind {entry.kind}"}
        for label, entry in read_classes().items()
    ]
    named = {(member.label, member.name): None for member in members if member.part in {"refine", "fit"}}
    return sentences + [
        {"class": label, "about": "member", "sentence": f"{indefinite(label)}, such as {indefinite(name)}"}
        for label, name in named
    ]


def _links(plans: Sequence[GroundPlan], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Each two pictures on white of one code by two hands."""
    by_code: dict[str, list[tuple[GroundPlan, Mapping[str, Any]]]] = {}
    for plan, row in zip(plans, rows, strict=True):
        if plan.kind == "white":
            by_code.setdefault(plan.members[0].code, []).append((plan, row))
    return [
        dict(
            zip(
                LINK_COLUMNS,
                (
                    plan.part,
                    plan.members[0].group,
                    code,
                    plan.hand,
                    second.hand,
                    f"{plan.part}/{row['file_name']}",
                    f"{plan.part}/{second_row['file_name']}",
                ),
                strict=True,
            )
        )
        for code, drawn in by_code.items()
        for (plan, row), (second, second_row) in combinations(drawn, 2)
    ]


def _csv(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> str:
    return csv_text([names or list(rows[0]), *(list(row.values()) for row in rows)])
