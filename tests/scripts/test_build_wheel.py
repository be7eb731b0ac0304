"""build_wheel.

The version everywhere, a correct RECORD, upstream's bytes elsewhere, the same file twice.
"""

import os
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable
from email.parser import BytesParser
from pathlib import Path

import pytest
from conftest import PATCH, POOL, write_table
from procpool.base.errors import UserError
from procpool.base.files import file_sha256
from procpool.catalog.releases import Release, line_releases
from procpool.catalog.series import Series
from procpool.wheels import build as build_wheel_module
from procpool.wheels import command
from procpool.wheels.build import build_wheel, environment_stamp
from procpool.wheels.sbom import SBOM_NAME
from procpool.wheels.sdist import build_unpacked
from samples import release
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
        assert archive.read(f"{INFO}/procpool/0001-change-1.patch") == PATCH.encode()
        assert b"0001-change-1.patch" in archive.read(f"{INFO}/procpool/series")
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
    mask = os.umask(0o077)
    try:
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("TZ", "Asia/Tokyo")
            time.tzset()
            assert build(wheel, series, tmp_path / "two").read_bytes() == first
    finally:
        os.umask(mask)
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
    with pytest.raises(UserError, match=r"change-1/v1\.0\.0\.patch.*hunk 1 of 2"):
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


def test_from_sdist(wheel: Path, sdist: Path, make_series: MakeSeries, tmp_path: Path) -> None:
    series = make_series(PATCH)
    built = build(sdist, series, tmp_path / "dist")
    assert built.name == "livekit_agents-1.0.1+procpool.3-1sdist-py3-none-any.whl"
    with (
        WheelFile(str(built)) as archive,  # checks every member against RECORD as it is read
        zipfile.ZipFile(build(wheel, series, tmp_path / "dist")) as other,
    ):
        package = {name for name in archive.namelist() if not name.startswith(INFO)}
        assert package == {name for name in other.namelist() if not name.startswith(INFO)}
        for name in package:
            assert archive.read(name) == other.read(name)
            assert archive.getinfo(name).external_attr == other.getinfo(name).external_attr
        metadata = BytesParser().parsebytes(archive.read(f"{INFO}/METADATA"))
        assert metadata["Version"] == "1.0.1+procpool.3"
        assert b"\nBuild: 1sdist\n" in archive.read(f"{INFO}/WHEEL")
        notice = archive.read(f"{INFO}/procpool/NOTICE").decode()
        assert "upstream's sdist" in notice and file_sha256(sdist) in notice
        assert b'"hatchling"' in archive.read(f"{INFO}/sboms/{SBOM_NAME}")
        assert not {info.compress_type for info in archive.infolist()} - {zipfile.ZIP_STORED}


def test_from_sdist_is_reproducible(
    sdist: Path, make_series: MakeSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = make_series(PATCH)
    first = build(sdist, series, tmp_path / "one").read_bytes()
    monkeypatch.setenv("HATCH_BUILD_NO_HOOKS", "true")
    mask = os.umask(0o077)
    try:
        assert build(sdist, series, tmp_path / "two").read_bytes() == first
    finally:
        os.umask(mask)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000001")
    with zipfile.ZipFile(build(sdist, series, tmp_path / "three")) as archive:
        assert archive.getinfo(POOL).date_time == (2020, 9, 13, 12, 26, 40)
        assert archive.getinfo("livekit/agents/zebra.py").date_time == (2020, 2, 2, 0, 0, 0)


def test_an_sdist_that_cannot_be_built(
    sdist: Path, make_series: MakeSeries, tmp_path: Path
) -> None:
    series, out = make_series(PATCH), tmp_path / "dist"
    whole = sdist.read_bytes()
    sdist.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not an sdist that can be used"):
        build(sdist, series, out)
    with tarfile.open(sdist, "w:gz") as sources:
        info = tarfile.TarInfo("../outside")
        sources.addfile(info)
    with pytest.raises(UserError, match="not an sdist that can be used"):
        build(sdist, series, out)
    for requires, message in (
        ('["absent-backend"]', "needs absent-backend to be built"),
        ("[]", "build backend failed|cannot be built"),
    ):
        tree = tmp_path / f"tree-{len(requires)}"
        tree.mkdir()
        (tree / "pyproject.toml").write_text(
            f'[build-system]\nrequires = {requires}\nbuild-backend = "absent_backend"\n'
        )
        with pytest.raises(UserError, match=message):
            build_unpacked(tree, out)
    assert not out.exists()


@pytest.fixture
def patches(wheel: Path, sdist: Path, make_series: MakeSeries) -> Path:
    """Return a folder of patches whose table lists the release, which is in the cache."""
    folder = make_series(PATCH).folder
    write_table(folder, wheel, sdist)
    return folder


def test_nothing_is_moved_before_all_is_built(
    patches: Path, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cached(release: Release, kind: str) -> Path:
        if release.version == "1.0.2":
            raise UserError("could not download it")
        return wheel

    monkeypatch.setattr(build_wheel_module, "fetch", cached)
    out = tmp_path / "dist"
    arguments = ["--patches", str(patches), "--out", str(out)]
    with pytest.raises(UserError, match="could not download"):
        command.main([*arguments, "--all"])
    assert not out.exists() and not list(tmp_path.glob(".wheels-*"))
    for chosen in (["1.0.1"], ["1.0.1", "1.0.1+0"], ["--line", "v9"], []):
        if chosen == ["1.0.1"]:
            assert command.main([*arguments, *chosen]) == 0
            before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
        else:
            with pytest.raises(UserError, match=r"not supported|no release line|which release"):
                command.main([*arguments, *chosen])
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert {path.name for path in out.iterdir()} == {
        "SHA256SUMS",
        "livekit_agents-1.0.1+procpool.3-py3-none-any.whl",
        "simple",
    }


def test_a_line_or_a_series(patches: Path) -> None:
    series = patches / "v1.0.0"
    other = patches / "v1.0.2"
    shutil.copytree(series, other)
    table = patches / "releases.toml"
    head, _, last = table.read_text().rpartition('series = "v1.0.0"')
    table.write_text(f'{head}series = "v1.0.2"{last}')
    (series / "series.toml").write_text('first = "1.0.0"\nlast = "1.0.1"\nline = "1.0.0"\n')
    (other / "series.toml").write_text('first = "1.0.2"\nlast = "1.0.9"\nline = "1.0.0"\n')

    def versions(name: str) -> list[str]:
        return [release.version for release in line_releases(name, patches)]

    assert versions("v1.0.0") == versions("1.0.0") == ["1.0.1", "1.0.2"]
    assert versions("v1.0.2") == ["1.0.2"]
    with pytest.raises(UserError, match=r"the lines are v1\.0\.0; series within them are v1\.0\.2"):
        versions("v1.0.1")


def rewrite(wheel: Path, drop: str = "", **more: str) -> Path:
    """Write the wheel anew without the files that end in `drop`, with `more` text at their end."""
    with zipfile.ZipFile(wheel) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(wheel, "w") as archive:
        for info, data in members:
            if not (drop and info.filename.endswith(drop)):
                archive.writestr(info, data)
        for name, text in more.items():
            archive.writestr(name, text)
    return wheel


@pytest.mark.parametrize("name", ["METADATA", "RECORD", "version.py"])
def test_a_wheel_that_lacks_a_file(
    wheel: Path, make_series: MakeSeries, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UserError, match=f"holds no .*{name}$"):
        build(rewrite(wheel, drop=name), make_series(PATCH), tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


def test_a_wheel_with_an_unsafe_path(wheel: Path, make_series: MakeSeries, tmp_path: Path) -> None:
    bad = rewrite(wheel, **{"../../outside": "x"})
    with pytest.raises(UserError, match=r"the wheel holds an unsafe path: \.\./\.\./outside$"):
        build(bad, make_series(PATCH), tmp_path / "dist")


def test_a_release_that_does_not_state_its_version(
    wheel: Path, make_series: MakeSeries, tmp_path: Path
) -> None:
    bad = rewrite(wheel, "version.py", **{"livekit/agents/version.py": "version = 1\n"})
    with pytest.raises(UserError, match=r"version\.py of the release does not state its version"):
        build(bad, make_series(PATCH), tmp_path / "dist")


def test_files_that_a_patch_adds_or_removes(
    wheel: Path, make_series: MakeSeries, tmp_path: Path
) -> None:
    head = PATCH.split("diff --git")[0]
    patch = (
        f"{head}--- a/livekit/agents/zebra.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-zebra\n"
        "--- /dev/null\n+++ b/livekit/agents/new.py\n@@ -0,0 +1 @@\n+new = 1\n"
    )
    with zipfile.ZipFile(build(wheel, make_series(patch), tmp_path / "dist")) as archive:
        names = archive.namelist()
        notice = archive.read(f"{INFO}/procpool/NOTICE").decode()
        assert archive.read("livekit/agents/new.py").startswith(b"new = 1\n# Modified by ")
        record = archive.read(f"{INFO}/RECORD").decode()
    assert "livekit/agents/zebra.py" not in names and "zebra" not in record
    assert "new.py,sha256=" in record
    assert "zebra.py\n" in notice and "        removed\n" in notice
    assert "        upstream: not in upstream's release\n" in notice


@pytest.mark.parametrize("name", ["livekit_agents.whl", "livekit_agents.zip"])
def test_what_is_neither_a_wheel_nor_an_sdist(
    wheel: Path, make_series: MakeSeries, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UserError, match=r"Invalid (wheel|sdist) filename.*'livekit_agents"):
        build(wheel.rename(tmp_path / name), make_series(PATCH), tmp_path / "dist")


@pytest.mark.parametrize("seconds", ["0", "99999999999"])
def test_a_date_that_no_zip_file_can_hold(monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", seconds)
    with pytest.raises(UserError, match=f"outside what a zip file can hold.*'{seconds}'"):
        environment_stamp()


def test_the_last_line_says_what_to_do(
    patches: Path,
    wheel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(build_wheel_module, "fetch", lambda release, kind: wheel)
    out = tmp_path / "dist"
    assert command.main(["v1.0.1", "--patches", str(patches), "--out", str(out)]) == 0
    said = capsys.readouterr()
    name = "livekit_agents-1.0.1+procpool.3-py3-none-any.whl"
    assert said.err == "" and said.out.splitlines()[0].endswith(name)
    last = said.out.splitlines()[-1]
    assert last.startswith(f"next: in your project, mkdir -p vendor && cp {out / name} ")
    assert "doctor.py vendor/" in last and "Vendor the wheel" in last
    assert "copy the one that you need" in command.what_next([out / name] * 2)


def test_more_than_one_wheel_shows_how_far_it_is(
    make_series: MakeSeries, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    series = make_series(PATCH)
    two = [(release("1.0.1"), series), (release("1.0.2"), series)]
    assert list(command.shown(two)) == two
    rows = ["1 of 2: 1.0.1+procpool.3 is built", "2 of 2: 1.0.2+procpool.3 is built"]
    assert capsys.readouterr().err.splitlines() == rows
    assert list(command.shown(two[:1])) == two[:1]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert list(command.shown(two)) == two
    assert "is built" not in capsys.readouterr().err
