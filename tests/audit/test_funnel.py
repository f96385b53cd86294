"""Per source: what arrived and what each step kept, counted from the ledger."""

from evenly.audit.funnel import kept_by_source


def funnel(**arrived):
    first = [{"step": "collect", "source": name, "rows_in": n, "kept": n - 1} for name, n in sorted(arrived.items())]
    return [*first, *({"step": "align", "source": name, "rows_in": n, "kept": 1} for name, n in arrived.items())]


def test_each_source_has_a_column_and_each_step_a_row():
    assert kept_by_source(funnel(web=5, books=9)) == [
        {"step": "arrived", "books": 9, "web": 5},
        {"step": "collect", "books": 8, "web": 4},
        {"step": "align", "books": 1, "web": 1},
    ]


def test_small_sources_share_a_column_and_nothing_is_lost():
    rows = kept_by_source(funnel(**{f"s{number:02}": number + 1 for number in range(20)}), shown=3)
    assert list(rows[0]) == ["step", "s19", "s18", "s17", "17 others"]
    assert [sum(value for name, value in row.items() if name != "step") for row in rows] == [210, 190, 20]


def test_a_source_that_is_called_step_is_still_a_source():
    assert kept_by_source(funnel(step=5, web=2))[0] == {"step": "arrived", "source `step`": 5, "web": 2}


def test_one_source_needs_no_table():
    assert kept_by_source(funnel(web=5)) == []
    assert kept_by_source([]) == []
