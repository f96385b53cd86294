"""Find regions in the pictures of pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.regions import judgement
from evenly.curation.regions.judgement import RegionRule, judge_regions
from evenly.curation.step import gives, require_column
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.storage.records import content_hash, stored_fields
from evenly.tasks.captions.captioner import tries
from evenly.tasks.encoders import second_identity, step_encoder
from evenly.tasks.pictures.pairs import send_by_picture
from evenly.tasks.pictures.pointing import NO_REPLY, OUTSIDE_REGIONS, PictureRegionRule
from evenly.tasks.pictures.sent_rows import PicturePlaces, SentRows, rows_of_uids, send_places
from evenly.tasks.regions.learning import first_pictures, learned_search, pictures_of_train
from evenly.tasks.regions.search import RegionSearch
from evenly.tasks.regions.tables import region_rows, shown_pictures
from evenly.tasks.run import Each, Records, Run, with_model
from evenly.tasks.step import Exchanged, Step, note_counts

_stored = partial(stored_fields, excluded=OUTSIDE_REGIONS)


@dataclass(frozen=True, kw_only=True)
class PictureRegions(Exchanged):
    """The regions of each pair's picture as JSON [uid, regions], by uid; what the method learned, if it did."""

    texts: SentRows
    learned: Mapping[str, Any] = field(default_factory=dict)


def find_regions(run: Run, upstream: Records, rule: RegionRule, engine: Each) -> PictureRegions:
    """Look for regions in all pictures. Raises RuleError as `RegionSearch` does, and for a column that is not there."""
    if rule.boxes is not None:
        require_column(upstream, "regions.boxes", rule.boxes)
    search = replace(RegionSearch.of(run, rule), workers=engine.n_workers)
    learned: Mapping[str, Any] = {}
    if search.method is not None:
        search.vocabulary(run)  # encoded once, here
    if rule.learn is not None:
        of_train = partial(_of_train, upstream, rule.learn, rule.boxes)
        parts = engine.partitions("looking for pictures of train", of_train)
        search, learned = learned_search(run, search, first_pictures(pa.concat_tables(parts), rule.learn))
    with send_places(run, engine) as places:
        pairs, work = partial(_shown, upstream, search.statements), partial(_looked_for, search, places)
        texts = send_by_picture(run, engine, "finding regions", pairs, work)
        return PictureRegions(texts=texts, learned=learned)


def give_regions(run: Run, upstream: Records, rule: RegionRule, regions: PictureRegions) -> StepOutput:
    """Keep all pairs. Table `regions`: those of each, by REGIONS. Columns of the regions of a pair that count.

    These are `region_count`, `region_score` (the best), `region_labels` (sorted, each once) and `region_area`, the
    share of the picture that they cover together, null where it cannot be looked at. With attributes
    `region_attributes`, such as "red cup", and of a method that counts `region_expected`, the number of things.
    """
    uids = run.ledger.alive(upstream, [])["uid"].combine_chunks()
    texts = rows_of_uids(regions.texts.of(run), uids)["regions"]
    table, area = region_rows(RegionSearch.of(run, rule).schema, uids.to_pylist(), texts.to_pylist())
    decisions, columns = judge_regions(uids, table, area)
    decided = decisions.to_table(uids)
    for name, values in columns.items():
        decided = decided.append_column(name, values)
    counts = table.group_by("reason").aggregate([([], "count_all")]).select(["reason", "count_all"])
    return StepOutput(decisions=decided, tables={"regions": table}, partial=counts)


def count_reasons(
    run: Run, upstream: Records, rule: RegionRule, facts: PictureRegions, partials: Sequence[pa.Table]
) -> StepOutput:
    """Notes: the number of regions by the reason for which they do not count, "" for those that do; what was learned.

    unanswered: how many pictures of pairs may get a reply another time, where there are any.
    """
    notes = dict(note_counts("regions", run, upstream, rule, facts, partials).notes)
    unanswered = sum(number for reason, number in notes["regions"].items() if reason.startswith(NO_REPLY))
    notes |= {"unanswered": unanswered} if unanswered else {}
    return StepOutput(notes=notes | ({"learned": dict(facts.learned)} if facts.learned else {}))


def say_learned(run: Run, record: StepRecord, rule: RegionRule) -> None:
    """Say what the method learned; plainly where that is nothing."""
    if learned := record.notes.get("learned"):
        values = ", ".join(f"{name} {value}" for name, value in learned["values"].items())
        labelled = f" with {learned['regions']:,} labelled regions" if learned["regions"] else ""
        outcome = values or "nothing: what was tried is not better than the method without it"
        run.progress.say(f"{'learned':<24} {rule.method}, of {learned['pictures']:,} pictures{labelled}: {outcome}")


def _shown(upstream: Records, statements: str | None, run: Run) -> pa.Table:
    return shown_pictures(
        run.ledger.alive(upstream, ["image_id", "url", *([statements] if statements else [])]), statements
    )


def _of_train(upstream: Records, most: int, statements: str | None, run: Run) -> pa.Table:
    """The pairs of a partition that the method may be fitted to."""
    shown = _shown(upstream, statements, run)
    groups = run.ledger.alive(upstream, ["group"])["group"] if gives(upstream, "group") else pa.nulls(len(shown))
    names = pc.coalesce(groups.cast(pa.string()), shown["uid"])
    is_labelled = statements is not None
    return pictures_of_train(shown, names.to_pylist(), most, seed=run.seed, is_labelled=is_labelled)


@with_model
def _looked_for(search: RegionSearch, places: PicturePlaces, run: Run, pairs: pa.Table) -> pa.Table:
    texts = search.texts(run, pairs.select(["image_id", "is_bare", "statements"]), places)
    return pa.table({"uid": pairs["uid"], "regions": pa.array(texts, pa.string())})


def _inputs(run: Run, _upstream: Records, rule: RegionRule) -> dict[str, str]:
    """The hash of the things; identities of detector or endpoint, and of the second backbone where that is read."""
    search = RegionSearch.of(run, rule)
    inputs = {"texts": content_hash(search.things)} if search.things else {}
    inputs |= search.source(run)
    inputs |= tries(run, judgement.FIND_REGIONS.name, _stored(rule)) if "endpoint" in inputs else {}
    is_read = search.method is not None and "second" in search.method.needs
    return inputs | ({"second": second_identity(run)} if is_read else {})


def _model(run: Run, rule: RegionRule) -> str | None:
    return None if rule.method is None else step_encoder(run, rule)


def _check_ready(run: Run, rule: RegionRule) -> None:
    RegionSearch.of(run, rule)


FIND_REGIONS = Step[RegionRule](
    name=judgement.FIND_REGIONS.name,
    version=2,
    rule=PictureRegionRule,
    resolve=find_regions,
    judge=give_regions,
    finish=count_reasons,
    review=say_learned,
    stored=_stored,
    inputs=_inputs,
    model=_model,
    ready=_check_ready,
    seeded=True,
)
