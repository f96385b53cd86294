"""The gate of the ground: whether an encoder tells backgrounds, colours, numbers and classes, by texts alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.demo.ground.classes import Word, read_classes
from evenly.demo.ground.plans import HUES
from evenly.demo.ground.textures import TEXTURES
from evenly.demo.scenes.captions import NUMBERS, indefinite

Rows = npt.NDArray[np.float32]
ASKED_COLUMNS = ("sha256", "kind", "things", "background", "label", "group")
"""The columns of truth.parquet that questions are answered by."""


@dataclass(frozen=True, kw_only=True)
class GateQuestion:
    """A question to an encoder: which choice a picture is nearest to, by the mean row of its texts.

    texts: of each choice, as many of one as of another. answer: the place of the right choice by a row of the truth;
    None where a picture is not asked of. least: the share of val that a refined encoder must answer rightly; None: it
    is measured alone.
    """

    name: str
    texts: Sequence[Sequence[str]]
    answer: Callable[[Mapping[str, Any]], int | None]
    least: float | None = None


def gate_questions() -> tuple[GateQuestion, ...]:
    """Backgrounds, colours and numbers of pictures on textures, classes of all with one thing."""
    labels = list(read_classes())
    return (
        GateQuestion(
            name="background",
            texts=[[f"a drawing {phrase}"] for phrase in TEXTURES],
            answer=lambda row: _place(list(TEXTURES), row["background"], row["kind"] == "texture"),
            least=0.9,
        ),
        GateQuestion(
            name="colour",
            texts=[[f"a {hue} drawing"] for hue in HUES],
            answer=lambda row: _place(HUES, row["things"][0]["colour"], _is_recoloured(row)),
            least=0.5,
        ),
        GateQuestion(
            name="count",
            texts=[["a thing"], ["two things"], ["three things"]],
            answer=lambda row: _place((1, 2, 3), row["things"][0]["count"], row["kind"] == "texture"),
        ),
        GateQuestion(
            name="class",
            texts=[_counted(entry.words["name"]) for entry in read_classes().values()],
            answer=lambda row: _place(labels, row["label"], row["kind"] != "pair"),
            least=0.25,
        ),
    )


def asked_rows(question: GateQuestion, truth: Sequence[Mapping[str, Any]]) -> tuple[list[int], npt.NDArray[np.int64]]:
    """The places of the pictures that a question is asked of, and the right answer to each."""
    answers = {place: answer for place, row in enumerate(truth) if (answer := question.answer(row)) is not None}
    return list(answers), np.array(list(answers.values()), np.int64)


def right_answers(images: Rows, texts: Rows, answers: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether the nearest choice to each unit row (n, d) is right; texts: unit rows of each choice (c, k, d)."""
    means = texts.mean(axis=1)
    choices = means / np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray(np.argmax(images @ choices.T, axis=1) == answers)


def gate_problems(measures: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each question that the refined encoder answers too seldom on val."""
    least = {question.name: question.least for question in gate_questions()}
    return [
        f"`{row['question']}` must be told in {bound:.2f} of val or more; got {row['refined']:.3f}"
        for row in measures
        if row["part"] == "val" and (bound := least[row["question"]]) is not None and row["refined"] < bound
    ]


def _counted(word: Word) -> list[str]:
    """A class as captions say it, once to three times."""
    return [indefinite(word.singular), *(f"{NUMBERS[count]} {word.plural}" for count in (2, 3))]


def _place(choices: Sequence[Any], value: object, is_asked: bool) -> int | None:  # noqa: FBT001
    return choices.index(value) if is_asked and value in choices else None


def _is_recoloured(row: Mapping[str, Any]) -> bool:
    return row["kind"] == "texture" and bool(row["things"][0]["is_recoloured"])
