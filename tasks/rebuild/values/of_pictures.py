"""Values that a picture has by its features alone, whatever other pairs there are."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Floats, Rows
from evenly.curation.values.aesthetic import Aesthetic, linear_scores
from evenly.curation.values.normsim import NormSim, Target
from evenly.storage.errors import InputError
from evenly.storage.files.features import read_linear_head
from evenly.tasks.encoders import open_encoder
from evenly.tasks.pictures.encoded import pictures_of
from evenly.tasks.pictures.pairs import send_by_picture
from evenly.tasks.pictures.sent_rows import SentRows
from evenly.tasks.rebuild.values.measuring import Measuring, column_of, pictured
from evenly.tasks.reference_sets import read_references
from evenly.tasks.run import Run


def measure_normsim(inputs: Measuring) -> SentRows:
    """The norm of the cosines of each pair's picture with those of the target."""
    rule: NormSim = inputs.rule
    rows = read_references(inputs.run, rule.target, features=True).pictures.rows
    if rows is None:
        raise InputError(f"`target` must have features; got none at `{rule.target}`. Correct the path.")
    return _measured(inputs, Target.of(rows, rule).norms)


def measure_aesthetic(inputs: Measuring) -> SentRows:
    """The score of the linear head for each pair's picture."""
    rule: Aesthetic = inputs.rule
    path = Path(inputs.run.locate(rule.head))
    weight, bias = read_linear_head(path)
    dimension = open_encoder(inputs.run).dimension
    if len(weight) != dimension:
        raise InputError(
            f"head `{path}` must have {dimension} weights, as features of the recipe's encoder; got {len(weight)}. Fit "
            "one to these features."
        )
    return _measured(inputs, partial(linear_scores, weight=weight, bias=bias))


def _measured(inputs: Measuring, score: Callable[[Rows], Floats]) -> SentRows:
    give, work = partial(pictured, inputs.upstream), partial(_scored, inputs.name, score)
    return send_by_picture(inputs.run, inputs.engine, f"measuring {inputs.name}", give, work)


def _scored(name: str, score: Callable[[Rows], Floats], run: Run, pairs: pa.Table) -> pa.Table:
    if not pairs.num_rows:
        return pa.table({"uid": pairs["uid"], name: column_of(np.empty(0))})
    rows, places = pictures_of(run, pairs["image_id"].combine_chunks())
    return pa.table({"uid": pairs["uid"], name: column_of(score(rows)).take(places)})
