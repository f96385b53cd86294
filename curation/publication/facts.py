"""The facts of a build that are published: sizes, sources, languages, domains, steps, models, reservations, licences.

All are of the pairs that were kept, but for what steps took out. The summary of training content, dataset cards and
cards of models say these and no others, so that none can say another number than the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evenly.curation.captions.choice import GIVEN
from evenly.curation.exclusions.judgement import BLOCK_DOMAINS, SAFETY

DOWNLOADED, AT_HAND, WITHOUT = "downloaded", "at hand", "captions alone"
"""How the pictures of a source came."""
NOT_READ = "not read"
OF_SAFETY = (BLOCK_DOMAINS.name, SAFETY.name)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts of a build, as plain values.

    pictures and picture_bytes: of different pictures. words: of the captions chosen, between white space. sources: rows
    of source, kind (how its pictures came), pairs, pictures and bytes. period: the days when the first and the last of
    the pictures were fetched, None where none was. languages: pairs by detected language, None where no step detected
    it. domains: of fetched pictures by registrable domain: domain, pairs, pictures, bytes; the largest first. steps:
    rows of step, question, rows_in, counts per verdict, reasons. respected and removed: the mechanisms of reservations
    that the rule honours, None without a download, and the pairs that went for each. reserved: pairs kept by what their
    pictures reserve all the same, NOT_READ where nobody looked; None where it was not stored. licenses and copyrights:
    pairs by what their files name. captions: pairs by who made the caption. models: rows of role, name, identity.
    """

    build: str
    content_hash: str
    created: str
    recipe: str
    seed: int
    version: str
    pairs: int
    pictures: int
    picture_bytes: int
    words: int
    sources: Sequence[Mapping[str, Any]]
    period: tuple[str, str] | None
    agent: str | None
    languages: Mapping[str, int] | None
    domains: Sequence[Mapping[str, Any]]
    steps: Sequence[Mapping[str, Any]]
    respected: Sequence[str] | None
    removed: Mapping[str, int]
    reserved: Mapping[str, int] | None
    licenses: Mapping[str, int] | None
    copyrights: int | None
    captions: Mapping[str, int]
    models: Sequence[Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Facts as JSON values."""
        return asdict(self)

    def of_safety(self) -> list[Mapping[str, Any]]:
        """The steps that take out what is unsafe or blocked."""
        return [step for step in self.steps if step["step"] in OF_SAFETY]

    def made_captions(self) -> dict[str, int]:
        """Pairs by captioner, of captions that did not come with a picture."""
        return {name: count for name, count in self.captions.items() if name not in GIVEN}
