import pyarrow as pa
import pytest

from evenly.curation.errors import RuleError
from evenly.curation.filters import IMAGE_FILTERS
from evenly.curation.filters.image_aspect import ImageAspect
from evenly.curation.filters.image_size import ImageSize


def judged(name, rule, sizes):
    widths, heights = zip(*sizes, strict=True)
    batch = pa.table({"width": pa.array(widths, pa.int32()), "height": pa.array(heights, pa.int32())})
    chosen = IMAGE_FILTERS[name]
    return chosen.judge(chosen.measure(batch, rule), rule)


def test_smaller_side_decides_the_size():
    decisions = judged("image_size", ImageSize(min_side=64), [(64, 640), (640, 63), (None, 640)])
    assert decisions.value.to_pylist() == [64, 63, None]
    assert decisions.reason.to_pylist() == ["", "too_small", "not_measured"]
    assert decisions.verdict.to_pylist() == ["kept", "dropped", "failed"]


def test_longer_over_shorter_decides_the_aspect():
    decisions = judged("image_aspect", ImageAspect(max_aspect=3), [(300, 100), (100, 301), (0, 9), (None, 9)])
    assert decisions.value.to_pylist() == [3.0, 3.01, None, None]
    assert decisions.reason.to_pylist() == ["", "aspect", "not_measured", "not_measured"]


@pytest.mark.parametrize(("rule", "values"), [(ImageSize, {"min_side": 0}), (ImageAspect, {"max_aspect": 0.5})])
def test_impossible_rule_is_refused(rule, values):
    with pytest.raises(RuleError, match="must be at least 1"):
        rule(**values)
