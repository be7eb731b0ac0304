"""What becomes of the releases on the index: the table, and the series that are tried."""

import dataclasses
import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATCH, POOL, POOL_TEXT
from procpool.base.errors import UserError
from procpool.catalog.releases import Release, load_releases
from procpool.catalog.series import Series
from procpool.upkeep import try_release, update_releases
from procpool.upkeep.update_releases import (
    Decision,
    current,
    decide,
    dependencies_as_of,
    main,
    render,
)
from pypi_simple import DistributionPackage
from samples import package, release

MakeSeries = Callable[..., Series]
PROC_POOL = "livekit/agents/ipc/proc_pool.py"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder where each release's wheel is found, with its version as its pool."""

    def fetch(release: Release) -> Path:
        path = tmp_path / "wheels" / release.wheel
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(PROC_POOL, release.version)
            archive.writestr(POOL, POOL_TEXT)
        return path

    monkeypatch.setattr(update_releases, "fetch", fetch)
    monkeypatch.setattr(try_release, "fetch", fetch)
    # what each wheel requires; those that are not here, nothing
    monkeypatch.setattr(
        update_releases,
        "wheel_requirements",
        lambda path: ["aiohttp"] if "1.0.3" in path.name else [],
    )
    return tmp_path / "wheels"


def test_a_known_release_keeps_its_series() -> None:
    def refuse(release: Release) -> tuple[Series | None, str]:
        raise AssertionError("a known release is not tried")

    known = dataclasses.replace(release(), series="v1.0.0", pool_sha256="7" * 64)
    on_index = dataclasses.replace(release(), yanked=True, series="", pool_sha256="")
    decision = decide(on_index, known, ["v1.0.0"], refuse)
    assert decision == Decision(dataclasses.replace(known, yanked=True), [])


@pytest.mark.parametrize("changed", ["wheel", "series", "none"])
def test_any_other_release_is_tried(changed: str, wheels: Path, make_series: MakeSeries) -> None:
    series = make_series(PATCH)
    known = {
        "wheel": release(digest="1" * 64),
        "series": dataclasses.replace(release(), series="v0.9.0"),
        "none": None,
    }[changed]
    tried: list[str] = []

    def try_(release: Release) -> tuple[Series | None, str]:
        tried.append(release.version)
        return series, "series v1.0.0 applies"

    decision = decide(release(), known, ["v1.0.0"], try_)
    assert tried == ["1.0.1"]
    assert decision.said == [
        "1.0.1: a release that has no series: series v1.0.0 applies",
        "1.0.1: added, with series v1.0.0",
    ]
    digest = hashlib.sha256(b"1.0.1").hexdigest()
    assert decision.row == dataclasses.replace(release(), series="v1.0.0", pool_sha256=digest)
    assert not decision.uncovered(release())


def test_a_release_that_no_series_fits_is_uncovered_unless_it_is_a_preview() -> None:
    for version, kind, uncovered in (
        ("1.0.1", "release", True),
        ("1.1.0b1", "preview", False),
    ):
        decision = decide(release(version), None, ["v1.0.0"], lambda _: (None, "no"))
        assert decision == Decision(None, [f"{version}: a {kind} that has no series: no"])
        assert decision.uncovered(release(version)) is uncovered


def test_previews_that_a_final_release_came_after_are_left_out() -> None:
    versions = ["1.0.0b1", "1.0.0", "1.1.0b1"]
    assert [r.version for r in current([release(v) for v in versions])] == ["1.0.0", "1.1.0b1"]
    assert current([release("1.1.0b1")]) == [release("1.1.0b1")]


def test_one_date_for_releases_in_a_row_with_the_same_requirements(wheels: Path) -> None:
    first = dataclasses.replace(release("1.0.1"), dependencies_as_of="first")
    second = dataclasses.replace(release("1.0.2"), dependencies_as_of="second")
    third = dataclasses.replace(release("1.0.3"), dependencies_as_of="third")
    assert dependencies_as_of(second, None) == "second"
    assert dependencies_as_of(second, first) == "first"
    assert dependencies_as_of(third, second) == "third"
    other = dataclasses.replace(second, requires_python=">=3.9")
    assert dependencies_as_of(other, first) == "second"


@pytest.fixture
def index(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> list[DistributionPackage]:
    """Return what the index lists: 1.0.1 and 1.0.2."""
    listed = [package(v, kind) for v in ("1.0.1", "1.0.2") for kind in ("wheel", "sdist")]
    for module in (update_releases, try_release):
        monkeypatch.setattr(module, "read_index", lambda project, url: listed)
        monkeypatch.setattr(module, "index_url", lambda: "https://index.invalid/simple")
    return listed


@pytest.fixture
def patches(make_series: MakeSeries) -> Path:
    """Return a folder with one series, and no table yet."""
    return make_series(PATCH).folder


def run(patches: Path, *arguments: str) -> int:
    return main([*arguments, "--patches", str(patches)])


@pytest.mark.usefixtures("index")
def test_the_table_is_written_and_then_left_alone(
    patches: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(update_releases, "try_release", lambda release, series: (series[0], "fits"))
    table = patches / "releases.toml"
    with pytest.raises(UserError, match=r"releases\.toml differs from the index: run 'nox -s rel"):
        run(patches, "--check")
    assert not table.exists()
    assert run(patches) == 0
    assert capsys.readouterr().out.endswith("releases.toml: 2 releases written\n")
    found = load_releases(patches)
    assert list(found) == ["1.0.1", "1.0.2"]
    assert found["1.0.2"].pool_sha256 == hashlib.sha256(b"1.0.2").hexdigest()
    monkeypatch.setattr(update_releases, "try_release", lambda *_: 1 / 0)
    for option in ([], ["--check"]):
        assert run(patches, *option) == 0
        assert capsys.readouterr().out == "releases.toml: 2 releases, unchanged\n"


@pytest.mark.usefixtures("index")
def test_a_date_that_is_pinned_stays(patches: Path) -> None:
    table = patches / "releases.toml"
    pinned = [
        dataclasses.replace(release(v, "ab" * 32), dependencies_as_of="2025-01-01T00:00:00Z")
        for v in ("1.0.1", "1.0.2")
    ]
    table.write_text(render(pinned))
    assert run(patches) == 0
    found = load_releases(patches).values()
    assert {r.dependencies_as_of for r in found} == {"2025-01-01T00:00:00Z"}
    assert {r.uploaded for r in found} == {"2026-05-19T01:02:03Z"}


def test_a_release_that_is_not_covered_fails_the_run(
    index: list[DistributionPackage],
    patches: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def try_(release: Release, series: list[Series]) -> tuple[Series | None, str]:
        return (series[0], "fits") if release.version == "1.0.1" else (None, "hunk 1 of 2")

    monkeypatch.setattr(update_releases, "try_release", try_)
    index.append(package("1.1.0b1", "wheel"))
    assert run(patches) == 1
    captured = capsys.readouterr()
    assert "1.0.2: a release that has no series: hunk 1 of 2\n" in captured.out
    assert "1.1.0b1: a preview that has no series: hunk 1 of 2\n" in captured.out
    assert captured.err == "error: 1.0.2 is not covered: see above\n"
    assert list(load_releases(patches)) == ["1.0.1"]


def test_an_index_with_nothing_leaves_the_table_alone(
    index: list[DistributionPackage], patches: Path
) -> None:
    table = patches / "releases.toml"
    table.write_text(render([release()]))
    index.clear()
    with pytest.raises(UserError, match="the index lists no release that a series fits"):
        run(patches)
    assert list(load_releases(patches)) == ["1.0.1"]


@pytest.mark.usefixtures("index")
def test_one_release_is_tried(
    patches: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def passes(release: Release, series: Series, folder: Path) -> tuple[bool, str]:
        return release.version == "1.0.2", "3 passed"

    monkeypatch.setattr(try_release, "suite_passes", passes)
    arguments = ["--patches", str(patches)]
    assert try_release.main(["1.0.2", *arguments]) == 0
    assert capsys.readouterr().out == "1.0.2: series v1.0.0 applies; the suite 3 passed\n"
    assert try_release.main(["1.0.1", *arguments]) == 1
    text = patches / "change-1" / "v1.0.0.patch"
    text.write_text(PATCH.replace("-line 22", "-line 99"))
    assert try_release.main(["1.0.2", *arguments]) == 1
    assert "hunk 2 of 2" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"the index lists no livekit-agents 1\.0\.7"):
        try_release.main(["1.0.7", *arguments])
    with pytest.raises(UserError, match=r"^not a version: 'newest'; give one such as"):
        try_release.main(["newest", *arguments])
