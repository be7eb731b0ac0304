"""The table of releases."""

import dataclasses
from collections.abc import Callable

import pytest
from conftest import PATCH
from procpool.base.errors import UserError
from procpool.catalog.index import releases_on_index
from procpool.catalog.releases import (
    ends,
    get_release,
    load_releases,
    named_version,
    newest_release,
)
from procpool.catalog.series import Series
from procpool.upkeep.update_releases import render
from samples import package, release

MakeSeries = Callable[..., Series]


def test_table_round_trip(make_series: MakeSeries) -> None:
    series = make_series(PATCH)
    names = ("1.0.10", "1.0.9", "1.0.2", "1.0.3.dev1", "0.9.0")
    packages = [package(v, kind) for v in names for kind in ("wheel", "sdist")]
    found = releases_on_index(packages)
    assert [release.version for release in found] == ["1.0.2", "1.0.9", "1.0.10"]
    rows = [
        dataclasses.replace(release, series=series.name, pool_sha256="0" * 64) for release in found
    ]
    (series.folder / "releases.toml").write_text(render(rows))
    assert list(load_releases(series.folder).values()) == rows
    assert get_release("1.0.2", series.folder) == (rows[0], series)


def test_a_preview_is_not_the_newest_release(make_series: MakeSeries) -> None:
    patches = make_series(PATCH).folder
    table = patches / "releases.toml"
    table.write_text(render([release("1.0.9"), release("1.1.0b1")]))
    assert newest_release(patches).version == "1.0.9"
    table.write_text(render([release("1.1.0b1")]))
    with pytest.raises(UserError, match="no final release"):
        newest_release(patches)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("00000000", "0000000g"),
        ("releases]]", "releases]"),
        ("yanked", "junk"),
        ("Z", ""),
        ("1.0.1", "one"),
    ],
)
def test_a_damaged_table_is_refused(make_series: MakeSeries, old: str, new: str) -> None:
    table = make_series(PATCH).folder / "releases.toml"
    table.write_text(render([release()]).replace(old, new, 1))
    with pytest.raises(UserError, match=r"releases\.toml"):
        load_releases(table.parent)


def test_ends_of_each_run() -> None:
    versions = {"1.0.0": "a", "1.0.1": "a", "1.0.2": "a", "1.0.3": "b", "1.0.4": "a"}
    found = ends([release(v) for v in versions], lambda r: versions[r.version])
    assert found == {"1.0.0", "1.0.2", "1.0.3", "1.0.4"}


@pytest.mark.parametrize(
    "text",
    [
        "1.5.11",
        "v1.5.11",
        " 1.5.11.0 ",
        "1.5.11+procpool.1",
        "livekit-agents==1.5.11",
        "LiveKit_Agents[openai, silero] == 1.5.11.0 ; python_version > '3.9'",
        "livekit-agents===1.5.11+procpool.2",
        "livekit-agents@1.5.11",
        "livekit-agents 1.5.11",
        "==1.5.11",
        "livekit_agents-1.5.11-py3-none-any.whl",
        "livekit_agents-1.5.11+procpool.2-1sdist-py3-none-any.whl",
        "livekit_agents-1.5.11.tar.gz",
    ],
)
def test_what_names_a_release(text: str) -> None:
    assert str(named_version(text)) in ("1.5.11", "1.5.11.0")
    assert get_release(text)[0].version == "1.5.11"


@pytest.mark.parametrize(
    "text", ["newest", "livekit-agents~=1.5.11", "livekit-plugins-openai==1.5.11", "", "1.5.11 x"]
)
def test_what_names_no_release(text: str) -> None:
    assert named_version(text) is None
    with pytest.raises(UserError, match="is neither a release nor a file that is there: give one"):
        get_release(text)


def test_the_nearest_releases_are_named() -> None:
    for text, nearest in (
        ("1.5.99", "1.5.18 and 1.6.0"),
        ("0.12.0", "1.0.0"),
        ("9.9", "2.0.0b1"),
        ("1.5.11+other.1", "1.5.11 and 1.5.12"),
    ):
        with pytest.raises(
            UserError, match=rf"not supported; the nearest are {nearest}\. "
        ) as said:
            get_release(text)
        assert len(str(said.value)) < 200
