"""What each objective of `evenly refine` is for, measured on held-out pairs of a recipe's latest build.

Three things that its own table does not show. Printed for the frozen encoder and each objective, with the 95 % interval
of the paired difference to the frozen one, resampled by group:

linkage   the adjusted Rand index of records (norm(.636 x picture + .364 x text)) linked singly at a cosine chosen on
          val, against the pictures they were drawn from. Where the pool is the demo's, whose duplicates are planted.
names     the share of test pictures of each class list that are named right where every class goes by the one of its
          synonyms that train captions say least. Where the list is described with synonyms.
details   of two drawings of a test scene, one of which has a scratch, a hole or a missing end, the share of small JPEG
          copies that are nearer to their own. Where the pool is of scenes.

An objective is refined by as the command does it; what was refined before is read.

Run: python -m benchmarks.refined_objectives RECIPE --root WORKSPACE [--objective NAME ...] [--scenes N]
"""

import argparse
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score

from evenly.adapters.evaluation.measures.bootstrap import paired_bootstrap
from evenly.adapters.features import unit_rows
from evenly.curation.duplicates.record_linkage import MixedCosine, mix
from evenly.demo.draws import pick
from evenly.demo.scenes.defects import DEFECTS
from evenly.demo.scenes.drawing import draw_scene
from evenly.demo.scenes.plans import Defect, plan_scene
from evenly.features.refining.heads import Heads
from evenly.features.refining.objectives import OBJECTIVES
from evenly.features.refining.pairs import PairRows, raw_rows
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.refine_encoder import guarded_lists
from evenly.flows.runs import run_in
from evenly.storage.builds import Builds
from evenly.storage.feature_store import FeatureStore
from evenly.storage.samples import Samples
from evenly.tasks.encoders import encoder_identity, frozen_run, open_encoder
from evenly.tasks.labelled_rows import all_groups
from evenly.tasks.pictures.encoded import store_images
from evenly.tasks.refining.needs import raw_text_rows
from evenly.tasks.refining.pairs import GuardedList, refining_parts
from evenly.tasks.refining.refine import REFINE_ENCODER, RefineRule, heads_of
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step

REPLICATES = 500
COSINES = np.arange(0.30, 0.995, 0.01)
MIXED = MixedCosine(min_cosine=1.0)
SCENE_SEED = 0
Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Measure = tuple[Callable[[Heads], Floats], npt.NDArray[Any]]
"""What is right by heads (n,), and the groups (n,)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judging:
    """A run, its build, the pairs that are held out, and the class lists with their synonyms."""

    run: Run
    manifest: Mapping[str, Any]
    pairs: Mapping[str, PairRows]
    lists: Sequence[GuardedList]
    parts: Any


def linkage(of: Judging) -> Callable[[Heads], tuple[Any, Any]] | None:
    """Linking of the records of val and test in the demo's pool."""
    truth_path = of.run.cache / "demo" / "truth.parquet"
    if of.manifest["recipe_name"] != "demo" or not truth_path.is_file():
        return None
    truth = pq.read_table(truth_path, columns=["url", "picture"])
    picture_of = dict(zip(truth["url"].to_pylist(), truth["picture"].to_pylist(), strict=True))
    version = of.manifest["samples"]["version"]
    table = Samples(of.run.workspace, of.manifest["recipe_name"]).read(version, ["uid", "url", "caption", "image_id"])
    everyone, groups = all_groups(of.run, of.manifest)
    groups = groups[pc.index_in(table["uid"], everyone["uid"].combine_chunks()).to_numpy()]
    records: dict[str, tuple[Rows, Rows, npt.NDArray[np.str_], npt.NDArray[np.str_]]] = {}
    for part in ("val", "test"):
        has_both = pc.and_(pc.is_valid(table["image_id"]), pc.is_valid(table["caption"])).to_numpy(zero_copy_only=False)
        mine = has_both & np.isin(groups, of.pairs[part].groups)
        rows = table.filter(pa.array(mine))
        ids = rows["image_id"].to_pylist()
        store_images(of.run, sorted(set(ids)))
        image = raw_rows(*FeatureStore(of.run.workspace, encoder_identity(of.run), "images").read(ids))
        names = np.array([picture_of[url] for url in rows["url"].to_pylist()])
        records[part] = image, raw_text_rows(of.run, rows["caption"].to_pylist()), names, groups[mine]

    def clusters(heads: Heads, part: str) -> Callable[[float], npt.NDArray[np.int64]]:
        image, text, _, _ = records[part]
        mixed = mix(heads.image(image), heads.text(text), weight=MIXED.weight).astype(np.float32)
        cosines = mixed @ mixed.T
        return lambda least: connected_components(cosines >= least, directed=False)[1].astype(np.int64)

    def judge(heads: Heads) -> tuple[Any, Any]:
        on_val = clusters(heads, "val")
        least = max(COSINES, key=lambda cosine: adjusted_rand_score(records["val"][2], on_val(cosine)))
        return records["test"][2:], clusters(heads, "test")(float(least))

    return judge


def rand_score(truth: Any, before: Any, after: Any) -> tuple[float, str]:  # noqa: ANN401
    """The index after, and the interval of its difference over resampled groups."""
    names, groups = truth
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    generator = np.random.Generator(np.random.Philox(key=0))
    changes = []
    for _ in range(REPLICATES):
        drawn = generator.integers(len(members), size=len(members))
        places = np.concatenate([members[group] for group in drawn])
        times = [int((drawn[:place] == group).sum()) for place, group in enumerate(drawn)]
        copy = np.repeat(times, [len(members[group]) for group in drawn])  # the second time it is another record
        own, *others = (np.unique(np.stack([np.unique(values, return_inverse=True)[1][places], copy]), axis=1,
                                  return_inverse=True)[1] for values in (names, before, after))  # fmt: skip
        changes.append(adjusted_rand_score(own, others[1]) - adjusted_rand_score(own, others[0]))
    low, high = np.percentile(changes, [2.5, 97.5])
    return adjusted_rand_score(names, after), f"{low:+.3f} to {high:+.3f}"


def rare_names(of: Judging, one: GuardedList) -> Measure | None:
    """Naming of test pictures by the rarest synonym of each class."""
    rows = of.parts.lists["test"].get(one.list)
    if rows is None or not one.synonyms:
        return None
    captions = [f" {text.casefold()} " for text in of.pairs["train"].captions.tolist()]

    def count(name: str) -> int:
        return sum(f" {name.casefold()} " in text for text in captions)

    rarest = {name: min(others, key=count) for name, others in one.synonyms.items() if others}
    texts = raw_text_rows(of.run, [one.said(rarest.get(name, name)) for name in one.classes])
    asked = np.isin(rows.labels, [place for place, name in enumerate(one.classes) if name in rarest])
    print(f"# {one.list}: {asked.sum()} test pictures of {len(rarest)} classes, {', '.join(rarest.values())}")

    def judge(heads: Heads) -> Floats:
        cosines = unit_rows(heads.image(rows.image[asked])) @ unit_rows(heads.text(texts)).T
        return (cosines.argmax(axis=1) == rows.labels[asked]).astype(np.float64)

    return judge, rows.groups[asked]


def details(of: Judging, scenes: int) -> Measure | None:
    """Small copies of scenes with a defect and without."""
    if of.manifest["recipe_name"] != "scenes":
        return None
    encoder = open_encoder(of.run)
    pictures: list[bytes] = []
    number = 0
    while len(pictures) < 4 * scenes:
        plan = plan_scene(number, SCENE_SEED)
        number += 1
        if plan.part != "test":
            continue
        kind = pick(tuple(DEFECTS), SCENE_SEED, *plan.key, "detail")
        damaged = draw_scene(replace(plan, defect=Defect(kind=kind, place=0)))
        if damaged.defect is not None:
            both = [draw_scene(replace(plan, defect=None)).png, damaged.png]
            pictures += [*both, *map(_small, both)]
    rows = encoder.encode_images(pictures).astype(np.float32)

    def judge(heads: Heads) -> Floats:
        unit = unit_rows(heads.image(rows)).reshape(-1, 4, rows.shape[1])
        cosines = np.einsum("npd,nqd->npq", unit[:, 2:], unit[:, :2])
        return (cosines.argmax(axis=2) == np.arange(2)).mean(axis=1)

    return judge, np.arange(scenes)


def _small(picture: bytes) -> bytes:
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    file = io.BytesIO()
    image.resize((image.width * 2 // 3, image.height * 2 // 3)).save(file, "JPEG", quality=60)
    return file.getvalue()


def refined(of: Judging, chosen: Recipe, recipe: str, objective: str) -> Heads:
    """The heads that the command chooses for an objective."""
    build = of.manifest["build"]
    lists = guarded_lists(of.run, chosen, recipe, build, needs=OBJECTIVES[objective].needs)
    rule = RefineRule(build=build, objective=objective, lists=lists)
    return Heads.from_bytes(heads_of(of.run, run_step(of.run, REFINE_ENCODER, (), rule), rule))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--root")
    parser.add_argument("--objective", nargs="*", default=["contrastive", "clippings", "un2clip", "gkc"])
    parser.add_argument("--scenes", type=int, default=150)
    given = parser.parse_args()
    chosen = read_recipe(Path(given.recipe))
    run = frozen_run(run_in(chosen, root=given.root))
    manifest = Builds(run.workspace).read(f"{chosen.name}-latest")
    lists = guarded_lists(run, chosen, given.recipe, manifest["build"], needs=("synonyms",))
    parts = refining_parts(run, manifest, lists)
    of = Judging(run=run, manifest=manifest, pairs=parts.pairs, lists=lists, parts=parts)
    d = parts.pairs["test"].image.shape[1]
    all_heads = {"frozen": Heads.start(d, 1, seed=0)} | {
        name: refined(of, chosen, given.recipe, name) for name in given.objective
    }
    frozen = all_heads["frozen"]
    if (links := linkage(of)) is not None:
        for name, heads in all_heads.items():
            truth, after = links(heads)
            value, difference = rand_score(truth, links(frozen)[1], after)
            print(f"linkage | {name} | {value:.3f} | {difference} | {len(truth[0])} records")
    measures = {f"names of {one.list}": rare_names(of, one) for one in lists} | {"details": details(of, given.scenes)}
    for measure, asked in measures.items():
        if asked is None:
            continue
        judge, groups = asked
        before = judge(frozen)
        for name, heads in all_heads.items():
            after = judge(heads)
            _, low, high = paired_bootstrap(before, after, seed=0, groups=groups)
            print(f"{measure} | {name} | {after.mean():.3f} | {low:+.3f} to {high:+.3f} | {len(after)}")


if __name__ == "__main__":
    main()
