"""Hold captioners against the truth: what each picture shows is known, of scenes and of the demo's web.

A pool is rebuilt up to the step recaption, once, with all captioners; then captions are chosen for each captioner as a
recipe would. The margin of `choose: {by: score}` is the one of MARGINS that raises the F1 of named objects the most on
some of the pictures (scenes of train and val; of the demo half of the subjects). All else that is printed is of the
others: for each captioner at margin 0, at that margin, and where its caption is always taken; and without a captioner,
of the given captions and those of merged pairs alone. Intervals (95 %) are bootstrapped over the first drawing of a
scene, or the subject of a picture.

An object is named rightly where the picture shows it, wrongly where it is in the list of objects and the picture does
not show it. Of scenes evenly.demo.scenes.scores says so, and a caption also errs by a count, colour or relation. Of the
demo: a caption names rightly if it has one of the words that name its picture, and errs by those that name others.

RefCLIPScores of scenes have the true short caption as reference. benchmarks/caption_unseen.py says of objects that are
named how many are found to be unseen.

Run: python -m benchmarks.caption_truth [--count N] [--tags N] [--pool demo] [--captioners NAMES] [--folder DIR]
"""

import argparse
import csv
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from benchmarks.caption_facts import Facts, demo_facts, scene_facts
from benchmarks.caption_measures import Change, ChangeMeasures, f1_gain, measure_changes, ratio_interval
from benchmarks.caption_unseen import TRUTH_CAPTIONER, NamedObject, measure_unseen, named_objects
from benchmarks.greedy_captions import GREEDY
from benchmarks.scene_eyes import scene_eyes
from evenly.adapters.evaluation.measures.bootstrap import Interval
from evenly.curation.captions.choice import GIVEN, ChoiceRule, choose_captions
from evenly.curation.captions.scores import ref_clip_scores
from evenly.demo.scenes.folder import LIST, PICTURES, TRUTH, make_scene_folder
from evenly.features import cosine_scores
from evenly.flows.recipe import Recipe
from evenly.flows.recipe.steps import steps_of
from evenly.flows.runs import open_run
from evenly.storage.files.identities import default_cache
from evenly.tasks.captions import CAPTIONERS
from evenly.tasks.captions.scoring import with_encoder
from evenly.tasks.encoders import text_rows
from evenly.tasks.run import EncoderChoice, Records, Run
from evenly.tasks.stage import run_step

RECIPES = Path(__file__).parents[1] / "recipes"
MARGINS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
ALWAYS = None
"""The margin that stands for a caption of the captioner in every case: choose by draw, at rate 1."""
MOST_TAGGED = 60
SCENE_CAPTIONERS = ("names", "template", "seen", "greedy")
JUDGE = "embedded2"
TRUE = "truth"
"""The captioner that offers the true short caption of a scene, and wrong variants of it; of no choice."""
ABOUT = {
    "names": "retrieved: the name of one of the 3 concepts nearest to the picture",
    "template": "retrieved: the 3 nearest concepts in one phrase, with counts",
    "seen": "a vision model's stand-in, no model: benchmarks/scene_eyes.py says what it sees and where it lies",
    "tags": "the embedded language model (SmolLM2) is told the 3 nearest concepts as tags",
    "greedy": "cheats: strings concepts together as each raises the score that chooses (benchmarks/greedy_captions.py)",
}


@dataclass(frozen=True, kw_only=True)
class Offered:
    """All candidates of a pool's pairs, what each shows, and the notes of the step.

    pictures: by uid, by what the truth knows a picture: the hash of its bytes, or its URL. references: by uid and
    caption, its RefCLIPScores by both encoders, of scenes. objects: those that captions of scenes name.
    """

    pictures: Mapping[str, str]
    candidates: pa.Table
    facts: Mapping[str, Facts]
    notes: Mapping[str, Any]
    references: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    objects: Sequence[NamedObject] = ()

    @property
    def uids(self) -> pa.Array:
        """The pairs."""
        return pa.array(self.pictures)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pool", choices=["scenes", "demo"], default="scenes")
    parser.add_argument("--count", type=int, default=400, help="scenes to draw")
    parser.add_argument("--tags", type=int, default=0, help=f"scenes that the language model captions, {MOST_TAGGED}")
    parser.add_argument("--captioners", nargs="+", default=SCENE_CAPTIONERS, choices=SCENE_CAPTIONERS)
    parser.add_argument("--folder", type=Path, help="where scenes and work are kept, so that a second run is short")
    options = parser.parse_args()
    if not 0 <= options.tags <= MOST_TAGGED:
        raise SystemExit(f"`--tags` must be 0 to {MOST_TAGGED}; got {options.tags}. It takes seconds for each.")
    CAPTIONERS.update({"greedy": GREEDY, TRUE: TRUTH_CAPTIONER})
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if options.pool == "demo":
            show("demo", offer_on_demo(folder / "demo"))
            return
        scenes = folder / "scenes"
        make_scene_folder(scenes, count=options.count)
        offered = offer_on_scenes(scenes, folder / "work", [*options.captioners, TRUE])
        show(f"{options.count} scenes", offered)
        if "greedy" in options.captioners:
            show_words(offered)
        show_unseen(offered)
        if options.tags:
            tagged = folder / f"{options.tags} scenes"
            write_tagged(tagged, scenes, offered, options.tags)
            show(f"{options.tags} scenes", offer_on_scenes(tagged, folder / "work", ["tags"]))


def offer_on_scenes(scenes: Path, root: Path, captioners: Sequence[str]) -> Offered:
    """The candidates of the captioners for a folder of scenes."""
    rows = {row["sha256"]: row for row in pq.read_table(scenes / TRUTH).to_pylist()}
    truth = {image_id: scene_facts(row) for image_id, row in rows.items()}
    with ExitStack() as stack:
        url = stack.enter_context(scene_eyes()) if "seen" in captioners else ""
        recipe = recipe_with("scenes", captioners_named(captioners, url, scenes / TRUTH), path=scenes)
        run, records, pairs, candidates = stack.enter_context(candidates_of(recipe, root, "image_id"))
        facts = {uid: truth[image_id] for uid, image_id in pairs.items()}
        offered = Offered(pictures=pairs, candidates=candidates, facts=facts, notes=records[-1].notes)
        if TRUE not in captioners:
            return offered
        objects = named_objects(run, records, pairs, candidates, rows)
        return replace(offered, references=true_references(run, candidates), objects=objects)


def offer_on_demo(root: Path) -> Offered:
    """The candidates of the captioners that need no server for the demo's web."""
    recipe = recipe_with("demo", captioners_named(["names", "template"]))
    with candidates_of(recipe, root, "url") as (_, records, pairs, candidates):
        truth = demo_facts(pq.read_table(default_cache() / "demo" / "truth.parquet"))
    facts = {uid: truth[url] for uid, url in pairs.items()}
    return Offered(pictures=pairs, candidates=candidates, facts=facts, notes=records[-1].notes)


def captioners_named(names: Sequence[str], url: str = "", truth: Path = Path()) -> list[dict[str, Any]]:
    """What a recipe says of captioners."""
    rules: dict[str, dict[str, Any]] = {
        "names": {"kind": "retrieved", "sentence": "names"},
        "template": {"kind": "retrieved", "sentence": "template"},
        "seen": {"kind": "seen", "base_url": url, "model": "eyes"},
        "tags": {"kind": "tags", "columns": ["tags"], "temperature": 0.0},
        "greedy": {"kind": "greedy"},
        TRUE: {"kind": TRUE, "file": str(truth)},
    }
    return [{"name": name, **rules[name]} for name in names]


def recipe_with(name: str, captioners: Sequence[Mapping[str, Any]], *, path: Path | None = None) -> Recipe:
    """A recipe that ships, with these captioners, and its pool at `path`."""
    values = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
    rule = {"captioners": captioners, "choose": {"by": "original"}, "judge": {"model": JUDGE}}
    values["curate"]["recaption"] = rule
    if path is not None:
        values["sources"] = [{"kind": "folder", "path": str(path)}]
    return Recipe.model_validate(values, context={"folder": RECIPES})


@contextmanager
def candidates_of(recipe: Recipe, root: Path, key: str) -> Iterator[tuple[Run, Records, dict[str, str], pa.Table]]:
    """The run and its records up to recaption; uid -> the column `key` of its pairs; and all candidates."""
    with open_run(recipe, root=root, quiet=True) as run:
        records: tuple[Any, ...] = ()
        for step, rule in steps_of(recipe):
            before, records = records, (*records, run_step(run, step, records, rule))
            if step.name == "recaption":
                pairs = run.ledger.alive(before, [key])
                pairs = dict(zip(pairs["uid"].to_pylist(), pairs[key].to_pylist(), strict=True))
                yield run, records, pairs, run.ledger.table(records[-1], "candidates")
                return


def true_references(run: Run, candidates: pa.Table) -> dict[tuple[str, str], tuple[float, float]]:
    """RefCLIPScores of candidates by uid and caption, by both encoders, with the true short caption as reference."""
    rows = [row for row in candidates.to_pylist() if row["score"] is not None]
    true = {row["uid"]: row["caption"] for row in rows if row["origin"] == TRUE and row["sample"] == 0}
    scores = []
    for one, column in ((run, "score"), (with_encoder(run, EncoderChoice(model=JUDGE)), "judged")):
        texts = text_rows(one, [row["caption"] for row in rows])
        references = cosine_scores(texts, text_rows(one, [true[row["uid"]] for row in rows]))
        scores.append(ref_clip_scores(np.array([row[column] for row in rows]), references).tolist())
    return {(row["uid"], row["caption"]): both for row, *both in zip(rows, *scores, strict=True)}


def write_tagged(folder: Path, scenes: Path, offered: Offered, count: int) -> None:
    """Write a folder of `count` of the scenes, half of them of test, with retrieved concepts as a column tags."""
    names: dict[str, list[str]] = {}
    for row in offered.candidates.filter(pc.equal(offered.candidates["origin"], "names")).to_pylist():
        names.setdefault(offered.pictures[row["uid"]], []).append(row["caption"])
    truth = pq.read_table(scenes / TRUTH, columns=["file_name", "sha256", "part"]).to_pylist()
    tested, others = ([row for row in truth if (row["part"] == "test") is side] for side in (True, False))
    kept = {row["file_name"]: row["sha256"] for row in [*tested[: count // 2], *others[: count - count // 2]]}
    with (scenes / LIST).open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["file_name"] in kept]
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    for name in (TRUTH, *kept):
        shutil.copyfile(scenes / name, folder / name)
    with (folder / LIST).open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, [*rows[0], "tags"])
        writer.writeheader()
        writer.writerows(row | {"tags": ", ".join(names[kept[row["file_name"]]])} for row in rows)


def changes_by(offered: Offered, captioner: str, margin: float | None) -> dict[str, Change]:
    """By uid, what a choice between the given captions and those of a captioner makes of each pair."""
    origins = pa.array([*GIVEN, captioner])
    candidates = offered.candidates.filter(pc.is_in(offered.candidates["origin"], origins))
    rule = ChoiceRule(by="draw", rates={captioner: 1.0}, forbid=())
    if margin is not None:
        rule = ChoiceRule(by="score", margin=margin)
    chosen = choose_captions(offered.uids, candidates, rule).chosen
    given = {row["uid"]: row["caption"] for row in candidates.to_pylist() if row["origin"] == "original"}
    changes = {}
    for row in chosen.to_pylist():
        facts, caption = offered.facts[row["uid"]], given[row["uid"]] or ""
        changes[row["uid"]] = Change(
            group=facts.group,
            is_changed=row["chosen_caption"] != caption,
            given=facts.held(caption),
            chosen=facts.held(row["chosen_caption"] or ""),
            scores=(row["original_score"], row["caption_score"]),
            judged=(row["original_judged"], row["caption_judged"]),
            **references_of(offered, row["uid"], caption, row["chosen_caption"] or ""),
        )
    return changes


def references_of(offered: Offered, uid: str, given: str, chosen: str) -> dict[str, tuple[float, float]]:
    """RefCLIPScores of a given and a chosen caption, by both encoders, where a true caption is known."""
    before, after = (offered.references.get((uid, text)) for text in (given, chosen))
    if before is None or after is None:
        return {}
    return {"referenced": (before[0], after[0]), "judged_referenced": (before[1], after[1])}


def show_unseen(offered: Offered) -> None:
    """Print how well objects that captions name and pictures do not show are recognised."""
    unseen = offered.notes["unseen"]
    print(f"\nconcepts that given captions name: {unseen['named']}, of which recognised: {unseen['recognised']}")
    heads = ("named by", "there", "absent", "AUC", "precision of the flag", "recall", "false alarms")
    print("\n| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    tested = [one for one in offered.objects if one.is_tested]
    for origin in sorted({one.origin for one in tested}):
        named = [one for one in tested if one.origin == origin]
        for label, objects in ((origin, named), (f"{origin}, recognised", [one for one in named if one.is_recognised])):
            measures = measure_unseen(objects)
            shares = (measures.auc, measures.precision, measures.recall, measures.false_alarms)
            cells = (label, str(measures.there), str(measures.absent), *map(_shown, shares))
            print("| " + " | ".join(cells) + " |")


def show(title: str, offered: Offered) -> None:
    """Print what each captioner's choice does."""
    tested = {uid for uid, facts in offered.facts.items() if facts.is_tested}
    print(f"\n{title}: {len(offered.pictures):,} pairs with a picture, of which {len(tested):,} are reported on")
    for name, count in ((name, count) for name, count in offered.notes["offered"].items() if name != TRUE):
        print(f"  {name}: {ABOUT[name]}; {count:,} captions")
    print(f"  judge: {JUDGE}, which has another picture tower than the embedded encoder, and the same text tower")
    given = changes_by(offered, GIVEN[1], 0.0)
    rows = [("given, or merged", measure_changes([given[uid] for uid in given if uid in tested]))]
    for name in sorted({*offered.notes["offered"]} - {TRUE}):
        by_margin = {margin: changes_by(offered, name, margin) for margin in (ALWAYS, *MARGINS)}
        gains = {
            margin: f1_gain([one for uid, one in by_margin[margin].items() if uid not in tested]) for margin in MARGINS
        }
        best = max(MARGINS, key=lambda margin: gains[margin])
        listed = ", ".join(f"{gain:+.3f} at {margin:g}" for margin, gain in gains.items())
        print(f"  {name}: F1 gained by margin, on the pictures that choose it: {listed}")
        for margin in dict.fromkeys((ALWAYS, 0.0, best)):
            label = "always" if margin is None else f"{margin:g}"
            row = measure_changes([one for uid, one in by_margin[margin].items() if uid in tested])
            rows.append((f"{name}, {label}", row))
    print_table(rows)
    grammar = offered.notes.get("grammar") or {}
    shares = [f"{kind} {'-' if share is None else f'{share:.3f}'}" for kind, share in grammar.items()]
    caught = ", ".join(shares) or "none is fitted on so few"
    print(f"\ngrammar score, share of captions not fitted on that it takes for disturbed: {caught}")


def print_table(rows: Sequence[tuple[str, ChangeMeasures]]) -> None:
    """Print the measures of each choice, a row each, as Markdown."""
    heads = ("captioner, margin", "changed", "precision", "recall", "F1 gained", "repaired", "made worse")
    heads += ("AUC by score", "AUC by judge", "score gained", "judge gained", "RefCLIPScore", "by judge")
    print("\n| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    before = rows[0][1]
    given = ("as given", "", _shown(before.precision[0]), _shown(before.recall[0]), *[""] * (len(heads) - 6))
    given += (_shown(before.ref_score[0]), _shown(before.judged_ref_score[0]))
    print("| " + " | ".join(given) + " |")
    for name, one in rows:
        cells = [name, f"{one.changed} of {one.n}", _shown(one.precision[1]), _shown(one.recall[1])]
        cells += [_shown(one.f1_gain, "+"), f"{_shown(one.repaired)} of {one.erred}"]
        cells += [f"{_shown(one.worse)} of {one.n - one.erred}", _shown(one.score_auc), _shown(one.judge_auc)]
        cells += [_shown(one.score_gain, "+"), _shown(one.judge_gain, "+")]
        print("| " + " | ".join([*cells, _shown(one.ref_score[1]), _shown(one.judged_ref_score[1])]) + " |")


def show_words(offered: Offered) -> None:
    """Print what each further word of the captioner that cheats gains by the score, by the judge, and in truth."""
    rows = offered.candidates.filter(pc.equal(offered.candidates["origin"], "greedy")).to_pylist()
    captions = {(row["uid"], row["sample"]): row for row in rows if offered.facts[row["uid"]].is_tested}
    print("\n| words of greedy | pictures | score gained by the last | judge gained by the last | right words |")
    print("|---|---|---|---|---|")
    for number in range(1, 1 + max(sample for _, sample in captions)):
        longer = [(uid, row) for (uid, sample), row in captions.items() if sample == number]
        groups = [offered.facts[uid].group for uid, _ in longer]
        gained = [
            ratio_interval(np.array([[row[by] - captions[uid, number - 1][by], 1.0] for uid, row in longer]), groups)
            for by in ("score", "judged")
        ]
        named = [offered.facts[uid].held(row["caption"]) for uid, row in longer]
        right = sum(one.named for one in named) / max(sum(one.named + one.wrong for one in named), 1)
        print(f"| {number + 1} | {len(longer)} | {_shown(gained[0], '+')} | {_shown(gained[1], '+')} | {right:.3f} |")


def _shown(interval: Interval, sign: str = "") -> str:
    if math.isnan(interval.estimate):
        return "-"
    estimate, low, high = (f"{value:{sign}.3f}" for value in interval)
    return estimate if math.isnan(interval.low) else f"{estimate} ({low} to {high})"


if __name__ == "__main__":
    main()
