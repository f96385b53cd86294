import pyarrow as pa
import pytest

from evenly.curation.decisions import Decisions
from evenly.curation.errors import ColumnsError
from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS
from evenly.curation.filters.caption_blocklist import BlockedWords
from evenly.curation.filters.caption_entities import ENDINGS, FirstSenses

FILTERS = TEXT_FILTERS | IMAGE_FILTERS
GIVEN = {"caption_blocklist": {"file": "words.txt"}}
NO_WORDS = {part: {} for part in ENDINGS}
LOOKUPS = {
    "caption_blocklist": BlockedWords.of(["red"]),
    "caption_entities": FirstSenses(
        first=NO_WORDS | {"noun": {"apple": 1}}, exceptions=NO_WORDS, entities=frozenset({1})
    ),
}
ROWS = pa.table(
    {
        "caption": [None, "", "red apple", "a drawing of a red apple", "IMG_1.jpg", "\u8d64\u3044\u308a\u3093\u3054"]
        * 3,
        "width": pa.array([None, 10, 640, 64, 5000, 128] * 3, pa.int32()),
        "height": pa.array([10, None, 480, 640, 100, 128] * 3, pa.int32()),
    }
)


def opened(name):
    """A filter, a rule for it, and how it measures a batch by that rule."""
    each = FILTERS[name]
    rule = each.rule(**GIVEN.get(name, {}))
    read = (LOOKUPS[name],) if each.lookup else ()
    return each, rule, lambda batch: each.measure(batch, rule, *read)


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_keeps_every_row_in_order_and_any_split_gives_the_same(name):
    each, rule, measure = opened(name)
    values = measure(ROWS.select(each.columns))
    decisions = each.judge(values, rule)
    assert isinstance(decisions, Decisions)
    assert len(values) == len(decisions) == ROWS.num_rows
    parts = [measure(part) for part in (ROWS.slice(0, 5), ROWS.slice(5, 0), ROWS.slice(5))]
    assert pa.concat_arrays(parts).equals(values)


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_takes_no_rows(name):
    each, rule, measure = opened(name)
    assert len(each.judge(measure(ROWS.slice(0, 0)), rule)) == 0


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(
    "layout", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_each_filter_says_the_same_of_ten_times_the_rows_in_another_order_and_layout(name, layout):
    _, _, measure = opened(name)
    order = pa.array(list(range(ROWS.num_rows))[::-1] * 10)
    batch = pa.concat_tables([ROWS.take(order).slice(start, 12) for start in range(0, len(order), 12)])
    captions = pa.chunked_array([pa.array(part.to_pylist(), layout) for part in batch["caption"].chunks], layout)
    assert measure(batch.set_column(0, "caption", captions)).equals(measure(ROWS).take(order))


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_names_a_column_that_is_not_there_or_is_no_text_or_number(name):
    each, _, measure = opened(name)
    missing = each.columns[0]
    with pytest.raises(ColumnsError, match=f"`batch` must hold a column '{missing}'"):
        measure(ROWS.drop_columns([missing]))
    with pytest.raises(ColumnsError, match=rf"`{missing}` must be \w+; got list"):
        measure(ROWS.set_column(ROWS.column_names.index(missing), missing, pa.array([[1]] * ROWS.num_rows)))
