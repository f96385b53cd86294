"""Refined encoders with and without a hold, judged on held-out pairs of their build and on pictures outside the pool.

Each objective is trained by each seed, chosen on val as `evenly refine` does, and judged once: on test, and on a folder
of captioned pictures in one index with those of test. Intervals (95 %) are of the paired difference to the frozen
encoder over resampled groups, each query's mean over the seeds. With --oracle also what is lost since val and the nouns
choose, and not the pictures outside.

Run: python -m benchmarks.refined_outside RECIPE --root WORKSPACE --also FOLDER [--seeds 5] [--oracle]
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from evenly.adapters.evaluation.measures.bootstrap import paired_bootstrap
from evenly.features.refining.hold import HeldTexts
from evenly.features.refining.objectives import OBJECTIVES
from evenly.features.refining.refinement import Refinement
from evenly.features.refining.training import train_heads
from evenly.flows.other_pictures import other_pictures
from evenly.flows.refine_encoder import open_refining
from evenly.options import HOLD, RefineOptions
from evenly.storage.errors import InputError, NotFoundError
from evenly.tasks.refining.measures import ALL_PAIRS, AMONG, Correct, judged, shifts
from evenly.tasks.refining.needs import held_texts
from evenly.tasks.refining.outside import other_rows, unseen_pictures, with_outside
from evenly.tasks.refining.pairs import RefiningParts
from evenly.tasks.refining.refine import RefineRule, chosen_refinement, parts_of, trainable_of
from evenly.tasks.run import Run

Scores = dict[tuple[str, str], Correct]
FOUND, BACK = "text to picture R@10", "picture to text R@10"


def opened(arguments: argparse.Namespace, objective: str, hold: float) -> tuple[Run, RefineRule, RefiningParts]:
    """The run, rule and parts of an objective, with the pictures outside."""
    options = RefineOptions(root=arguments.root, objective=objective, hold=hold, quiet=True)
    run, rule = open_refining(str(arguments.recipe), options)
    parts = parts_of(run, rule)
    train = parts.pairs["train"].image
    sources = other_pictures(run.cache, [str(arguments.also)])
    pictures = {source.name: unseen_pictures(other_rows(run, source), train) for source in sources}
    return run, rule, with_outside(parts, pictures)


def chosen(run: Run, rule: RefineRule, parts: RefiningParts, seeds: Sequence[int]) -> Iterator[Refinement]:
    """What val chooses by each seed, the pairs being held out alike."""
    for seed in seeds:
        seeded = replace(run, seed=seed)
        yield chosen_refinement(seeded, rule, parts, trainable_of(seeded, rule, parts.pairs["train"]))[0]


def mean_of(scores: Sequence[Scores]) -> Scores:
    """The mean over seeds of each query."""
    return {
        key: Correct(values=np.mean([one[key].values for one in scores], axis=0), groups=scores[0][key].groups)
        for key in scores[0]
    }


def row_of(name: str, keys: Sequence[tuple[str, str]], scores: Scores, frozen: Scores, further: Sequence[str]) -> str:
    """A line of the table: each measure, and the interval of its difference; in bold where it lost."""
    cells = [
        f"{scores[key].mean:.3f}{'' if scores is frozen else f' {difference(frozen, scores, key)}'}" for key in keys
    ]
    return f"| {' | '.join([name, *cells, *further])} |"


def difference(before: Scores, after: Scores, key: tuple[str, str]) -> str:
    """The 95 % interval of the paired difference; in bold where it is below 0."""
    interval = paired_bootstrap(before[key].values, after[key].values, seed=0, groups=before[key].groups)
    text = f"({interval.low:+.3f} to {interval.high:+.3f})"
    return f"**{text}**" if interval.high < 0 else text


def lost_by_choice(run: Run, rule: RefineRule, parts: RefiningParts, seed: int) -> tuple[float, float, float, float]:
    """Recall of pairs of test and outside, of what val chooses and of what the pictures outside would have chosen.

    The latter is the highest mean of both among all epochs and strengths.
    """
    seeded, outside = replace(run, seed=seed), AMONG.format(next(iter(parts.outside)))
    trained = trainable_of(seeded, rule, parts.pairs["train"])
    epochs = train_heads(
        parts.pairs["train"],
        OBJECTIVES[rule.objective](),
        rule.training,
        seed=seed,
        trained=trained,
        texts=parts.nouns,
    )
    tried = [
        (scores[FOUND, ALL_PAIRS].mean, scores[FOUND, outside].mean)
        for _, refinement, _ in epochs
        for scores in (judged(parts, refinement.at(strength)) for strength in trained.strengths)
    ]
    best = max(tried, key=sum)
    own = judged(parts, chosen_refinement(seeded, rule, parts, trained)[0])
    return own[FOUND, ALL_PAIRS].mean, own[FOUND, outside].mean, *best


def main() -> None:
    """Print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--objectives", nargs="+", default=[*OBJECTIVES, "contrastive,unime"])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--also", type=Path, required=True, help="a folder of captioned pictures")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--holds", type=float, nargs="+", default=[0.0, HOLD])
    parser.add_argument("--oracle", action="store_true")
    arguments = parser.parse_args()
    seeds = range(1, arguments.seeds + 1)
    header, rivals = True, dict[float, Scores]()
    with threadpool_limits(1):
        for name in arguments.objectives:
            for hold in arguments.holds:
                try:
                    run, rule, parts = opened(arguments, name, hold)
                except (InputError, NotFoundError) as error:
                    print(f"{name}: {error}")
                    break
                if arguments.oracle:
                    losses = np.mean([lost_by_choice(run, rule, parts, seed) for seed in seeds], axis=0)
                    print(f"{name}, hold {hold}: val {losses[:2].round(4)}, outside {losses[2:].round(4)}", flush=True)
                    continue
                frozen = judged(parts, trainable_of(run, rule, parts.pairs["train"]).frozen())
                outside = [key for key in frozen if key[1] == AMONG.format(next(iter(parts.outside)))]
                named = [key for key in frozen if key[0] == "zero-shot"]
                keys = [
                    (FOUND, ALL_PAIRS), (BACK, ALL_PAIRS), *named, *(key for key in outside if key[0] in {FOUND, BACK})
                ]  # fmt: skip
                if header:
                    further = [f"against {name}: {FOUND}", "moved: nouns, pictures"]
                    print(f"| {' | '.join(['', *(f'{of}: {measure}' for measure, of in keys), *further])} |")
                    print(f"|{'---|' * (len(keys) + 3)}")
                    print(row_of("frozen", keys, frozen, frozen, ["", ""]))
                    header = False
                refined = list(chosen(run, rule, parts, seeds))
                nouns = held_texts(run, replace(rule.training, hold=HOLD))
                moved = "" if nouns is None else _moved(parts, refined, nouns)
                scores = mean_of([judged(parts, refinement) for refinement in refined])
                rival = rivals.setdefault(hold, scores)
                against = "" if rival is scores else difference(rival, scores, (FOUND, ALL_PAIRS))
                title = f"`{name}`{', held' if hold else ''}"
                print(row_of(title, keys, scores, frozen, [against, moved]), flush=True)


def _moved(parts: RefiningParts, refined: Sequence[Refinement], nouns: HeldTexts) -> str:
    moved: list[Any] = [list(shifts(one, nouns, parts.pairs["val"]).values()) for one in refined]
    return ", ".join(f"{value:.3f}" for value in np.mean(moved, axis=0))


if __name__ == "__main__":
    main()
