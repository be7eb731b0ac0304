"""verify_wheel: a wheel as we build it passes; whatever is changed, in it or beside it, does not.

pip talks to no index here: `PIP_FIND_LINKS` makes a folder stand for it.
"""

import collections
import csv
import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATCH, POOL, write_table
from procpool.base.errors import UserError
from procpool.base.files import file_sha256
from procpool.catalog.releases import Release
from procpool.catalog.series import Series
from procpool.wheels import verify as verify_module
from procpool.wheels.build import build_wheel, environment_stamp
from procpool.wheels.sbom import SBOM_NAME
from procpool.wheels.verify import DAMAGE, difference, verify_wheel
from procpool.wheels.wheel import record_row

MakeSeries = Callable[..., Series]
Members = list[tuple[zipfile.ZipInfo, bytes]]
INFO = "livekit_agents-1.0.1+procpool.3.dist-info"
ADDED = (
    "From: Someone <someone@example.invalid>\nDate: Mon, 1 Jun 2026 00:00:00 +0000\n"
    "Subject: [PATCH] Add a file\n\n---\n"
    "--- /dev/null\n+++ b/livekit/agents/new.py\n@@ -0,0 +1 @@\n+new = 1\n"
)
OTHER_PATCH = PATCH.replace("+line two", "+line 2, swapped")


@pytest.fixture
def series(make_series: MakeSeries, wheel: Path, sdist: Path) -> Series:
    """Return a series whose folder lies beside the table of releases."""
    made = make_series(PATCH)
    write_table(made.folder, wheel, sdist)
    return made


@pytest.fixture
def index(wheel: Path, sdist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that pip takes for the index: it holds both files."""
    folder = tmp_path / "index"
    folder.mkdir()
    shutil.copy(wheel, folder)
    shutil.copy(sdist, folder)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def fetched(wheel: Path, sdist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the index give the pristine files, without pip, for the tests that verify often."""

    def give(release: Release, kind: str, cache: Path) -> Path:
        return wheel if kind == "wheel" else sdist

    monkeypatch.setattr(verify_module, "fetch", give)


def build(source: Path, series: Series, out: Path) -> Path:
    return build_wheel(source, series, out, file_sha256(source), environment_stamp())


def rewrite(wheel: Path, change: Callable[[Members], Members], record: bool = False) -> Path:
    """Write the changed members into a wheel of the same name; with `record` mend RECORD too."""
    with zipfile.ZipFile(wheel) as archive:
        members = change([(info, archive.read(info)) for info in archive.infolist()])
    path = wheel.parent / "tampered" / wheel.name
    path.parent.mkdir(exist_ok=True)
    if record:
        text = io.StringIO()
        rows = [record_row(i.filename, data) for i, data in members[:-1]]
        csv.writer(text, lineterminator="\n").writerows([*rows, (f"{INFO}/RECORD", "", "")])
        members[-1] = (members[-1][0], text.getvalue().encode())
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in members:
            archive.writestr(info, data)
    return path


def replace(name: str, old: bytes, new: bytes) -> Callable[[Members], Members]:
    def change(members: Members) -> Members:
        assert any(info.filename == name and old in data for info, data in members)
        return [(i, d.replace(old, new, 1) if i.filename == name else d) for i, d in members]

    return change


def refusal(wheel: Path, series: Series) -> str:
    """Return the one line that says why `wheel` is not verified."""
    with pytest.raises(UserError) as caught:
        verify_wheel(wheel, series.folder)
    text = str(caught.value)
    assert text.startswith(f"{wheel.name} is NOT verified: ") and "\n" not in text
    return text


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_wheel_is_verified(
    index: Path, wheel: Path, sdist: Path, series: Series, tmp_path: Path, kind: str
) -> None:
    built = build(wheel if kind == "wheel" else sdist, series, tmp_path / "dist")
    line = verify_wheel(built, series.folder)
    assert f"is verified: the {kind} of livekit-agents 1.0.1 on the index" in line
    assert "plus series v1.0.0, revision 3 (patches: 1), and nothing else" in line


def test_the_index_has_another_file(
    index: Path, wheel: Path, sdist: Path, series: Series, tmp_path: Path
) -> None:
    built = build(wheel, series, tmp_path / "dist")
    (index / wheel.name).write_bytes(built.read_bytes())
    assert "sha256 mismatch: the index's file is not" in refusal(built, series)
    (index / wheel.name).unlink()
    assert "could not download the wheel of livekit-agents 1.0.1" in refusal(built, series)


@pytest.mark.usefixtures("fetched")
def test_stamped_wheels_and_those_from_the_sdist(
    wheel: Path, sdist: Path, series: Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for epoch in ("", "1600000001"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        for source in (wheel, sdist):
            built = build(source, series, tmp_path / f"dist{epoch}")
            monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")  # the wheel's own stamp counts
            line = verify_wheel(built, series.folder)
            assert f"the {'sdist' if source == sdist else 'wheel'} of livekit-agents 1.0.1" in line
            monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)


@pytest.mark.usefixtures("fetched")
@pytest.mark.parametrize(("record", "from_sdist"), [(False, False), (True, False), (True, True)])
def test_a_changed_byte_in_any_member(
    wheel: Path, sdist: Path, series: Series, tmp_path: Path, record: bool, from_sdist: bool
) -> None:
    built = build(sdist if from_sdist else wheel, series, tmp_path / "dist")
    names = zipfile.ZipFile(built).namelist()
    for name in names:

        def change(members: Members, name: str = name) -> Members:
            return [
                (i, d[:-1] + bytes([d[-1] ^ 1]) if i.filename == name else d) for i, d in members
            ]

        line = refusal(rewrite(built, change, record and not name.endswith("RECORD")), series)
        if name.endswith(".patch"):
            assert f"{Path(name).name} in it is not the repository's text of series v1.0.0" in line
        elif not name.endswith(SBOM_NAME):
            assert f"not as it is built again: {name} (bytes)" in line


def test_any_changed_byte_of_the_file(wheel: Path, series: Series, tmp_path: Path) -> None:
    built = build(wheel, series, tmp_path / "dist")
    whole = built.read_bytes()
    other = tmp_path / built.name
    said = collections.Counter[str]()

    def compare(changed: bytes) -> None:
        other.write_bytes(changed)
        try:
            said["different" if difference(other, built) else "the same"] += 1
        except DAMAGE:  # which verify_wheel reports
            said["damaged"] += 1

    for position in range(0, len(whole), 11):
        compare(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
    for changed in (whole + b"\0", b"\0" + whole, whole[:-1], b""):
        compare(changed)
    # most bytes are those of members, and a zip file with a damaged member can still be compared
    assert said["different"] > said["damaged"] > 0 and set(said) == {"different", "damaged"}, said
    compare(whole)
    assert said["the same"] == 1


@pytest.mark.usefixtures("fetched")
def test_any_kind_of_damage_is_one_line(wheel: Path, series: Series, tmp_path: Path) -> None:
    built = build(wheel, series, tmp_path / "dist")
    whole = built.read_bytes()
    other = tmp_path / built.name
    for position in range(0, len(whole), len(whole) // 60):
        other.write_bytes(
            whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :]
        )
        refusal(other, series)
    other.write_bytes(whole[: len(whole) // 2])
    assert "it is damaged: " in refusal(other, series)


@pytest.mark.usefixtures("fetched")
def test_members_added_removed_moved_and_relabelled(
    wheel: Path, series: Series, tmp_path: Path
) -> None:
    built = build(wheel, series, tmp_path / "dist")
    extra = (zipfile.ZipInfo("livekit/agents/extra.py"), b"")
    line = refusal(rewrite(built, lambda m: [extra, *m], record=True), series)
    assert "it holds what it should not: livekit/agents/extra.py" in line
    line = refusal(rewrite(built, lambda m: m[1:], record=True), series)
    assert "it lacks livekit/agents/zebra.py" in line
    assert "not in the order" in refusal(rewrite(built, lambda m: [m[1], m[0], *m[2:]]), series)

    def relabel(members: Members) -> Members:
        members[1][0].external_attr = 0o100755 << 16
        members[2][0].date_time = (2022, 1, 1, 0, 0, 0)
        members[3][0].compress_type = zipfile.ZIP_DEFLATED
        return members

    line = refusal(rewrite(built, relabel), series)
    assert f"{POOL} (mode), livekit/agents/tool.sh (time)" in line
    assert "livekit/agents/version.py (compression)" in line

    def comment(members: Members) -> Members:
        members[0][0].comment = b"hello"
        return members

    assert "the zip file around them is not" in refusal(rewrite(built, comment), series)
    renamed = built.rename(tmp_path / built.name.replace("procpool.3", "procpool.4"))
    assert f"its name should be {built.name}" in refusal(renamed, series)


@pytest.mark.usefixtures("fetched")
def test_a_swapped_patch(
    wheel: Path, sdist: Path, make_series: MakeSeries, series: Series, tmp_path: Path
) -> None:
    swapped = build(wheel, make_series(OTHER_PATCH), tmp_path / "swapped")
    make_series(PATCH)
    assert "0001-change-1.patch in it is not the repository's text" in refusal(swapped, series)
    more = build(wheel, make_series(PATCH, ADDED), tmp_path / "more")
    make_series(PATCH)
    assert "0002-change-2.patch in it is not the repository's text" in refusal(more, series)


@pytest.mark.usefixtures("fetched")
def test_another_revision_of_the_repository(
    wheel: Path, make_series: MakeSeries, series: Series, tmp_path: Path
) -> None:
    built = build(wheel, series, tmp_path / "dist")
    make_series(OTHER_PATCH, revision=4)
    line = refusal(built, series)
    assert "it is upstream's file plus the patches in it, but whose are those?" in line
    assert "revision 3, and this repository has revision 4" in line
    tampered = rewrite(built, replace(POOL, b"line 7", b"line x"), record=True)
    assert f"not as it is built again: {POOL} (bytes)" in refusal(tampered, series)


@pytest.mark.usefixtures("fetched")
def test_a_claim_of_another_file(wheel: Path, series: Series, tmp_path: Path) -> None:
    built = build(wheel, series, tmp_path / "dist")
    sbom, digest = f"{INFO}/sboms/{SBOM_NAME}", file_sha256(wheel).encode()
    line = refusal(rewrite(built, replace(sbom, digest, b"0" * 64), record=True), series)
    assert "one of the two was changed" in line and "0" * 64 in line
    line = refusal(rewrite(built, replace(sbom, b'"v1.0.0"', b'"v9"')), series)
    assert INFO in line and "not as it is built again" in line
    line = refusal(rewrite(built, replace(sbom, b'"version": "1.0.1"', b'"version": "7"')), series)
    assert "livekit-agents 7 is not supported" in line


def test_a_tampered_pin(index: Path, wheel: Path, series: Series, tmp_path: Path) -> None:
    """The pin alone; then the pin and the wheel, which agree on a file that the index has not."""
    built = build(wheel, series, tmp_path / "dist")
    table = series.folder / "releases.toml"
    pinned = table.read_text()
    table.write_text(pinned.replace(file_sha256(wheel), "0" * 64))
    assert "releases.toml pins " + "0" * 64 in refusal(built, series)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("livekit/agents/backdoor.py", "")
    table.write_text(pinned.replace(file_sha256(index / wheel.name), file_sha256(wheel)))
    evil = build(wheel, series, tmp_path / "evil")
    assert "sha256 mismatch: the index's file is not" in refusal(evil, series)


def test_what_is_no_wheel_of_ours(wheel: Path, series: Series, tmp_path: Path) -> None:
    assert "it holds no bill of materials of this project's" in refusal(wheel, series)
    with pytest.raises(UserError, match="there is no such file"):
        verify_wheel(tmp_path / "absent.whl", series.folder)
