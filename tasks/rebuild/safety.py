"""Drop unsafe pictures: those that a detector finds, and those that a list of files, hashes or domains names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column
from evenly.curation.decisions import Decisions, first_of
from evenly.curation.exclusions import judgement
from evenly.curation.exclusions.safety import (
    BlockedDomains,
    SafetyRule,
    Unsafe,
    judge_files,
    judge_hashes,
    judge_hosts,
    judge_unsafe,
    measure_unsafe,
)
from evenly.curation.filters import CHECK_IMAGES
from evenly.features.safety_detector import SafetyDetector
from evenly.storage.feature_store import RowStore
from evenly.storage.files.blocklists import Blocklist, read_domains, read_file_hashes, read_look_hashes
from evenly.storage.ledger import StepOutput
from evenly.storage.pools.local_rows import FEATURES
from evenly.storage.web.hosts import hosts_of
from evenly.storage.web.images import read_images
from evenly.tasks.pictures.pairs import send_by_picture, send_merged
from evenly.tasks.pictures.sent_rows import PicturePlaces, SentRows, alive, rows_of_uids, send_places
from evenly.tasks.rebuild.deduplicate import merged_pairs
from evenly.tasks.run import Each, Records, Run
from evenly.tasks.step import Exchanged, Step, note_counts

LOOKS = ["uid", "image_id", "phash"]
CHUNK = 2048  # pictures whose scores are stored at once
Judge = Callable[[pa.Table, Blocklist], Decisions]


def block_domains(run: Run, upstream: Records, rule: BlockedDomains) -> StepOutput:
    """Drop pairs whose URL is on a blocked domain, before anything is asked of it."""
    pairs = run.ledger.alive(upstream, ["url"])
    lists = [_read(run, read_domains, file) for file in rule.domains]
    decided = [_judge_urls("url", pairs, blocklist) for blocklist in lists]
    return StepOutput(decisions=first_of(*decided).to_table(pairs["uid"]))


@dataclass(frozen=True, kw_only=True)
class SafetyFacts(Exchanged):
    """Facts of pairs from elsewhere, by uid; None: the rule does not ask for it.

    merged: [uid, image_id, phash] of pairs that were merged into others, by the uids of these. detected: the detector's
    [uid, unsafe_score, unsafe_class].
    """

    merged: SentRows | None
    detected: SentRows | None


def detect_unsafe(run: Run, upstream: Records, rule: SafetyRule, engine: Each) -> SafetyFacts:
    """Look at the pictures of all pairs, and at which pairs were merged into others since the download."""
    merged = detected = None
    try:
        if rule.files or rule.looks:
            looks = partial(alive, upstream[: _until_looked_at(upstream) + 1], LOOKS[1:])
            merged = send_merged(run, engine, partial(_merged, upstream), looks)
        if rule.detector is not None:
            detected = _send_detected(run, upstream, rule.detector, engine)
    except BaseException:
        SafetyFacts(merged=merged, detected=None).release()
        raise
    return SafetyFacts(merged=merged, detected=detected)


def check_safety(run: Run, upstream: Records, rule: SafetyRule, facts: SafetyFacts) -> StepOutput:
    """Drop pictures by lists of files, looks and domains, then by the detector.

    A pair also goes for the file or the looks of a pair that was merged into it, and for a domain that its URL was
    redirected to. Columns `unsafe_score` and `unsafe_class`: the detector's, where it is asked.
    """
    pairs = run.ledger.alive(upstream, ["image_id", "phash", "final_url"])
    uids = pairs["uid"].combine_chunks()
    decided = [Decisions.keep_all(pairs.num_rows), *_by_lists(run, rule, pairs, facts.merged)]
    columns: dict[str, pa.Array] = {}
    if facts.detected is not None and rule.detector is not None:
        rows = rows_of_uids(facts.detected.of(run), uids)
        columns = {name: rows[name].combine_chunks() for name in ("unsafe_score", "unsafe_class")}
        decided.append(judge_unsafe(columns["unsafe_score"], rule.detector))
    decisions = first_of(*decided)
    table = decisions.to_table(uids)
    for name, values in columns.items():
        table = table.append_column(name, values)
    return StepOutput(decisions=table, partial=_counts(decisions, columns))


def _by_lists(run: Run, rule: SafetyRule, pairs: pa.Table, merged: SentRows | None) -> list[Decisions]:
    """The verdict of each list on each pair and on the pairs merged into it."""
    members = pairs.select(LOOKS)
    if merged is not None:
        further = merged.of(run).select(LOOKS)
        of_pairs = pc.is_in(further["uid"], pairs["uid"].combine_chunks())
        members = pa.concat_tables([members, further.filter(of_pairs)])
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


def _until_looked_at(upstream: Records) -> int:
    return [record.name for record in upstream].index(CHECK_IMAGES.name)


def _merged(upstream: Records, run: Run) -> pa.Table:
    return merged_pairs(run.ledger, upstream[_until_looked_at(upstream) :])


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


def _send_detected(run: Run, upstream: Records, rule: Unsafe, engine: Each) -> SentRows:
    """[uid, unsafe_score, unsafe_class] of every pair, by uid; null where only features are there."""
    pairs = partial(_shown, upstream)
    with send_places(run, engine) as places:
        return send_by_picture(run, engine, "looking for unsafe pictures", pairs, partial(_detected, rule, places))


def _shown(upstream: Records, run: Run) -> pa.Table:
    """[uid, image_id, is_bare] of pairs; bare are those of which only features are there."""
    pairs = run.ledger.alive(upstream, ["image_id", "url"])
    return pairs.append_column("is_bare", pc.starts_with(pairs["url"], FEATURES)).drop(["url"])


def _detected(rule: Unsafe, places: PicturePlaces, run: Run, pairs: pa.Table) -> pa.Table:
    detector, ids = _detector(), pairs["image_id"].combine_chunks()
    bare = pairs["is_bare"].to_numpy()
    scores = np.full((len(ids), len(detector.classes)), np.nan, np.float32)
    if not bare.all():
        readable = ids.filter(pa.array(~bare))
        different = readable.unique()
        distinct_scores = _scores(run, detector, different, places)
        scores[~bare] = distinct_scores[pc.index_in(readable, different).to_numpy()]
    values, names = measure_unsafe(scores, detector.classes, rule)
    return pa.table({"uid": pairs["uid"], "unsafe_score": values, "unsafe_class": names})


def _scores(run: Run, detector: SafetyDetector, image_ids: pa.Array, places: PicturePlaces) -> npt.NDArray[np.number]:
    """The detector's scores (n, c) of pictures; it looks at those alone that it has not looked at before."""
    store = RowStore(run.workspace, detector.identity, "scores")
    missing = store.missing(image_ids)
    located = places.of(run, missing) if len(missing) else None
    with run.progress.bar("looking for unsafe pictures", len(missing)) as advance:
        for start in range(0, len(missing), CHUNK):
            batch = missing.slice(start, CHUNK)
            images = read_images(run.workspace.downloads, batch.to_pylist(), located)
            store.append(batch, detector.scores(images, progress=advance))
    return store.read(image_ids)


def _counts(decisions: Decisions, columns: dict[str, pa.Array]) -> pa.Table:
    """[class, count] of the pictures that go for the detector."""
    classes = columns.get("unsafe_class", pa.nulls(len(decisions.reason), pa.string()))
    counted = pc.value_counts(classes.filter(pc.equal(decisions.reason, "unsafe")))
    return pa.table({"class": counted.field("values").cast(pa.string()), "count": counted.field("counts")})


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


BLOCK_DOMAINS = Step(name=judgement.BLOCK_DOMAINS.name, rule=BlockedDomains, judge=block_domains, inputs=_hashes)
SAFETY = Step(
    name=judgement.SAFETY.name,
    rule=SafetyRule,
    resolve=detect_unsafe,
    judge=check_safety,
    finish=partial(note_counts, "unsafe_classes"),
    inputs=_hashes,
    model=_model,
    ready=_check_ready,
)
