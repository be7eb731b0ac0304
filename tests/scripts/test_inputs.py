"""What bad input gets.

One line and a non-zero exit. And the table, the fetch and the control check.
"""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import fetch as fetch_module
import pytest
from check_control import deviations, load_control, read_outcomes
from conftest import PATCH, POOL
from errors import UserError
from fetch import cache_dir, fetch, file_sha256
from package_index import releases_on_index
from packaging.version import Version
from pypi_simple import DistributionPackage
from release_env import choose_python, missing_python
from releases_table import (
    Release,
    Series,
    ends,
    get_release,
    load_releases,
    load_series,
    newest_release,
)
from try_release import find_series, newest_first, why_not
from update_releases import fitting_series, render, widen

MakeSeries = Callable[..., Series]
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# Not run by themselves.
LIBRARIES = {"carry", "errors", "patch_steps", "repository", "source_date"}
PYTHONS = {Version(v): f"/python{v}" for v in ("3.9.18", "3.10.13", "3.12.1", "3.13.0")}


def release(version: str = "1.0.1", digest: str = "0" * 64) -> Release:
    return Release(
        version=version,
        uploaded="2026-05-19T17:55:41Z",
        dependencies_as_of="2026-05-21T00:00:00Z",
        requires_python=">=3.10,<3.15",
        wheel=f"livekit_agents-{version}-py3-none-any.whl",
        wheel_sha256=digest,
        sdist_sha256=digest,
        pool_sha256="0" * 64,
        yanked=False,
        series="v1.0.0",
    )


def package(
    version: str, kind: str, tag: str = "-py3-none-any.whl", **changes: object
) -> DistributionPackage:
    values: dict[str, object] = {
        "filename": f"livekit_agents-{version}" + (".tar.gz" if kind == "sdist" else tag),
        "url": "",
        "project": "livekit-agents",
        "version": version,
        "package_type": kind,
        "digests": {"sha256": "ab" * 32},
        "requires_python": ">=3.10",
        "has_sig": None,
        "is_yanked": False,
        "upload_time": datetime(2026, 5, 19, 1, 2, 3, tzinfo=UTC),
    }
    return DistributionPackage(**values | changes)  # type: ignore[arg-type]


def run(script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / f"{script}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environ)


def test_table_round_trip(make_series: MakeSeries) -> None:
    series = make_series(PATCH)
    names = ("1.0.10", "1.0.9", "1.0.2", "1.0.3.dev1", "0.9.0")
    packages = [package(v, kind) for v in names for kind in ("wheel", "sdist")]
    found = releases_on_index(packages)
    assert [release.version for release in found] == ["1.0.2", "1.0.9", "1.0.10"]
    assert [fitting_series(release, [series]) for release in found] == [series, series, None]
    rows = [
        dataclasses.replace(release, series=series.name, pool_sha256="0" * 64)
        for release in found[:2]
    ]
    (series.path.parent / "releases.toml").write_text(render(rows))
    assert list(load_releases(series.path.parent).values()) == rows
    assert get_release("1.0.2", series.path.parent) == (rows[0], series)


def test_index_needs_hashes_and_upload_times() -> None:
    with pytest.raises(UserError, match="no upload time or sha256"):
        releases_on_index([package("1.0.2", "wheel", upload_time=None), package("1.0.2", "sdist")])
    with pytest.raises(UserError, match="both a wheel and an sdist"):
        releases_on_index([package("1.0.2", "wheel")])


def test_a_preview_needs_a_wheel_for_this_platform_only() -> None:
    assert releases_on_index([package("1.1.0b1", "wheel", tag="-cp39-cp39-elsewhere.whl")]) == []
    [found] = releases_on_index([package("1.1.0b1", "wheel")])
    assert found.preview and found.sdist_sha256 == ""


def test_the_pinned_wheel_of_a_preview_counts_on_every_platform() -> None:
    elsewhere = package("1.1.0b1", "wheel", tag="-cp39-cp39-elsewhere.whl")
    packages = [package("1.1.0b1", "wheel"), elsewhere]
    [found] = releases_on_index(packages, pinned=[elsewhere.filename])
    assert found.wheel == elsewhere.filename
    [found] = releases_on_index(packages)
    assert found.wheel != elsewhere.filename


def test_a_preview_is_not_the_newest_release(make_series: MakeSeries) -> None:
    patches = make_series(PATCH).path.parent
    table = patches / "releases.toml"
    table.write_text(render([release("1.0.9"), release("1.1.0b1")]))
    assert newest_release(patches).version == "1.0.9"
    table.write_text(render([release("1.1.0b1")]))
    with pytest.raises(UserError, match="no final release"):
        newest_release(patches)


def test_a_series_that_starts_after_the_release_is_tried_last(make_series: MakeSeries) -> None:
    one = make_series(PATCH)
    starts = ("1.0.0", "1.0.9", "1.1.0b1")
    series = [dataclasses.replace(one, name=f"v{s}", first=s, last=s) for s in starts]
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
    assert "patch 0001-change.patch does not apply" in reason and "hunk 2 of 2" in reason
    pool.write_text(
        pristine.replace("line 22", "line twenty-two").replace("line 2\n", "line two\n")
    )
    assert why_not(tree, series.patches()) == "upstream now has the change of 0001-change.patch"


def test_widening_a_series_keeps_its_comments(make_series: MakeSeries) -> None:
    series = make_series(PATCH)
    path = series.path / "series.toml"
    path.write_text(f"# kept\n{path.read_text()}")
    widen(series, "1.0.12")
    assert load_series(series.path).last == "1.0.12" and path.read_text().startswith("# kept\n")


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
    table = make_series(PATCH).path.parent / "releases.toml"
    table.write_text(render([release()]).replace(old, new, 1))
    with pytest.raises(UserError, match=r"releases\.toml"):
        load_releases(table.parent)


def test_dependencies_as_of_the_day_after() -> None:
    [found] = releases_on_index([package("1.0.2", "wheel"), package("1.0.2", "sdist")])
    assert found.dependencies_as_of == "2026-05-21T00:00:00Z"


def test_ends_of_each_run() -> None:
    versions = {"1.0.0": "a", "1.0.1": "a", "1.0.2": "a", "1.0.3": "b", "1.0.4": "a"}
    found = ends([release(v) for v in versions], lambda r: versions[r.version])
    assert found == {"1.0.0", "1.0.2", "1.0.3", "1.0.4"}


def test_pythons_of_a_release() -> None:
    assert release().pythons == ["3.10", "3.11", "3.12", "3.13"]
    newest = {Version("3.12.1"): "/python3.12.1"}
    assert missing_python(release(), "oldest", newest) == (
        "Python 3.10, the oldest that 1.0.1 supports, is not installed"
    )
    assert missing_python(release(), "3.12", newest) is None
    assert missing_python(release(), "newest", PYTHONS) is None


def test_unknown_release_is_one_line(make_series: MakeSeries, tmp_path: Path) -> None:
    patches = make_series(PATCH).path.parent
    (patches / "releases.toml").write_text(render([release()]))
    out = tmp_path / "dist"
    result = run("build_wheel", "9.9.9", "--patches", str(patches), "--out", str(out))
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert "9.9.9 is not supported" in result.stderr and "v1.0.0: 1.0.1" in result.stderr
    assert "To add one" in result.stderr
    assert not out.exists()


def test_no_network_is_one_line(make_series: MakeSeries, tmp_path: Path) -> None:
    patches, cache, out = make_series(PATCH).path.parent, tmp_path / "cache", tmp_path / "dist"
    (patches / "releases.toml").write_text(render([release()]))
    settings = {
        "LIVEKIT_PROCPOOL_CACHE": str(cache),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_FIND_LINKS": "",
    }
    arguments = ("1.0.1", "--patches", str(patches), "--out", str(out))
    result = run("build_wheel", *arguments, **settings)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result.stderr
    assert "check the network" in result.stderr
    assert not out.exists() and list(cache.iterdir()) == []


@pytest.fixture
def local_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pip find the wheels in `tmp_path`, and no others."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


@pytest.mark.usefixtures("local_pip")
def test_fetch_takes_only_the_pinned_file(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(UserError, match="sha256 mismatch"):
        fetch(release(), cache=cache)
    assert list(cache.iterdir()) == []
    good = release(digest=file_sha256(wheel))
    path = fetch(good, cache=cache)
    assert path.read_bytes() == wheel.read_bytes()

    def fail(*arguments: object) -> Path:
        raise AssertionError("a second run fetches nothing")

    monkeypatch.setattr(fetch_module, "_download", fail)
    assert fetch(good, cache=cache) == path
    path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="sha256 mismatch"):
        fetch(good, cache=cache)


@pytest.mark.usefixtures("local_pip")
def test_fetch_takes_a_wheel_for_another_platform(wheel: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "livekit_agents-1.0.1-cp310-abi3-win_arm64.whl"
    wheel.rename(elsewhere)
    pinned = release(digest=file_sha256(elsewhere))
    pinned = dataclasses.replace(pinned, wheel=elsewhere.name, sdist_sha256="")
    assert fetch(pinned, cache=tmp_path / "cache").name == elsewhere.name
    with pytest.raises(UserError, match=r"1\.0\.1 has no sdist"):
        fetch(pinned, "sdist", tmp_path / "cache")


def test_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LIVEKIT_PROCPOOL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "livekit-procpool"
    monkeypatch.setenv("LIVEKIT_PROCPOOL_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("newest", "3.13.0"), ("oldest", "3.10.13"), ("3.12", "3.12.1"), ("3.10.13", "3.10.13")],
)
def test_choose_python(wanted: str, expected: str) -> None:
    assert choose_python(">=3.10,<3.15", wanted, PYTHONS) == f"/python{expected}"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("3.9", r"3\.9 is not supported.*nearest.*3\.10\.13"),
        ("3.11", r"3\.11 is not installed.*nearest.*3\.1[02]\."),
        ("3.14", r"3\.14 is not installed.*nearest.*3\.13\.0"),
        ("three", "not a Python version"),
    ],
)
def test_choose_python_names_the_nearest(wanted: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_python(">=3.10,<3.15", wanted, PYTHONS)
    with pytest.raises(UserError, match="install one that fits"):
        choose_python(">=3.14", "newest", PYTHONS)


def test_control_names_every_deviation(tmp_path: Path) -> None:
    report, patches = tmp_path / "report.xml", tmp_path / "patches"
    patches.mkdir()

    def write(**outcomes: str) -> None:
        cases = "".join(
            f'<testcase classname="t" name="{name}">{text}</testcase>'
            for name, text in outcomes.items()
        )
        report.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")

    def check(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run("check_control", "1.0.1", str(report), "--patches", str(patches), *arguments)

    failure, skipped = "<failure/>", "<skipped/>"
    write(breaks=failure, mends=failure, fine="", worse="", skips=failure, gone="")
    result = check()
    assert result.returncode == 1 and "--record" in result.stderr
    assert check("--record").returncode == 0
    assert check().returncode == 0
    teardown, setup = '<error message="failed on teardown"/>', '<error message="failed on setup"/>'
    write(breaks=teardown, mends="", fine="", worse=failure, skips=skipped, new="", setup=setup)
    found = deviations(read_outcomes(report), load_control("1.0.1", patches))
    assert sorted(found) == [f"t::{n}" for n in ("gone", "mends", "new", "setup", "skips", "worse")]
    result = check()
    assert result.returncode == 1 and len(result.stdout.splitlines()) == 7
    # a second run on record: what came out otherwise may from now on come out either way
    write(breaks=failure, mends="", fine="", worse=failure, skips=failure, gone="")
    assert check("--record").returncode == 0
    assert load_control("1.0.1", patches).either == ["t::mends", "t::worse"]
    assert check().returncode == 0
    write(breaks=failure, mends=failure, fine="", worse="", skips=failure, gone="")
    assert check().returncode == 0 and check("--record").returncode == 0
    assert load_control("1.0.1", patches).either == ["t::mends", "t::worse"]
    write(breaks=failure, mends=skipped, fine=failure, skips=failure, gone="")
    found = deviations(read_outcomes(report), load_control("1.0.1", patches))
    assert sorted(found) == ["t::fine", "t::mends", "t::worse"]
    write(fine="")
    assert "proves nothing" in check().stderr


@pytest.mark.parametrize(
    "script",
    sorted({path.stem for path in SCRIPTS.glob("*.py")} - LIBRARIES),
)
def test_help(script: str) -> None:
    result = run(script, "--help")
    assert result.returncode == 0 and "usage:" in result.stdout
