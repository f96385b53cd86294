"""A build as the ledger holds it: what is there, what was switched off, and what is missing."""

import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.audit.errors import IncompleteBuildError
from evenly.audit.published import PublishedBuild, each_image
from evenly.storage.errors import NotFoundError
from evenly.storage.samples import sql_equals, sql_in
from tests.audit.outcomes import outcomes


def test_a_step_that_the_ledger_lacks_is_named_with_what_to_do(build, workspace):
    manifest = build()
    lost = manifest["steps"][4]
    (workspace.steps / f"{lost['key']}.json").unlink()
    with pytest.raises(IncompleteBuildError, match=rf"step `{lost['name']}` of .* `evenly verify {manifest['build']}`"):
        _ = PublishedBuild(workspace, manifest).records


def test_steps_that_judged_rows_are_told_from_those_that_counted(published):
    build = PublishedBuild(*published)
    assert {record.name for record in build.records} - {record.name for record in build.deciding} == {"count_concepts"}
    assert build.step("count_concepts").counts == {}
    assert build.step("never_run") is None


def test_a_table_or_step_that_is_no_part_of_the_build_is_none(shared_build, shared):
    build = PublishedBuild(shared, shared_build(off=("recaption",)))
    assert build.table("recaption", "candidates") is None
    assert build.table("align", "candidates") is None
    assert build.table("match_concepts", "matches", ["uid"]).column_names == ["uid"]


def test_rows_of_a_table_are_chosen_by_a_condition(published):
    build = PublishedBuild(*published)
    all_rows = build.table("recaption", "candidates")
    uid = all_rows["uid"][0].as_py()
    mine = build.table("recaption", "candidates", where=pc.field("uid") == uid)
    assert mine.to_pylist() == [row for row in all_rows.to_pylist() if row["uid"] == uid]


def test_columns_that_the_build_lacks_are_left_out_of_its_samples(published):
    build = PublishedBuild(*published)
    assert build.samples(["uid", "no_such_column", "caption"]).column_names == ["uid", "caption"]
    uids = build.samples(["uid"])["uid"].to_pylist()
    assert uids == sorted(uids)


def test_vectors_bytes_and_verdicts_are_not_for_people(published):
    build = PublishedBuild(*published)
    images = build.step("check_images")
    names = build.plain_columns(images)
    assert "image_size_value" in names
    assert "colour" in build.schema(images, "decisions").names
    assert "colour" not in names
    assert not {"uid", "verdict", "reason", "value", "into"} & set(names)
    assert "uid" in build.plain_columns(build.step("recaption"), "candidates")


def test_each_pair_has_one_fate_the_first_step_that_did_not_keep_it(published):
    build = PublishedBuild(*published)
    wide = {row["uid"]: row for row in build.samples().to_pylist()}
    fates = outcomes(build)
    assert [row["uid"] for row in fates] == sorted(wide)
    for row in fates:
        ended = next(
            (
                (record.name, wide[row["uid"]][f"{record.name}_reason"])
                for record in build.deciding
                if wide[row["uid"]][f"{record.name}_verdict"] not in (None, "kept")
            ),
            ("", ""),
        )
        assert (row["step"], row["reason"]) == ended
    assert sum(not row["step"] for row in fates) == build.deciding[-1].counts["kept"]


def test_concepts_come_by_number(published):
    assert PublishedBuild(*published).concepts == ["fox", "cat", "tree", "car", "flag"]


TEXTS = st.text(max_size=12)


@given(wanted=TEXTS, other=TEXTS)
def test_no_text_leaves_its_quotes(wanted, other):
    filtered = sql_equals("uid", wanted)
    inner = filtered.removeprefix("uid = '").removesuffix("'")
    assert inner.replace("''", "").count("'") == 0
    assert inner.replace("''", "'") == wanted
    both = sql_in("uid", [wanted, other])
    assert both == f"uid IN ({sql_equals('', wanted)[3:]}, {sql_equals('', other)[3:]})"


def test_a_list_of_nothing_is_false_and_not_everything():
    assert sql_in("uid", []) == "false"


def test_a_quote_in_a_url_finds_its_pair_alone(build, workspace, little):
    quoted = "http://p.test/fox'0.png"
    pool = tuple(
        type(row)(quoted, row.caption, row.picture) if row.url.endswith("fox0.png") else row for row in little.pool
    )
    published = PublishedBuild(workspace, build(pool=pool))
    assert set(published.samples(["url"], sql_equals("url", quoted))["url"].to_pylist()) == {quoted}
    assert published.samples(["url"], sql_in("url", [quoted, "x' OR 'a' = 'a"])).num_rows == 2


IDS = [f"id {number:03}" for number in range(600)]


def test_pictures_come_in_order_in_batches():
    asked: list[int] = []

    def read(ids):
        asked.append(len(ids))
        return [one.encode() for one in ids]

    assert list(each_image(read, IDS)) == [(one, one.encode()) for one in IDS]
    assert asked == [256, 256, 88]
    assert list(each_image(read, [])) == []


@pytest.mark.parametrize("error", [NotFoundError, OSError, KeyError, ValueError])
def test_one_that_fails_is_said_and_the_rest_of_its_batch_read_one_by_one(error):
    def read(ids):
        if "id 003" in ids:
            raise error("gone")
        return [one.encode() for one in ids]

    found = dict(each_image(read, IDS))
    assert found.pop("id 003").startswith(f"{error.__name__}: ")
    assert found == {one: one.encode() for one in IDS if one != "id 003"}


def test_a_reader_that_stops_half_way_or_says_nothing_is_not_believed():
    def lazy(_ids):
        yield b"first"
        raise OSError("cable pulled")

    assert dict(each_image(lazy, IDS[:2])) == {"id 000": b"first", "id 001": b"first"}
    assert dict(each_image(lambda ids: [ids[0].encode()], IDS[:2])) == {one: one.encode() for one in IDS[:2]}
    assert dict(each_image(lambda _: [], IDS[:2])) == dict.fromkeys(IDS[:2], "nothing came back")


@given(lost=st.sets(st.integers(0, 40)), n=st.integers(0, 40))
def test_every_id_comes_back_once_whatever_is_lost(lost, n):
    ids = IDS[:n]

    def read(some):
        for one in some:
            if int(one[3:]) in lost:
                raise LookupError(one)
            yield one.encode()

    found = list(each_image(read, ids))
    assert [one for one, _ in found] == ids
    assert {one for one, data in found if isinstance(data, str)} == {one for one in ids if int(one[3:]) in lost}
