"""What bad input gets.

One line and a non-zero exit. And the table, the fetch and the control check.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import fetch as fetch_module
import pytest
from check_control import read_outcomes
from conftest import PATCH
from errors import UserError
from fetch import cache_dir, fetch, file_sha256
from packaging.version import Version
from pypi_simple import DistributionPackage
from release_env import choose_python
from releases_table import Release, Series, get_release, load_releases
from update_releases import render, select

MakeSeries = Callable[..., Series]
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
PYTHONS = {Version(v): f"/python{v}" for v in ("3.9.18", "3.10.13", "3.12.1", "3.13.0")}


def release(version: str = "1.0.1", digest: str = "0" * 64) -> Release:
    when = "2026-05-19T17:55:41Z"
    return Release(version, when, ">=3.10,<3.15", digest, digest, False, "v1.0.0")


def package(version: str, kind: str, **changes: object) -> DistributionPackage:
    values: dict[str, object] = {
        "filename": f"{version}.{kind}",
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
    packages = [
        package(v, kind)
        for v in ("1.0.10", "1.0.9", "1.0.2", "1.0.3rc1")
        for kind in ("wheel", "sdist")
    ]
    chosen = select(packages, [series])
    assert [found.version for found in chosen] == ["1.0.2", "1.0.9"]
    (series.path.parent / "releases.toml").write_text(render(chosen))
    assert list(load_releases(series.path.parent).values()) == chosen
    assert get_release("1.0.2", series.path.parent) == (chosen[0], series)


def test_table_needs_hashes_and_upload_times(make_series: MakeSeries) -> None:
    series = make_series(PATCH)
    with pytest.raises(UserError, match="no upload time or sha256"):
        select([package("1.0.2", "wheel", upload_time=None), package("1.0.2", "sdist")], [series])
    with pytest.raises(UserError, match="both a wheel and an sdist"):
        select([package("1.0.2", "wheel")], [series])


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
    assert release().dependencies_as_of == "2026-05-21T00:00:00Z"


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


def test_fetch_takes_only_the_pinned_file(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
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
    mark = '<properties><property name="breaks_unpatched" value="True"/></properties>'
    report = tmp_path / "report.xml"
    report.write_text(
        "<testsuites><testsuite>"
        f'<testcase classname="t" name="good">{mark}<failure/></testcase>'
        f'<testcase classname="t" name="passes">{mark}</testcase>'
        f'<testcase classname="t" name="skips">{mark}<skipped/></testcase>'
        f'<testcase classname="t" name="leaks">{mark}</testcase>'
        '<testcase classname="t" name="leaks"><error message="failed on teardown"/></testcase>'
        f'<testcase classname="t" name="setup">{mark}<error message="failed on setup"/></testcase>'
        '<testcase classname="t" name="fine"/>'
        '<testcase classname="t" name="breaks"><failure/></testcase>'
        "</testsuite></testsuites>"
    )
    deviations = [name for name, outcome in read_outcomes(report).items() if outcome.deviation()]
    assert deviations == ["t::passes", "t::skips", "t::setup", "t::breaks"]
    result = run("check_control", str(report))
    assert result.returncode == 1 and len(result.stdout.splitlines()) == 5
    assert "2 of 5 marked tests failed as they must" in result.stdout
    report.write_text("<testsuites/>")
    assert "proves nothing" in run("check_control", str(report)).stderr


@pytest.mark.parametrize(
    "script",
    sorted(path.stem for path in SCRIPTS.glob("*.py") if path.stem != "errors"),
)
def test_help(script: str) -> None:
    result = run(script, "--help")
    assert result.returncode == 0 and "usage:" in result.stdout
