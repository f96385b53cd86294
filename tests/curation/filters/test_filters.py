import pyarrow as pa
import pytest

from curation.decisions import Decisions
from curation.filters import IMAGE_FILTERS, TEXT_FILTERS

FILTERS = TEXT_FILTERS | IMAGE_FILTERS
ROWS = pa.table(
    {
        "caption": [None, "", "red apple", "a drawing of a red apple", "IMG_1.jpg", "\u8d64\u3044\u308a\u3093\u3054"]
        * 3,
        "width": pa.array([None, 10, 640, 64, 5000, 128] * 3, pa.int32()),
        "height": pa.array([10, None, 480, 640, 100, 128] * 3, pa.int32()),
    }
)


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_keeps_every_row_in_order_and_any_split_gives_the_same(name):
    each = FILTERS[name]
    rule = each.rule()
    values = each.measure(ROWS.select(each.columns), rule)
    decisions = each.judge(values, rule)
    assert isinstance(decisions, Decisions)
    assert len(values) == len(decisions) == ROWS.num_rows
    parts = [each.measure(part, rule) for part in (ROWS.slice(0, 5), ROWS.slice(5, 0), ROWS.slice(5))]
    assert pa.concat_arrays(parts).equals(values)


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_takes_no_rows(name):
    each = FILTERS[name]
    assert len(each.judge(each.measure(ROWS.slice(0, 0), each.rule()), each.rule())) == 0
