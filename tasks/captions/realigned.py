"""Captions by a chat model that corrects the texts which stood beside a picture (Altogether: Xu et al. 2024).

Differs from the paper (arXiv:2410.17251): a vision model and an instruction in the place of a captioner trained on
corrected texts. Its texts are in their order, not in that of a set, which changed from run to run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import pyarrow as pa
from annotated_types import Ge, Le

from evenly.descriptions.captions.asked import ChatCaptions, Question, check_sees, each_row
from evenly.descriptions.captions.questions import PROMPTS, about_picture, about_texts
from evenly.storage.records import content_hash
from evenly.tasks.captions.captioner import Captioner, SentPictures, Shown, ask_captions
from evenly.tasks.chat.endpoints import endpoint_identity
from evenly.tasks.run import Run


@dataclass(frozen=True, kw_only=True)
class RealignedRule(ChatCaptions):
    """A vision model that corrects a picture's texts, its own and those of its duplicates, at most `texts` of them.

    rounds: in each but the first it corrects its last caption beside the texts; each round's caption is a candidate.
    prompt: realign, or the instruction in your words.
    """

    prompt: str = "realign"
    texts: Annotated[int, Ge(1), Le(50)] = 5
    rounds: Annotated[int, Ge(1), Le(5)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sees(self)
        if self.samples != 1:
            raise ValueError(f"rounds are the samples of kind realigned; got samples {self.samples}. Leave it out.")


def _offer(run: Run, rule: RealignedRule, shown: Shown) -> pa.Table:
    pictures = SentPictures(run, shown, max_side=rule.max_side)
    pairs = shown.pairs.select(["image_id", "texts"])
    last: pa.ChunkedArray | pa.Array = pa.nulls(pairs.num_rows, pa.string())
    rounds: list[pa.Table] = []
    for number in range(rule.rounds):
        questions = _questions(rule, pairs.append_column("last", last), pictures, number)
        rounds.append(ask_captions(run, rule, shown, questions, pairs.num_rows))
        last = rounds[-1]["caption"]
    return pa.concat_tables(rounds)


def _questions(rule: RealignedRule, pairs: pa.Table, pictures: SentPictures, number: int) -> Iterator[Question]:
    """The questions of a round: with the caption of the round before, where there is one, and the picture's texts."""
    for place, row in enumerate(each_row(pairs)):
        texts = [*([] if row["last"] is None else [row["last"]]), *row["texts"]][: rule.texts]
        picture, sampling = pictures[row["image_id"]], rule.sampling
        request = about_picture(picture, "short", sampling, sample=number)
        if texts:
            request = about_texts(picture, texts, rule.prompt, sampling, sample=number)
        yield Question(place=place, request=request)


def _identity(run: Run, rule: RealignedRule) -> str:
    wording = content_hash({"instruction": PROMPTS.get(rule.prompt, rule.prompt), "without_texts": PROMPTS["short"]})
    return f"{endpoint_identity(run, rule)} {wording}"


REALIGNED = Captioner(rule=RealignedRule, offer=_offer, identity=_identity)
