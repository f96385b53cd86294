"""The hash of a table as a tree: the same however the table is cut, another for any other content."""

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.storage.tables import hashing as content
from evenly.storage.tables.hashing import nodes_of, root_of, table_hash
from evenly.storage.tables.partitions import Partition, cut_rows, partition_of, rows_of


def keys(n: int) -> list[str]:
    return sorted(hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest() for i in range(n))


def root(table: pa.Table, bits: int) -> str:
    parts = cut_rows(table, bits)
    nodes = [node for part, rows in zip(Partition.all(bits), parts, strict=True) for node in nodes_of(rows, part)]
    return root_of(nodes, bits, lambda numbers: pa.concat_tables([parts[number] for number in numbers]))


@pytest.fixture(params=[1 << 16, 40, 3])
def leaf(request, monkeypatch) -> int:
    monkeypatch.setattr(content, "LEAF", request.param)
    return request.param


@pytest.mark.usefixtures("leaf")
def test_any_number_of_partitions_gives_the_same_root():
    table = pa.table({"uid": keys(500), "value": range(500)})
    assert len({root(table, bits) for bits in (0, 1, 2, 3, 4, 5, 6, 9)}) == 1


def test_a_small_table_has_the_hash_of_its_rows():
    table = pa.table({"uid": keys(50), "value": range(50)})
    assert root(table, 0) == root(table, 6) == table_hash(table)


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.usefixtures("leaf")
def test_tables_of_few_rows_have_a_root(n):
    table = pa.table({"uid": pa.array(keys(n), pa.string()), "value": pa.array(range(n), pa.int64())})
    assert root(table, 0) == root(table, 3) == table_hash(table)


@given(
    rows=st.lists(st.tuples(st.integers(0, 40), st.text(max_size=2)), max_size=80),
    bits=st.integers(1, 7),
    leaf=st.integers(1, 50),
)
def test_rows_of_one_key_keep_their_order_in_any_cut(rows, bits, leaf):
    names = keys(41)
    table = pa.table(
        {
            "uid": pa.array([names[number] for number, _ in rows], pa.string()),
            "text": pa.array([text for _, text in rows], pa.string()),
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "LEAF", leaf)
        assert root(table, bits) == root(table, 0)
        if rows:
            other = table.set_column(1, "text", pa.array(["other", *table["text"].to_pylist()[1:]]))
            assert root(other, bits) != root(table, bits)


@given(rejects=st.lists(st.text(max_size=3), max_size=20), bits=st.integers(1, 6))
def test_rows_without_a_key_are_cut_by_their_texts_wherever_they_stood(rejects, bits):
    uids = [*keys(9), *[None] * len(rejects)]
    texts = [*["pair"] * 9, *rejects]
    table = pa.table({"uid": pa.array(uids, pa.string()), "caption": texts, "row": range(len(uids))})
    turned = table.take(list(reversed(range(len(uids))))).set_column(2, "row", pa.array(range(len(uids))))
    parts, turned_parts = cut_rows(table, bits), cut_rows(turned, bits)
    assert sum(part.num_rows for part in parts) == len(uids)
    for part, other in zip(parts, turned_parts, strict=True):
        assert sorted(map(str, part["caption"].to_pylist())) == sorted(map(str, other["caption"].to_pylist()))
    assert root(table.drop(["row"]), bits) == root(table.drop(["row"]), 0)


def test_a_partition_holds_the_rows_whose_keys_begin_with_its_bits():
    table = pa.table({"uid": keys(300)})
    for part, rows in zip(Partition.all(3), cut_rows(table, 3), strict=True):
        assert rows.num_rows
        assert {partition_of(uid, 3) for uid in rows["uid"].to_pylist()} == {part.number}
        assert rows_of(table, part).equals(rows)
    assert list(Partition(bits=3, number=5).numbers_at(1)) == [1]
    assert list(Partition(bits=1, number=1).numbers_at(3)) == [4, 5, 6, 7]
