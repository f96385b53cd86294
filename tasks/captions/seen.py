"""Captions by a chat model that is shown the picture."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from evenly.descriptions.captions.asked import ChatCaptions, Question, check_sees, each_row
from evenly.descriptions.captions.questions import PROMPTS, about_picture
from evenly.storage.records import content_hash
from evenly.tasks.captions.captioner import Captioner, SentPictures, Shown, ask_captions
from evenly.tasks.chat.endpoints import endpoint_identity
from evenly.tasks.run import Run


@dataclass(frozen=True, kw_only=True)
class SeenRule(ChatCaptions):
    """A vision model of an OpenAI-compatible endpoint. `prompt` is short, long, or the instruction in your words."""

    prompt: str = "short"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sees(self)


def _offer(run: Run, rule: SeenRule, shown: Shown) -> pa.Table:
    pictures = SentPictures(run, shown, max_side=rule.max_side)

    def questions() -> Iterator[Question]:
        for place, row in enumerate(each_row(shown.pairs.select(["image_id"]))):
            for sample in range(rule.samples):
                request = about_picture(pictures[row["image_id"]], rule.prompt, rule.sampling, sample=sample)
                yield Question(place=place, request=request)

    return ask_captions(run, rule, shown, questions(), shown.pairs.num_rows * rule.samples)


def _identity(run: Run, rule: SeenRule) -> str:
    wording = content_hash({"instruction": PROMPTS.get(rule.prompt, rule.prompt)})
    return f"{endpoint_identity(run, rule)} {wording}"


SEEN = Captioner(rule=SeenRule, offer=_offer, identity=_identity)
