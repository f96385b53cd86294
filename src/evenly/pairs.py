"""Pairs of a build in Python, and the rows of their pictures and captions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from evenly.storage.builds import encoder_of
from evenly.storage.errors import InputError
from evenly.storage.samples import outcomes_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from PIL.Image import Image

    from evenly.audit.published import PublishedBuild

Selected = Literal["kept", "dropped", "all"]
SELECTED: tuple[Selected, ...] = ("kept", "dropped", "all")


class PublishedPairs(Protocol):
    """A build: where it lies, what it says of itself, and its pictures."""

    id: str
    manifest: Mapping[str, Any]

    @property
    def root(self) -> Path:
        """The workspace that it lies in."""

    @property
    def published(self) -> "PublishedBuild":
        """The records of its steps, and its tables."""

    def image_bytes(self, uids: str) -> bytes:
        """The original bytes of the picture of a pair."""

    def images(self, uids: str) -> "Image":
        """The picture of a pair."""


@dataclass(frozen=True, kw_only=True)
class BuildPair:
    """One pair of a picture and a caption: what it is, and where it ended.

    caption: the one that was chosen for it, else its own. verdict: kept, dropped, failed or merged, by `step` for its
    `reason`; these two are "" where it was kept. row: all columns of the build's table.
    """

    uid: str
    caption: str | None
    label: str | None
    verdict: str
    step: str
    reason: str
    row: Mapping[str, Any] = field(repr=False)
    build: PublishedPairs = field(repr=False)

    def image_bytes(self) -> bytes:
        """The original bytes of its picture. Raises InputError where it has none."""
        return self.build.image_bytes(self.uid)

    def image(self) -> "Image":
        """The picture: in RGB, upright, transparency on white."""
        return self.build.images(self.uid)


@dataclass(frozen=True, kw_only=True, eq=False)
class PairFeatures:
    """Rows of pairs: `pairs` has uid, caption, label, verdict, step and reason of each, in the order of the rows.

    images: unit rows (n, d) float32 of pictures. captions: those of captions; None where they were not asked for.
    """

    pairs: "pd.DataFrame"
    images: "np.ndarray"
    captions: "np.ndarray | None" = None

    def __len__(self) -> int:
        return len(self.images)


def pairs_of(build: PublishedPairs, rows: Selected) -> Iterator[BuildPair]:
    """The pairs of a build that were kept, or were not, or all, sorted by uid; some thousands are held at a time."""
    for table in _tables(build, rows):
        for row, outcome in zip(table.to_pylist(), _outcomes(build, table).to_pylist(), strict=True):
            caption = row.get("chosen_caption") or row["caption"]
            yield BuildPair(uid=row["uid"], caption=caption, label=row.get("label"), **outcome, row=row, build=build)


def features_of(build: PublishedPairs, *, captions: bool, dropped: bool) -> PairFeatures:
    """The stored rows of the pictures of pairs, and where asked for of captions, which are encoded where they are not.

    dropped: of all pairs whose picture was encoded. Raises InputError for a build without features.
    """
    import numpy as np
    import pyarrow as pa

    from evenly.adapters.features import unit_rows
    from evenly.flows.process.environment import no_widgets
    from evenly.flows.runs import build_run
    from evenly.storage.feature_store import FeatureStore
    from evenly.storage.workspace import Workspace
    from evenly.tasks.encoders import text_rows
    from evenly.tasks.labelled_rows import check_encoder

    store = FeatureStore(Workspace.at(build.root), encoder_of(build.manifest), "images")
    columns = ["uid", "caption", "chosen_caption", "label", "image_id"]
    table = pa.concat_tables(_tables(build, "all" if dropped else "kept", columns))
    table = table.select([name for name in columns if name in table.column_names] + _judged(build)[0])
    if dropped:
        places = np.array([place for block, _ in store.stored_batches(_ids(table)) for place in block], np.int64)
        table = table.take(pa.array(np.sort(places)))
    outcomes = _outcomes(build, table)
    texts = table["chosen_caption" if "chosen_caption" in table.column_names else "caption"]
    columns_shown = {"uid": table["uid"], "caption": texts, "label": table["label"]}
    images = unit_rows(store.read(_ids(table))[0], name="features")
    rows = None
    if captions:
        run = build_run(build.id, root=build.root, quiet=True)
        with no_widgets():
            check_encoder(run, build.manifest)
            rows = unit_rows(text_rows(run, [text or "" for text in texts.to_pylist()]), name="captions")
    pairs = pa.table({**columns_shown, **{name: outcomes[name] for name in outcomes.column_names}}).to_pandas()
    return PairFeatures(pairs=pairs, images=images, captions=rows)


def _tables(build: PublishedPairs, rows: Selected, columns: list[str] | None = None) -> Iterator["pa.Table"]:
    if rows not in SELECTED:
        raise InputError(f'`rows` must be "kept", "dropped" or "all"; got {rows!r}. Correct it.')
    last = f"{build.manifest['samples']['last']}_verdict"
    condition = {"kept": f"{last} = 'kept'", "dropped": f"{last} IS NULL OR {last} <> 'kept'", "all": None}[rows]
    wanted = None if columns is None else [*columns, *_judged(build)[0]]
    yield from build.published.batches(wanted, condition)


def _judged(build: PublishedPairs) -> tuple[list[str], list[str]]:
    """The columns that say where pairs ended, and the steps, in order."""
    steps = [record.name for record in build.published.deciding]
    return [f"{step}_{name}" for step in steps for name in ("verdict", "reason")], steps


def _outcomes(build: PublishedPairs, table: "pa.Table") -> "pa.Table":
    return outcomes_of(table, _judged(build)[1])


def _ids(table: "pa.Table") -> "pa.Array":
    return table["image_id"].combine_chunks()
