"""Drop unsafe pictures: those that a detector finds, and those that a list of files, hashes or domains names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.columns import column
from evenly.curation.decisions import Decisions, first_of
from evenly.curation.exclusions.blocking import judge_files, judge_hashes, judge_hosts
from evenly.curation.exclusions.safety import SafetyRule, Unsafe, judge_unsafe, measure_unsafe
from evenly.features.safety_detector import SafetyDetector
from evenly.storage.files.blocklists import Blocklist, hosts_of, read_domains, read_file_hashes, read_look_hashes
from evenly.storage.ledger import StepOutput
from evenly.storage.tables.row_store import RowStore
from evenly.storage.web import read_images, without_bytes
from evenly.tasks.moves import Moves
from evenly.tasks.rebuild.deduplicate import merged_pairs
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Step

CHUNK = 2048  # pictures whose scores are stored at once
Judge = Callable[[pa.Table, Blocklist], Decisions]


@dataclass(frozen=True, kw_only=True)
class BlockedDomains:
    """Lists of domains, a file or several, whose URLs are not asked for."""

    domains: tuple[str, ...]


def block_domains(run: Run, upstream: Records, rule: BlockedDomains, _facts: object) -> StepOutput:
    """Drop pairs whose URL is on a blocked domain, before anything is asked of it."""
    pairs = run.ledger.alive(upstream, ["url"])
    lists = [_read(run, read_domains, file) for file in rule.domains]
    decided = [_judge_urls("url", pairs, blocklist) for blocklist in lists]
    return StepOutput(decisions=first_of(*decided).to_table(pairs["uid"]))


def check_safety(run: Run, upstream: Records, rule: SafetyRule) -> StepOutput:
    """Drop pictures by lists of files, looks and domains, then by the detector.

    A pair also goes for the file or the looks of a pair that was merged into it, and for a domain that its URL was
    redirected to. Columns `unsafe_score` and `unsafe_class`: the detector's, where it is asked. Notes: how many
    pictures reach its threshold in each class.
    """
    pairs = run.ledger.alive(upstream, ["image_id", "phash", "final_url"])
    decided = [Decisions.keep_all(pairs.num_rows), *_by_lists(run, upstream, rule, pairs)]
    columns: dict[str, pa.Array] = {}
    if rule.detector is not None:
        ids = pairs["image_id"].combine_chunks()
        values, names = _detect(run, ids.unique(), rule.detector)
        index = pc.index_in(ids, ids.unique())
        columns = {"unsafe_score": values.take(index), "unsafe_class": names.take(index)}
        decided.append(judge_unsafe(columns["unsafe_score"], rule.detector))
    decisions = first_of(*decided)
    table = decisions.to_table(pairs["uid"])
    for name, values in columns.items():
        table = table.append_column(name, values)
    return StepOutput(decisions=table, notes={"unsafe_classes": _counts(decisions, columns)})


def _by_lists(run: Run, upstream: Records, rule: SafetyRule, pairs: pa.Table) -> list[Decisions]:
    """What each list says of each pair and of the pairs merged into it."""
    members = _members(run, upstream, pairs)
    looks = partial(_judge_hashes, rule.max_distance)
    kinds: Sequence[tuple[str, Callable[..., Blocklist], Judge, pa.Table]] = (
        ("files", read_file_hashes, _judge_files, members),
        ("looks", read_look_hashes, looks, members),
        ("domains", read_domains, partial(_judge_urls, "final_url"), pairs),
    )
    judgements = []
    for kind, read, judge, table in kinds:
        for file in getattr(rule, kind):
            decisions = judge(table, _read(run, read, file))
            judgements.append(_of_pairs(pairs, table, decisions))
    return judgements


def _members(run: Run, upstream: Records, pairs: pa.Table) -> pa.Table:
    """uid, image_id and phash of each pair, and with its uid those of all pairs merged into it since the download."""
    rows = [pairs.select(["uid", "image_id", "phash"])]
    looked = next(record for record in upstream if record.name == "check_images")
    merged = merged_pairs(run, upstream[list(upstream).index(looked) :])
    if merged.num_rows:
        earlier_pairs = run.ledger.alive(upstream[: list(upstream).index(looked) + 1], ["image_id", "phash"])
        places = pc.index_in(earlier_pairs["uid"].combine_chunks(), merged["uid"].combine_chunks())
        gone = earlier_pairs.filter(pc.is_valid(places))
        rows.append(gone.set_column(0, "uid", merged["survivor"].combine_chunks().take(places.drop_null())))
    members = pa.concat_tables(rows)
    return members.filter(pc.is_in(members["uid"], pairs["uid"].combine_chunks()))


def _of_pairs(pairs: pa.Table, table: pa.Table, decisions: Decisions) -> Decisions:
    """Decisions of the pairs: the pair's own, or the nearest of one merged into it."""
    rows = decisions.to_table(table["uid"]).sort_by([("reason", "descending"), ("value", "ascending")])
    index = pc.index_in(column(pairs, "uid", pa.string()), rows["uid"].combine_chunks())
    nearest = rows.take(index)
    return Decisions.of(reason=nearest["reason"], value=nearest["value"])


def _judge_files(table: pa.Table, blocklist: Blocklist) -> Decisions:
    return judge_files(column(table, "image_id", pa.string()), blocklist.entries, blocklist.sha256)


def _judge_hashes(max_distance: int, table: pa.Table, blocklist: Blocklist) -> Decisions:
    blocked = [int(entry, 16) for entry in blocklist.entries]
    return judge_hashes(column(table, "phash", pa.uint64()), blocked, max_distance, blocklist.sha256)


def _judge_urls(name: str, table: pa.Table, blocklist: Blocklist) -> Decisions:
    return judge_hosts(hosts_of(column(table, name, pa.string())), blocklist.entries, blocklist.sha256)


def _detect(run: Run, image_ids: pa.Array, rule: Unsafe) -> tuple[pa.Array, pa.Array]:
    """Scores and classes of pictures; null for those of which only features are there."""
    detector = _detector()
    bare = pc.is_in(image_ids, without_bytes(run.workspace.downloads)).to_numpy(zero_copy_only=False)
    scores = np.full((len(image_ids), len(detector.classes)), np.nan, np.float32)
    if not bare.all():
        scores[~bare] = _scores(run, detector, image_ids.filter(pa.array(~bare)))
    return measure_unsafe(scores, detector.classes, rule)


def _scores(run: Run, detector: SafetyDetector, image_ids: pa.Array) -> npt.NDArray[np.number]:
    """The detector's scores (n, c) of pictures; it looks at those alone that it has not looked at before."""
    store = RowStore(run.workspace, detector.identity, "scores")
    missing = store.missing(image_ids)
    with run.progress.bar("looking for unsafe pictures", len(missing)) as advance:
        for start in range(0, len(missing), CHUNK):
            batch = missing.slice(start, CHUNK)
            images = read_images(run.workspace.downloads, batch.to_pylist())
            store.append(batch, detector.scores(images, progress=advance))
    return store.read(image_ids)


def _counts(decisions: Decisions, columns: dict[str, pa.Array]) -> dict[str, int]:
    if not columns:
        return {}
    counted = pc.value_counts(columns["unsafe_class"].filter(pc.equal(decisions.reason, "unsafe"))).to_pylist()
    return {item["values"]: item["counts"] for item in sorted(counted, key=lambda item: str(item["values"]))}


@lru_cache(maxsize=1)
def _detector() -> SafetyDetector:
    return SafetyDetector()


def _model(_run: Run, rule: SafetyRule) -> str | None:
    return None if rule.detector is None else _detector().identity


def _read(run: Run, read: Callable[..., Blocklist], file: str) -> Blocklist:
    return read(Path(run.locate(file)))


def _hashes(run: Run, _upstream: Records, rule: SafetyRule | BlockedDomains) -> dict[str, str]:
    """The hash of each list that a rule names."""
    kinds = {"files": read_file_hashes, "looks": read_look_hashes, "domains": read_domains}
    return {
        f"{kind} {number}": _read(run, read, file).sha256
        for kind, read in kinds.items()
        for number, file in enumerate(getattr(rule, kind, ()), start=1)
    }


def _check_ready(run: Run, rule: SafetyRule) -> None:
    _model(run, rule)
    _hashes(run, (), rule)


BLOCK_DOMAINS = Step(name="block_domains", rule=BlockedDomains, moves=Moves(judge=block_domains), inputs=_hashes)
SAFETY = Step(name="safety", rule=SafetyRule, compute=check_safety, inputs=_hashes, model=_model, ready=_check_ready)
