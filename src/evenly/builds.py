"""A published build in Python: its pairs, what became of the others, and why."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from evenly.audit.safe_text import as_html, visible
from evenly.storage.builds import Builds, funnel_of, open_two
from evenly.storage.errors import InputError
from evenly.storage.samples import outcomes_of
from evenly.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from PIL.Image import Image

    from evenly.audit.diff import Difference
    from evenly.audit.explanation import Explanation
    from evenly.audit.published import PublishedBuild
    from evenly.audit.supposed import WhatIf
    from evenly.encoding import Item
    from evenly.pairs import BuildPair, PairFeatures, Selected

Root = str | os.PathLike[str] | None
Rows = Literal["kept", "all"]
KEPT, ALL = "kept", "all"
_ENDED = ("verdict", "step", "reason")  # where a pair ended


class Build:
    """One published build: its pairs, what became of the others, and why.

    id, recipe (its name), content_hash; `manifest` has all that the build says of itself.
    """

    def __init__(self, workspace: Workspace, manifest: Mapping[str, Any]) -> None:
        self.manifest = manifest
        self.id = str(manifest["build"])
        self.recipe = str(manifest["recipe_name"])
        self.content_hash = str(manifest["content_hash"])
        self._workspace = workspace

    @property
    def root(self) -> Path:
        """The workspace that it lies in."""
        return self._workspace.root

    @property
    def kept(self) -> int:
        """The number of pairs that the build keeps."""
        return int(self.manifest["samples"]["kept"])

    def __len__(self) -> int:
        return self.kept

    def __bool__(self) -> bool:
        return True

    @property
    def columns(self) -> list[str]:
        """The names of the columns of `to_pandas`: what pairs have, then what each step said of them."""
        return list(self.published.samples(where="false").column_names)

    def to_pandas(self, columns: Sequence[str] | None = None, *, rows: Rows = "kept") -> "pd.DataFrame":
        """Pairs as a table, sorted by uid: those of the build, or with rows="all" those that went as well.

        columns: which, and in which order; default: all, and with rows="all" where each pair ended: verdict, and step
        and reason, "" of kept ones. Raises InputError for a column that the build does not have.
        """
        table: pd.DataFrame = self.to_arrow(columns, rows=rows).to_pandas()
        return table

    def to_arrow(self, columns: Sequence[str] | None = None, *, rows: Rows = "kept") -> "pa.Table":
        """The same as an Arrow table."""
        if rows not in (KEPT, ALL):
            raise InputError(f'`rows` must be "kept" or "all"; got {rows!r}. Correct it.')
        ended = [name for name in _ENDED if name not in self.columns] if rows == ALL else []
        if columns is not None:
            self._check_columns(columns, [*self.columns, *ended])
            ended = [name for name in ended if name in columns]
        condition = f"{self.manifest['samples']['last']}_verdict = 'kept'" if rows == KEPT else None
        columns_read = None if columns is None else ["uid", *(name for name in columns if name not in ended)]
        table = self.published.samples(columns_read and list(dict.fromkeys(columns_read)), condition)
        if ended:
            steps = [record.name for record in self.published.deciding]
            of_steps = [f"{step}_{name}" for step in steps for name in ("verdict", "reason")]
            outcomes = outcomes_of(self.published.samples(of_steps), steps)
            for name in ended:
                table = table.append_column(name, outcomes[name])
        return table if columns is None else table.select(list(columns))

    @property
    def funnel(self) -> "pd.DataFrame":
        """One row per step that judged pairs: step, rows_in, kept, dropped, failed, merged, reasons (with counts)."""
        import pandas as pd

        verdicts = ["kept", "dropped", "failed", "merged"]
        steps = [
            step | {"rows_in": sum(step.get(verdict, 0) for verdict in verdicts)} for step in funnel_of(self.manifest)
        ]
        return pd.DataFrame(steps, columns=["step", "rows_in", *verdicts, "reasons"])

    @overload
    def images(self, uids: str) -> "Image": ...  # type: ignore[overload-overlap] # a text is texts too
    @overload
    def images(self, uids: Iterable[str]) -> "list[Image]": ...
    def images(self, uids: str | Iterable[str]) -> "Image | list[Image]":
        """The picture of a pair, or of several in the order given: in RGB, upright, transparency on white.

        Raises UnknownSampleError for a uid that the build never saw, InputError for a pair without a picture.
        """
        from evenly.features.pictures.rgb import open_rgb

        if isinstance(uids, str):
            return open_rgb(self.image_bytes(uids))
        return [open_rgb(content) for content in self.image_bytes(uids)]

    @overload
    def image_bytes(self, uids: str) -> bytes: ...  # type: ignore[overload-overlap] # as there
    @overload
    def image_bytes(self, uids: Iterable[str]) -> list[bytes]: ...
    def image_bytes(self, uids: str | Iterable[str]) -> bytes | list[bytes]:
        """The original bytes of the picture of a pair, or of several; checked against the hash that names them."""
        from evenly.storage.web.errors import DownloadError
        from evenly.storage.web.images import read_images

        is_single, folder = isinstance(uids, str), self._workspace.downloads
        ids, places = self._pictures([uids] if isinstance(uids, str) else list(uids))
        try:
            contents = list(read_images(folder, ids, places))
        except DownloadError:  # they lay there when the build was published; the records of all say where they lie now
            contents = list(read_images(folder, ids))
        return contents[0] if is_single else contents

    def pairs(self, *, rows: "Selected" = "kept") -> "Iterator[BuildPair]":
        """The pairs one by one, sorted by uid, as iterating the build gives the kept ones; `dropped`: all others.

        Each has uid, caption, label, verdict, step, reason, `row` with all columns, and `image` and `image_bytes`.
        """
        from evenly.pairs import pairs_of

        return pairs_of(self, rows)

    def __iter__(self) -> "Iterator[BuildPair]":
        return self.pairs()

    @overload
    def features(self) -> "np.ndarray": ...
    @overload
    def features(self, *, captions: bool = ..., dropped: bool = ...) -> "np.ndarray | PairFeatures": ...
    def features(self, *, captions: bool = False, dropped: bool = False) -> "np.ndarray | PairFeatures":
        """Unit rows (n, d) float32 of the pictures of the kept pairs, in the order of `to_pandas`.

        They are those that the rebuild stored, made by the recipe's encoder and rounded to half precision. captions:
        those of the captions too; dropped: those of all pairs that were encoded, also of such that a later step
        dropped. With either, what comes back has `pairs` (uid, caption, label, verdict, step, reason), `images`, and
        `captions`, row by row.
        """
        from evenly.pairs import features_of

        rows = features_of(self, captions=captions, dropped=dropped)
        return rows if captions or dropped else rows.images

    def search(
        self,
        query: "Item | Sequence[Item] | None" = None,
        *,
        uids: str | Sequence[str] = (),
        minus: str | Sequence[str] = (),
        rows: Literal["kept", "dropped", "all"] = "all",
        where: Sequence[str] = (),
        top: int = 20,
        index: str | None = None,
        within: Literal["pictures", "captions", "regions"] = "pictures",
    ) -> "pd.DataFrame":
        """The pairs whose pictures, captions or regions are nearest to a query, best first: docs/search.md.

        query: texts, and pictures as bytes, paths or PIL pictures, one or several together. uids: pairs that they are
        to be like; minus: texts that they are not to be like. rows: "dropped" are all that are not in the build.
        where: conditions such as "source=flickr". index: the kind of one that `evenly index` made. One row per pair:
        rank, uid, score (a cosine), caption, verdict, step, reason and more; `attrs` of the table count what was
        searched and what could not be. Raises InputError.
        """
        import pandas as pd

        from evenly.encoding import search_query
        from evenly.flows.process.environment import no_widgets
        from evenly.flows.runs import build_run
        from evenly.tasks.search.pairs import Condition, Selection
        from evenly.tasks.search.search import search_build

        wanted = search_query(query, uids=uids, minus=minus)
        if isinstance(where, str):
            raise InputError(f"`where` must be a list of conditions; got the text {where!r}. Write [{where!r}].")
        selection = Selection(rows=rows, where=[Condition.read(text) for text in where])
        run = build_run(self.id, root=self.root, quiet=True)
        with no_widgets():
            result = search_build(run, self.manifest, wanted, selection=selection, top=top, index=index, within=within)
        facts = result.to_dict()
        table = pd.DataFrame(facts.pop("rows"))
        table.attrs.update(facts)
        return table

    def why(self, uid: str, *, replay: bool = False) -> "Explanation":
        """What every step decided about a pair, by uid, or about all pairs of a URL or file name.

        A notebook shows it as text with colours, as do `print` and rich; `to_dict` has all of it. replay: recompute
        what is pure, and compare. Raises UnknownSampleError for what the build never saw.
        """
        from evenly.audit.why import explain

        if not isinstance(uid, str):
            raise InputError(f"`uid` must be a text; got {uid!r:.80}. Hand in one uid, URL or file name.")
        return explain(self._workspace, self.manifest, uid, replay=replay)

    def what_if(self, changes: Sequence[str]) -> "WhatIf":
        """The build by other values of fields of its `curate`, as ["align.keep_top=0.5"]: docs/what-if.md."""
        from evenly.flows.recipe.what_if import what_if_of

        return what_if_of(self.published, changes)

    def diff(self, other: "Build | str", *, html: Root = None) -> "Difference":
        """Which pairs entered, left or changed from this build to `other`, by reason and cause; results of models.

        other: a build, or its name; `latest` is that of the same recipe. html: also write it as a page with pictures.
        """
        from evenly.audit.diff import diff_builds

        if isinstance(other, str):
            other = Build(self._workspace, open_two(self.id, other, root=self.root)[2])
        if other.root != self.root:
            raise InputError(
                f"`other` must be a build of `{self.root}`; got one of `{other.root}`. Rebuild here by `replay_from`."
            )
        difference = diff_builds(self._workspace, self.manifest, other.manifest, with_metrics=True)
        if html is not None:
            from evenly.audit.report.difference import write_difference

            write_difference(Path(html), difference, self.published, other.published)
        return difference

    def verify(self, *, every_image: bool = False, seed: int | None = None) -> "Verification":
        """Check hashes, draws, stored bytes and pictures: `every_image`, or a sample, drawn by `seed` or a new one."""
        from evenly.audit.verify import new_seed, verify_one

        drawn = new_seed() if seed is None else seed
        findings = verify_one(self._workspace, self.manifest, seed=drawn, every_image=every_image)
        return Verification(build=self.id, seed=drawn, findings=findings)

    def export(self, to: str = "webdataset", *, out: Root = None) -> dict[str, Any]:
        """Write the kept pairs for other tools; what was written. to: also parquet, coco, huggingface: docs/exports.md.

        out: a folder; default: `exports/` in the workspace.
        """
        from evenly.flows.cli.datasets.outcome import export_build

        return export_build(self.id, format_name=to, out=None if out is None else Path(out), root=self.root)

    def report(self) -> Path:
        """Write the report of the build, one HTML page that needs nothing else; its path."""
        from evenly.tasks.verify_and_report import report_of

        return report_of(self._workspace, self.manifest, anew=True)[0]

    def promote(self) -> None:
        """Make this build the latest of its recipe, also an older one again; a hold on the recipe ends."""
        Builds(self._workspace).promote_by_hand(self.id, recipe=self.recipe)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Build) and (self.root, self.id) == (other.root, other.id)

    def __hash__(self) -> int:
        return hash((self.root, self.id))

    def __repr__(self) -> str:
        return f"<build {self.id}: {self.kept:,} of {self.manifest['samples']['rows']:,} pairs kept>"

    def _repr_html_(self) -> str:
        pairs = f"  {self.kept:,} of {self.manifest['samples']['rows']:,} pairs kept"
        return as_html([[(visible(self.id), "bold"), (pairs, "")]]) + str(self.funnel.to_html(index=False, escape=True))

    @cached_property
    def published(self) -> "PublishedBuild":
        """The records of its steps, and its tables."""
        from evenly.audit.published import PublishedBuild

        return PublishedBuild(self._workspace, self.manifest)

    def _check_columns(self, columns: Sequence[str], names: Sequence[str]) -> None:
        if isinstance(columns, str):
            raise InputError(f"`columns` must be a list of names; got the text {columns!r}. Write [{columns!r}].")
        if unknown := [name for name in columns if name not in names]:
            alike = ", ".join(get_close_matches(str(unknown[0]), names, n=5, cutoff=0.4)) or "none"
            raise InputError(
                f"`columns` must be columns of the build; got {unknown[0]!r}. Near it: {alike}; `columns` lists all."
            )

    def _pictures(self, uids: Sequence[str]) -> "tuple[list[str], pa.Table | None]":
        """The image ids of pairs, and where their bytes lay when the build was published; None: it does not say."""
        from evenly.audit.why import unknown_sample
        from evenly.storage.samples import sql_in
        from evenly.storage.web.images import PLACES

        table = self.published.samples(["uid", *PLACES], sql_in("uid", uids))
        has_pictures = "image_id" in table.column_names
        values = table["image_id"].to_pylist() if has_pictures else [None] * table.num_rows
        image_ids = dict(zip(table["uid"].to_pylist(), values, strict=True))
        for uid in uids:
            if uid not in image_ids:
                raise unknown_sample(self.published, uid)
            if image_ids[uid] is None:
                raise InputError(f"`uids` must be of pairs with a picture; `{visible(uid)}` has none. `why` says more.")
        is_placed = set(PLACES).issubset(table.column_names)
        return [image_ids[uid] for uid in uids], table.select(PLACES) if is_placed else None


@dataclass(frozen=True, kw_only=True, repr=False)
class Verification:
    """The result of verifying a build: `findings`, each with check, where and what; none if all is well.

    seed: what drew the pictures whose bytes were hashed.
    """

    build: str
    seed: int
    findings: Sequence[Mapping[str, Any]]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return as_html([(line, "")] for line in self._lines())

    def _lines(self) -> list[str]:
        lines = [f"{visible(str(finding['where']))}: {visible(str(finding['what']))}" for finding in self.findings]
        state = "ok" if self.ok else f"{len(self.findings)} findings"
        return [*lines, f"{visible(self.build)}: {state}; pictures drawn with seed {self.seed}"]
