"""Which series fits a release, and what is said of those that do not."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from conftest import PATCH, POOL
from procpool.catalog.series import Series
from procpool.patching.fit import find_series, newest_first, why_not

MakeSeries = Callable[..., Series]


def test_a_series_that_starts_after_the_release_is_tried_last(make_series: MakeSeries) -> None:
    one = make_series(PATCH)
    starts = ("1.0.0", "1.0.9", "1.1.0b1")
    series = [dataclasses.replace(one, name=f"v{s}") for s in starts]
    order = [found.name for found in newest_first(series, "1.0.10")]
    assert order == ["v1.0.9", "v1.0.0", "v1.1.0b1"]
    assert newest_first(series, "1.1.0")[0].name == "v1.1.0b1"
    assert [found.preview for found in series] == [False, False, True]


def test_a_new_release_says_which_hunk_stopped_it(tree: Path, make_series: MakeSeries) -> None:
    series = make_series(PATCH)
    assert find_series(tree, [series]) == (series, "series v1.0.0 applies")
    pool = tree / POOL
    pristine = pool.read_text()
    pool.write_text(pristine.replace("line 21", "line twenty-one"))
    found, reason = find_series(tree, [series])
    assert found is None
    assert "patch change-1/v1.0.0.patch does not apply" in reason and "hunk 2 of 2" in reason
    pool.write_text(
        pristine.replace("line 22", "line twenty-two").replace("line 2\n", "line two\n")
    )
    assert why_not(tree, series.patches) == "upstream now has the change of change-1/v1.0.0.patch"
