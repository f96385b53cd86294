"""Measure GDA's fit with its sweep of alpha: ours against a torch transcription of the published formula.

1000 classes x 16 images x 512 dimensions, made up: Gaussians around class directions with one uneven covariance, scaled
to unit length. All fit, try the 7 published alphas on validation rows and count the right ones. The transcription
works in float32, class by class, with torch.linalg.pinv, and makes the two products again for each alpha, as the
paper's code does; a second one makes the products once. `tune` is what users call: it also counts zero-shot, for the
guard. All take turns, one thread each unless told otherwise, so that a busy machine slows all of them alike. At last
another process tunes on 50,000 validation rows and says how much memory it took.

Run: python benchmarks/gda_fit.py [--rounds N] [--validation ROWS] [--threads N]
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from evenly.adapters.features import Features, LabelledFeatures, unit_rows
from evenly.adapters.methods.gda import GDA
from evenly.adapters.search import tune

CLASSES, SHOTS, DIMENSION = 1000, 16, 512
ALPHAS = GDA.grid.parameters["alpha"]
MEMORY_ROWS, MEMORY_LIMIT = 50_000, 2e9
TOLERATED = 2e-3  # of the validation rows: float32 turns near ties

Labelled = tuple[Features, np.ndarray]
Found = tuple[float, float]


def make(rows: int, seed: int) -> Labelled:
    """`rows` rows, as many of each class as the other, in mixed order."""
    world, chance = np.random.default_rng(0), np.random.default_rng(seed)
    directions = world.standard_normal((CLASSES, DIMENSION), dtype=np.float32)
    spread = np.geomspace(6, 3, DIMENSION, dtype=np.float32)
    prototypes = unit_rows(directions + world.standard_normal(directions.shape, dtype=np.float32))
    labels = chance.permutation(np.arange(rows, dtype=np.int64) % CLASSES)
    image = directions[labels] + spread * chance.standard_normal((rows, DIMENSION), dtype=np.float32)
    return Features(image=unit_rows(image), prototypes=prototypes), labels


def fitted_and_swept(train: Labelled, validation: Labelled) -> Found:
    """Alpha and accuracy as the search finds them, nothing else."""
    adapter = GDA(precision_scale="published").fit(*train)
    counts = adapter.correct_counts(*validation, [{"alpha": alpha} for alpha in ALPHAS])
    best = int(counts.argmax())
    return ALPHAS[best], counts[best] / len(validation[1])


def tuned(train: Labelled, validation: Labelled) -> Found:
    """Alpha and accuracy that `tune` finds."""
    found = tune(
        GDA,
        train=LabelledFeatures(features=train[0], labels=train[1]),
        validation=LabelledFeatures(features=validation[0], labels=validation[1]),
        fixed={"precision_scale": "published"},
        guard=False,
    )
    return found.chosen["alpha"], found.best_accuracy


def transcribed(train: Labelled, validation: Labelled, *, share_products: bool) -> Found:
    """Alpha and accuracy by the published formula in torch."""
    import torch

    rows, labels = torch.from_numpy(train[0].image.copy()), torch.from_numpy(train[1])
    texts = torch.from_numpy(train[0].prototypes.copy())
    query, truth = torch.from_numpy(validation[0].image.copy()), torch.from_numpy(validation[1])
    n, d = rows.shape
    means = torch.stack([rows[labels == k].mean(dim=0) for k in range(len(texts))])
    residuals = torch.cat([rows[labels == k] - means[k] for k in range(len(texts))])
    covariance = residuals.T.cov()
    precision = d * torch.linalg.pinv((n - 1) * covariance + covariance.trace() * torch.eye(d))
    weight = means @ precision
    bias = np.log(1 / len(texts)) - (weight * means).sum(dim=1) / 2
    products: tuple[torch.Tensor, torch.Tensor] | None = None
    best = (0.0, -1.0)
    for alpha in ALPHAS:
        if products is None or not share_products:
            products = 100 * query @ texts.T, query @ weight.T + bias
        logits = products[0] + alpha * products[1]
        accuracy = float((logits.topk(1, dim=1).indices[:, 0] == truth).float().mean())
        if accuracy > best[1]:
            best = alpha, accuracy
    return best


def race(rounds: int, validation_rows: int, threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    train, validation = make(CLASSES * SHOTS, 1), make(validation_rows, 2)
    runners: dict[str, Callable[[], Found]] = {
        "ours": lambda: fitted_and_swept(train, validation),
        "ours, all of tune": lambda: tuned(train, validation),
        "torch, as published": lambda: transcribed(train, validation, share_products=False),
        "torch, products once": lambda: transcribed(train, validation, share_products=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    with threadpool_limits(limits=threads, user_api="blas"):
        found = {name: run() for name, run in runners.items()}  # the first calls load libraries: not timed
        for _ in range(rounds):
            for name, run in runners.items():
                start = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - start)
    size = f"{CLASSES} classes x {SHOTS} images x {DIMENSION}, {validation_rows} validation rows"
    print(f"{size}, {rounds} rounds, {threads} thread(s); times ours: min / median / max")
    for name, (alpha, accuracy) in found.items():
        ratios = [theirs / own for theirs, own in zip(seconds[name], seconds["ours"], strict=True)]
        middle = f"{min(ratios):.2f} / {statistics.median(ratios):.2f} / {max(ratios):.2f}"
        taken = f"{statistics.median(seconds[name]):6.3f} s, times ours {middle}"
        print(f"  {name:21} {taken}; alpha {alpha}, right {accuracy:.4f}")
    if any(alpha != found["ours"][0] or abs(right - found["ours"][1]) > TOLERATED for alpha, right in found.values()):
        sys.exit("alpha or accuracy differ: see above")


def measure_memory() -> None:
    """Tune on MEMORY_ROWS rows, and print the peak of this process in bytes."""
    tuned(make(CLASSES * SHOTS, 1), make(MEMORY_ROWS, 2))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def report_memory() -> None:
    command = [sys.executable, "-m", "benchmarks.gda_fit", "--memory"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - this module
    peak = int(done.stdout)
    print(f"  peak memory of a process with {MEMORY_ROWS} validation rows: {peak / 1e9:.2f} GB, all counted")
    if peak > MEMORY_LIMIT:
        sys.exit(f"more than {MEMORY_LIMIT / 1e9:.0f} GB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--validation", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", action="store_true", help="only measure memory, in this process")
    arguments = parser.parse_args()
    if arguments.memory:
        measure_memory()
    else:
        race(arguments.rounds, arguments.validation, arguments.threads)
        report_memory()
