"""Each kind of damage is found by the check that is named for it, and none by a crash."""

import json
import shutil
from copy import deepcopy
from dataclasses import asdict

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from evenly.audit.checks.findings import Finding, guarded
from evenly.audit.checks.rows import check_conservation
from evenly.audit.checks.stored import check_image_bytes
from evenly.audit.published import PublishedBuild
from evenly.audit.verify import CHECKS, verify_build
from evenly.storage.errors import DamagedError
from evenly.storage.ledger import Ledger
from evenly.storage.records import read_record, replace_record
from evenly.storage.samples import Samples
from evenly.storage.tables.arrow_files import write_table
from evenly.storage.tables.hashing import nodes_of, part_digest, table_hash
from evenly.storage.tables.partitions import ALL
from tests.few_examples import few


@pytest.fixture
def manifest(published, workspace):
    """The plain little build, its files copied into the test's own workspace."""
    source, manifest = published
    names = [f"steps/{step['key']}.json" for step in manifest["steps"]]
    for step in manifest["steps"]:
        names += [f"ledger/{step['name']}/{name}-{digest[:32]}.arrow" for name, digest in step["hashes"].items()]
    for name in names:
        (workspace.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source.root / name, workspace.root / name)
    shutil.copytree(source.samples / "little.lance", workspace.samples / "little.lance")
    return manifest


def key_of(manifest, step: str) -> str:
    return next(item["key"] for item in manifest["steps"] if item["name"] == step)


def change_table(workspace, manifest, step: str, name: str, change) -> None:
    """Store a changed table in the place of a step's, as somebody would who can write there but not make hashes."""
    ledger = Ledger(workspace)
    record = ledger.find(key_of(manifest, step))
    path = workspace.ledger / step / f"{name}-{record.hashes[name][:32]}.arrow"
    write_table(path, change(ledger.table(record, name)))


def forge(workspace, manifest, step: str, **fields) -> dict:
    """Edit the record of a step and its entry in the manifest, as somebody would do who wants to be believed."""
    path = workspace.steps / f"{key_of(manifest, step)}.json"
    replace_record(path, read_record(path) | fields)
    forged = deepcopy(manifest)
    entry = next(item for item in forged["steps"] if item["name"] == step)
    entry |= {name: value for name, value in fields.items() if name in entry}
    return forged


def with_values(table: pa.Table, column: str, change) -> pa.Table:
    values = change(table[column].to_pylist())
    return table.set_column(table.column_names.index(column), column, pa.array(values, table.schema.field(column).type))


def found(workspace, manifest, check: str) -> list[tuple[str, str]]:
    findings = verify_build(workspace, manifest)
    assert {finding.check for finding in findings} <= CHECKS.keys()
    return [(finding.where, finding.what) for finding in findings if finding.check == check]


# Conservation: rows that a step doubled, invented, lost, or merged into nobody.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: pa.concat_tables([table, table.slice(0, 1)]), "1 uids are doubled or out of order"),
        (lambda table: table.take(list(range(len(table)))[::-1]), "uids are doubled or out of order"),
        (lambda table: with_values(table, "uid", lambda uids: ["0" * 32, *uids[1:]]), "1 lost, 1 invented"),
        (lambda table: table.slice(2), "2 lost, 0 invented"),
        (lambda table: table.slice(0, 0), "judged 0 rows where the steps before kept"),
    ],
    ids=["doubled", "reversed", "exchanged", "two lost", "all lost"],
)
def test_rows_of_a_step_that_are_not_those_before_it(workspace, manifest, change, words):
    change_table(workspace, manifest, "align", "decisions", change)
    assert any(words in what for where, what in found(workspace, manifest, "conservation") if where == "align")


@pytest.mark.parametrize(
    ("verdict", "into", "words"),
    [
        ("merged", None, "1 rows are merged without a twin, or not merged with one"),
        ("merged", "f" * 32, "1 rows are merged into pairs that the step did not keep"),
        ("dropped", "f" * 32, "1 rows are merged without a twin, or not merged with one"),
    ],
)
def test_a_twin_that_is_not_there_and_one_that_should_not_be(workspace, manifest, verdict, into, words):

    def change(table: pa.Table) -> pa.Table:
        table = with_values(table, "verdict", lambda values: [verdict, *values[1:]])
        table = with_values(table, "reason", lambda values: ["some_reason", *values[1:]])
        return with_values(table, "into", lambda values: [into, *values[1:]])

    change_table(workspace, manifest, "check_images", "decisions", change)
    assert words in [what for where, what in found(workspace, manifest, "conservation") if where == "check_images"]


def test_an_arrival_that_was_kept_and_is_no_pair(workspace, manifest):

    def keep_all(table: pa.Table) -> pa.Table:
        table = with_values(table, "uid", lambda uids: [uid or "0" * 32 for uid in uids])
        return with_values(table, "verdict", lambda values: ["kept"] * len(values))

    change_table(workspace, manifest, "collect", "arrivals", keep_all)
    pairs, arrivals = len(PublishedBuild(workspace, manifest).samples(["uid"])), len(pool_of(workspace, manifest))
    whats = [what for where, what in found(workspace, manifest, "conservation") if where == "collect"]
    assert f"{pairs} pairs, but {arrivals} arrivals were kept, or others" in whats


def pool_of(workspace, manifest):
    build = PublishedBuild(workspace, manifest)
    return build.ledger.table(build.records[0], "arrivals")


@pytest.mark.parametrize("field", ["rows_in", "counts", "reasons"])
def test_a_number_that_record_and_manifest_both_forge_is_counted_again(workspace, manifest, field):
    entry = next(item for item in manifest["steps"] if item["name"] == "check_texts")
    changed = {"rows_in": entry["rows_in"] + 1, "counts": entry["counts"] | {"kept": 3}, "reasons": {"none": 1}}[field]
    forged = forge(workspace, manifest, "check_texts", **{field: changed})
    wheres = {where for where, _ in found(workspace, forged, "conservation")}
    wanted = {"rows_in": {"check_texts.rows_in", "check_texts.sum of counts"}, "reasons": {"check_texts.reasons"}}
    assert wanted.get(field, {"check_texts.counts", "check_texts.sum of counts"}) <= wheres


def test_an_honest_build_of_any_kind_conserves(shared_build, shared):
    for change in (
        {},
        {"limit": 3},
        {"limit": 1},
        {"min_words": 50},
        {"off": ("align", "balance")},
        {"keep_top": 0.01},
    ):
        build = PublishedBuild(shared, shared_build(**change))
        assert list(check_conservation(build)) == [], change


# Records, keys and chain.


def test_a_record_that_is_no_json_ends_the_audit_with_its_name(workspace, manifest):
    (workspace.steps / f"{key_of(manifest, 'align')}.json").write_bytes(b'{"key": ')
    (finding,) = verify_build(workspace, manifest)
    assert (finding.check, finding.where, finding.unreadable) == ("record", "align", True)
    assert "not readable" in finding.what


def test_a_record_that_lacks_a_field_is_a_finding(workspace, manifest):
    path = workspace.steps / f"{key_of(manifest, 'align')}.json"
    replace_record(path, {name: value for name, value in read_record(path).items() if name != "hashes"})
    (finding,) = verify_build(workspace, manifest)
    assert (finding.check, finding.where) == ("record", "align")


@pytest.mark.parametrize(
    ("field", "value"), [("version", 9), ("model", "another"), ("seed", 99), ("rule", {"t": 99.0})]
)
def test_a_forged_field_of_a_record_breaks_its_key(workspace, manifest, field, value):
    forged = forge(workspace, manifest, "balance", **{field: value})
    assert [where for where, _ in found(workspace, forged, "key")] == ["balance"]


def test_a_step_that_forgot_an_input_breaks_the_chain_once(workspace, manifest):
    inputs = {name: value for name, value in manifest["steps"][5]["inputs"].items() if name != "check_texts"}
    forged = forge(workspace, manifest, manifest["steps"][5]["name"], inputs=inputs)
    ((where, what),) = found(workspace, forged, "chain")
    assert where == f"{manifest['steps'][5]['name']} <- check_texts"
    assert what.startswith("input says None; found ")


def test_steps_in_another_order_break_the_chain(published):
    workspace, manifest = published
    forged = deepcopy(manifest)
    forged["steps"][1:3] = forged["steps"][2:0:-1]
    assert "chain" in {finding.check for finding in verify_build(workspace, forged)}


def test_a_step_that_stands_twice_breaks_the_chain(published):
    workspace, manifest = published
    doubled = deepcopy(manifest)
    doubled["steps"].append(doubled["steps"][-1])
    assert "chain" in {finding.check for finding in verify_build(workspace, doubled)}


# Tables.


def test_a_table_of_another_step_in_its_place_has_another_hash(workspace, manifest):
    other = Ledger(workspace).decisions(Ledger(workspace).find(key_of(manifest, "check_images")))
    change_table(workspace, manifest, "align", "decisions", lambda _: other)
    ((where, what),) = [one for one in found(workspace, manifest, "table") if one[0] == "align/decisions"]
    assert where == "align/decisions"
    assert what == f"hash says {manifest_hash(manifest, 'align')}; found {table_hash(other)}"


def manifest_hash(manifest, step: str) -> str:
    return next(item for item in manifest["steps"] if item["name"] == step)["hashes"]["decisions"]


def test_a_table_that_is_gone_is_a_record_that_is_not_there(workspace, manifest):
    record = Ledger(workspace).find(key_of(manifest, "recaption"))
    (workspace.ledger / "recaption" / f"candidates-{record.hashes['candidates'][:32]}.arrow").unlink()
    (finding,) = verify_build(workspace, manifest)
    assert (finding.check, finding.where) == ("record", "recaption")


def test_forged_hashes_do_not_give_the_output_hash(workspace, manifest):
    entry = next(item for item in manifest["steps"] if item["name"] == "align")
    change_table(
        workspace, manifest, "align", "decisions", lambda table: with_values(table, "value", lambda v: [0.5] * len(v))
    )
    record = Ledger(workspace).find(entry["key"])
    nodes = nodes_of(Ledger(workspace).decisions(record), ALL)
    digest, (old,) = part_digest(nodes), record.layout["decisions"].parts.values()
    path = workspace.ledger / "align" / f"decisions-{old[:32]}.arrow"
    path.rename(path.with_name(f"decisions-{digest[:32]}.arrow"))
    layout = {"decisions": asdict(record.layout["decisions"]) | {"parts": {"0": digest}}}
    forged = forge(workspace, manifest, "align", hashes={"decisions": digest}, layout=layout)
    assert "align" in [where for where, _ in found(workspace, forged, "table")]


@pytest.mark.parametrize("step", ["preselect", "balance"])
def test_draws_that_are_another_steps_or_of_fewer_pairs(workspace, manifest, step):
    change_table(workspace, manifest, step, "draws", lambda table: table.slice(1))
    assert f"{step}/draws" in [where for where, _ in found(workspace, manifest, "verdicts")]


# Sample table and content.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.drop(["align_value"]), "only the ledger has it"),
        (lambda table: table.append_column("more", pa.array(["x"] * len(table))), "only the sample table has it"),
        (lambda table: table.slice(1), "holds other values than the steps gave"),
    ],
    ids=["column gone", "column more", "row gone"],
)
def test_a_sample_table_of_other_columns_or_rows(workspace, manifest, change, words):
    samples = Samples(workspace, "little")
    version = samples.write(change(samples.read(manifest["samples"]["version"])))
    forged = manifest | {"samples": manifest["samples"] | {"version": version}}
    assert words in {what for _, what in found(workspace, forged, "samples")}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 8),
        ("limit", 9),
        ("encoder", {"model": "x"}),
        ("split", {"path": "p", "sha256": "s"}),
        ("forget", ["x"]),
    ],
)
def test_whatever_the_content_hash_covers_cannot_be_edited(published, field, value):
    workspace, manifest = published
    wheres = [where for where, _ in found(workspace, manifest | {field: value}, "content")]
    assert wheres == ["manifest content_hash", "manifest build"]


@pytest.mark.parametrize("field", ["created", "code"])
def test_when_and_by_what_code_is_no_content(published, field):
    workspace, manifest = published
    assert verify_build(workspace, manifest | {field: {"another": 1}}) == []


def test_a_long_value_is_cut_in_a_finding(published):
    workspace, manifest = published
    forged = deepcopy(manifest)
    forged["steps"][2]["rule"] = {"metadata": "x" * 1000}
    ((where, what),) = found(workspace, forged, "record")
    assert where == "match_concepts.rule"
    assert len(what) < 300


# Pictures.


def test_a_sample_of_pictures_is_as_large_as_asked_and_all_are_all(published, read_all):
    build, asked = PublishedBuild(*published), list[str]()

    def read(ids):
        asked.extend(ids)
        return read_all(ids)

    every = set(build.samples(["image_id"], "balance_verdict = 'kept'")["image_id"].to_pylist())
    for images, wanted in ((0, 0), (2, 2), (10_000, len(every)), (None, len(every))):
        asked.clear()
        assert list(check_image_bytes(build, read, images, seed=5)) == []
        assert len(asked) == len(set(asked)) == wanted
        assert set(asked) <= every


def test_a_build_without_pictures_has_none_to_hash(shared_build, shared):
    texts_only = ("download", "check_images", "deduplicate_exact", "deduplicate_perceptual", "recaption", "align")
    manifest = shared_build(off=texts_only)
    assert verify_build(shared, manifest, read_bytes=None) == []
    assert list(check_image_bytes(PublishedBuild(shared, manifest), lambda ids: 1 / len(ids), None, seed=1)) == []


# What may go wrong while looking.


@pytest.mark.parametrize("error", [DamagedError, OSError, ValueError, RuntimeError, KeyError, IndexError, MemoryError])
def test_trouble_in_a_check_becomes_a_finding_after_those_before_it(error):
    def look():
        yield Finding.of("table", "a", "first")
        raise error("broken\nin two lines")

    first, last = guarded("table", "a/b", look)
    assert first.what == "first"
    assert (last.where, last.unreadable) == ("a/b", True)
    assert "\n" not in last.what


def test_a_panic_of_the_table_library_is_a_finding_and_an_interruption_is_not():
    class PanicException(BaseException):
        pass

    def panic():
        raise PanicException("index out of bounds")

    def interrupt():
        raise KeyboardInterrupt

    (finding,) = guarded("samples", "x", panic)
    assert finding.what == "not readable: index out of bounds"
    with pytest.raises(KeyboardInterrupt):
        guarded("samples", "x", interrupt)
    with pytest.raises(ZeroDivisionError):
        guarded("samples", "x", lambda: [1 / 0])


def test_words_of_a_finding_cannot_act_and_are_json():
    finding = Finding.of("table", "a\x1b[31m", "b\u202e\n")
    assert (finding.where, finding.what) == ("a\\x1b[31m", "b\\u202e\\n")
    assert json.loads(json.dumps(finding.to_dict())) == asdict(finding)


@few(6, most=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_one_changed_verdict_of_any_step_is_found(workspace, manifest, data):
    ledger = Ledger(workspace)
    step = data.draw(st.sampled_from([item["name"] for item in manifest["steps"] if "decisions" in item["hashes"]]))
    original = ledger.decisions(ledger.find(key_of(manifest, step)))
    row = data.draw(st.integers(0, original.num_rows - 1))
    was = original["verdict"][row].as_py()
    verdict = data.draw(st.sampled_from(sorted({"kept", "dropped", "failed", "merged"} - {was})))
    change_table(
        workspace, manifest, step, "decisions",
        lambda table: with_values(table, "verdict", lambda v: [*v[:row], verdict, *v[row + 1 :]]),
    )  # fmt: skip
    findings = verify_build(workspace, manifest)
    change_table(workspace, manifest, step, "decisions", lambda _: original)
    assert {"table", "conservation"} <= {finding.check for finding in findings}
