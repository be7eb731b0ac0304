"""build_wheel.

The version everywhere, a correct RECORD, upstream's bytes elsewhere, the same file twice.
"""

import os
import time
import zipfile
from collections.abc import Callable
from email.parser import BytesParser
from pathlib import Path

import pytest
from build_wheel import build_wheel, environment_stamp
from conftest import PATCH, POOL
from errors import UserError
from fetch import file_sha256
from releases_table import Series
from wheel.wheelfile import WheelFile

MakeSeries = Callable[..., Series]
INFO = "livekit_agents-1.0.1+procpool.3.dist-info"


def build(wheel: Path, series: Series, out: Path) -> Path:
    return build_wheel(wheel, series, out, file_sha256(wheel), environment_stamp())


def test_version_and_provenance(wheel: Path, make_series: MakeSeries, tmp_path: Path) -> None:
    built = build(wheel, make_series(PATCH), tmp_path / "dist")
    assert built.name == "livekit_agents-1.0.1+procpool.3-py3-none-any.whl"
    with zipfile.ZipFile(built) as archive:
        metadata = BytesParser().parsebytes(archive.read(f"{INFO}/METADATA"))
        assert metadata["Version"] == "1.0.1+procpool.3"
        assert metadata.get_payload() == "Version: 9\n"
        assert b'__version__ = "1.0.1+procpool.3"\n' in archive.read("livekit/agents/version.py")
        assert archive.read(f"{INFO}/procpool/0001-change.patch") == PATCH.encode()
        assert b"0001-change.patch" in archive.read(f"{INFO}/procpool/series")
        notice = archive.read(f"{INFO}/procpool/NOTICE").decode()
        assert POOL in notice and file_sha256(wheel) in notice and "zebra" not in notice
        last = archive.read(POOL).decode().splitlines()[-1]
        assert last.startswith("# Modified by livekit-agents-procpool, series v1.0.0, revision 3")
        assert not [name for name in archive.namelist() if "1.0.1.dist-info" in name]


def test_record_is_correct(wheel: Path, make_series: MakeSeries, tmp_path: Path) -> None:
    built = build(wheel, make_series(PATCH), tmp_path / "dist")
    with WheelFile(str(built)) as archive:  # checks every member against RECORD as it is read
        for name in archive.namelist():
            archive.read(name)
        rows = archive.read(f"{INFO}/RECORD").decode().splitlines()
        assert [row.split(",")[0] for row in rows] == archive.namelist()


def test_the_rest_is_upstreams(wheel: Path, make_series: MakeSeries, tmp_path: Path) -> None:
    built = build(wheel, make_series(PATCH), tmp_path / "dist")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(built) as new:
        names = [
            name.replace("1.0.1.dist-info", "1.0.1+procpool.3.dist-info") for name in old.namelist()
        ]
        added = (f"{INFO}/procpool/", f"{INFO}/sboms/")
        assert [name for name in new.namelist() if not name.startswith(added)] == names
        changed = {POOL, "livekit/agents/version.py", f"{INFO}/METADATA", f"{INFO}/RECORD"}
        for before, name in zip(old.infolist(), names, strict=True):
            after = new.getinfo(name)
            assert after.external_attr == before.external_attr
            assert after.date_time == before.date_time
            assert (new.read(name) == old.read(before)) == (name not in changed)


def test_reproducible(
    wheel: Path, make_series: MakeSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = make_series(PATCH)
    first = build(wheel, series, tmp_path / "one").read_bytes()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    mask = os.umask(0o077)
    try:
        assert build(wheel, series, tmp_path / "two").read_bytes() == first
    finally:
        os.umask(mask)
        monkeypatch.undo()
        time.tzset()


def test_source_date_epoch(
    wheel: Path, make_series: MakeSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    with zipfile.ZipFile(build(wheel, make_series(PATCH), tmp_path / "dist")) as archive:
        assert archive.getinfo(POOL).date_time == (2020, 9, 13, 12, 26, 40)
        assert archive.getinfo("livekit/agents/zebra.py").date_time == (2021, 3, 4, 5, 6, 8)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(UserError, match="SOURCE_DATE_EPOCH"):
        build(wheel, make_series(PATCH), tmp_path / "dist")


def test_nothing_is_written_on_failure(
    wheel: Path, make_series: MakeSeries, tmp_path: Path
) -> None:
    out = tmp_path / "dist"
    with pytest.raises(UserError, match="sha256 mismatch"):
        build_wheel(wheel, make_series(PATCH), out, "0" * 64)
    with pytest.raises(UserError, match=r"0001-change\.patch.*hunk 1 of 2"):
        build(wheel, make_series(PATCH.replace("-line 2\n", "-line 999\n")), out)
    assert not out.exists()


def test_a_patched_wheel_is_refused(wheel: Path, make_series: MakeSeries, tmp_path: Path) -> None:
    series = make_series(PATCH)
    built = build(wheel, series, tmp_path / "dist")
    with pytest.raises(UserError, match="already patched"):
        build(built, series, tmp_path / "again")
    disguised = built.rename(tmp_path / wheel.name)
    with pytest.raises(UserError):
        build(disguised, series, tmp_path / "again")
    assert not (tmp_path / "again").exists()
