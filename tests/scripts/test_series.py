"""The files of the series: what is wrong in one is said in a line that names it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATCH
from procpool.base.errors import UserError
from procpool.catalog.series import Line, Series, line_of, load_lines, load_series, parse_revisions

MakeSeries = Callable[..., Series]


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ("", r"series v1\.0\.0 names no patches: .*series is empty"),
        ("# change-1/v1.0.0.patch\n", "names no patches"),
        ("v1.0.0.patch\n", "'v1.0.0.patch' is not IDEA/RELEASE.patch"),
        ("../change-1/v1.0.0.patch\n", "is not IDEA/RELEASE.patch"),
        ("change-1/../v1.0.0.patch\n", "is not IDEA/RELEASE.patch"),
        ("../v1.0.0.patch\n", "is not IDEA/RELEASE.patch"),
        ("change-1/v1.0.1.patch\n", r"names change-1/v1\.0\.1\.patch, which is not in"),
        ("change-1/v1.0.0.patch\n" * 2, r"names change-1/v1\.0\.0\.patch twice"),
    ],
)
def test_a_listing_that_is_wrong(make_series: MakeSeries, listing: str, message: str) -> None:
    series = make_series(PATCH)
    series.listing.write_text(listing)
    with pytest.raises(UserError, match=message):
        assert load_series("v1.0.0", series.folder).patches


def test_a_series_is_a_folder_with_a_listing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no series v1\.0\.7: .* has no file named"):
        load_series("v1.0.7", tmp_path)
    with pytest.raises(UserError, match="'first' is no name for a series"):
        load_series("first", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[series", "revisions.toml: "),
        ("[series]\na = 1\n", "a is not a list of revisions"),
        ("[series]\na = []\n", "a is not a list of revisions"),
        ("[series]\na = ['x']\n", "a holds what is not a sha256"),
    ],
)
def test_revisions_that_are_wrong(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_revisions(text, "revisions.toml")


def test_the_line_of_a_release(tmp_path: Path) -> None:
    lines = [Line("1.0.0", "all"), Line("1.10.0", "some")]
    assert [line_of(v, lines).first for v in ("1.0.0", "1.9.9", "1.10.0", "2.0.0b1")] == [
        "1.0.0",
        "1.0.0",
        "1.10.0",
        "1.10.0",
    ]
    for version, message in (("0.9.0", "no release line holds"), ("new", "not a release: 'new'")):
        with pytest.raises(UserError, match=message):
            line_of(version, lines)
    with pytest.raises(UserError, match=r"lines\.toml"):
        load_lines(tmp_path)
    (tmp_path / "lines.toml").write_text('[[lines]]\nfirst = "one"\nlacks = "all"\n')
    with pytest.raises(UserError, match=r"lines\.toml: Invalid version"):
        load_lines(tmp_path)
