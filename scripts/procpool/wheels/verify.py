"""Prove that a patched wheel is upstream's pinned file plus exactly this project's patches.

What the wheel says about itself is only a claim: from it come upstream's version, the file and its
sha256, the series and its revision, the patches and the time stamp. Upstream's file is then fetched
anew from the index, not from the cache; the wheel is built again from it with the patches that
stand in the wheel; and every byte is compared. Last, the patches are compared with those of the
repository. The wheel must be built with the packages that `noxfile.py` pins now: for a wheel of
an older commit, run the verification of that commit.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import PATCHES
from procpool.catalog.fetch import fetch
from procpool.catalog.releases import PROJECT, Release, get_release
from procpool.catalog.series import Series, load_series, numbered
from procpool.wheels.build import DateTime, build_wheel
from procpool.wheels.sbom import Origin, read_origin, sbom_member

# What zipfile raises for a damaged file, or for one that uses what no wheel of ours does.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def _claim(wheel: Path, folder: Path) -> tuple[Origin, Series, DateTime]:
    """Return what a wheel says it was made from, and the stamp it was made with.

    The series is made of the patches that stand in the wheel, which are written into `folder`.
    Raises `UserError` if the wheel is damaged or says no such thing.
    """
    with zipfile.ZipFile(wheel) as archive:
        sbom = sbom_member(archive.namelist())
        origin = read_origin(archive.read(sbom))
        info = sbom.split("/")[0]
        if not re.fullmatch(r"v[\w.]+", origin.series):
            raise UserError(f"it is damaged: it names no series but {origin.series!r}")
        names = archive.read(f"{info}/procpool/series").decode("utf-8").split()
        listing = []
        for name in names:
            found = re.fullmatch(r"(\d{4})-([\w-]+)\.patch", name)
            member = f"{info}/procpool/{name}"
            if found is None or member not in archive.namelist():
                raise UserError(f"it is damaged: its series names {name!r}, no patch in it")
            listing.append(f"{found[2]}/{found[1]}.patch")
            (folder / found[2]).mkdir(exist_ok=True)
            (folder / listing[-1]).write_bytes(archive.read(member))
        (folder / origin.series).mkdir()
        (folder / origin.series / "series").write_text("\n".join(listing), "utf-8")
        stamp = archive.getinfo(sbom).date_time
    return origin, Series(origin.series, folder, origin.revision), stamp


def _check_pin(origin: Origin, release: Release) -> None:
    """Raise `UserError` unless the wheel and `releases.toml` name the same file of upstream's."""
    pin = release.wheel_sha256 if origin.file == release.wheel else release.sdist_sha256
    if origin.sha256 != pin:
        raise UserError(
            f"it says that it was made from {origin.file} with sha256 {origin.sha256}, but"
            f" releases.toml pins {pin}: one of the two was changed"
        )


def _check_patches(series: Series, patches: Path) -> str | None:
    """Raise `UserError` if the wheel's patches are not the repository's, to the letter.

    If the repository has no such series, or another revision of it, say so: then they cannot be
    compared.
    """
    claimed = f"series {series.name}, revision {series.revision}"
    if not (patches / series.name / "series").is_file():
        return f"it carries {claimed}, and {patches} has no series of that name"
    own = load_series(series.name, patches)
    if own.revision != series.revision:
        return f"it carries {claimed}, and this repository has revision {own.revision}"
    ours, theirs = (
        {name: path.read_bytes() for name, path in numbered(one.patches).items()}
        for one in (own, series)
    )
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise UserError(f"{name} in it is not the repository's text of {claimed}")
    return None


def _listed(names: list[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _aspects(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> dict[str, object]:
    """Return what can be compared of a member of a wheel, by its name in a message."""
    return {
        "bytes": archive.read(info),
        "mode": info.external_attr,
        "time": info.date_time,
        "compression": info.compress_type,
    }


def difference(wheel: Path, rebuilt: Path) -> str | None:
    """Say how two wheels differ, in one line; None if they are the same file, byte for byte."""
    if wheel.read_bytes() == rebuilt.read_bytes():
        return None if wheel.name == rebuilt.name else f"its name should be {rebuilt.name}"
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(rebuilt) as new:
        found, expected = old.namelist(), new.namelist()
        if extra := [name for name in found if name not in expected]:
            return f"it holds what it should not: {_listed(extra)}"
        if missing := [name for name in expected if name not in found]:
            return f"it lacks {_listed(missing)}"
        if found != expected:
            return "its members are not in the order in which they are built, or not each once"
        parts = []
        for info in new.infolist():
            try:
                have = _aspects(old, old.getinfo(info.filename))
            except DAMAGE as error:
                parts.append(f"{info.filename} (damaged: {error})")
                continue
            want = _aspects(new, info)
            if odd := [aspect for aspect in want if want[aspect] != have[aspect]]:
                parts.append(f"{info.filename} ({', '.join(odd)})")
    if parts:
        return f"not as it is built again: {_listed(parts)}"
    return "every member is as it is built again, but the zip file around them is not"


def verify_wheel(wheel: Path, patches: Path = PATCHES) -> str:
    """Verify a patched wheel and return the line that says what it is.

    Raises `UserError` that says what differs, if anything does.
    """
    if not wheel.is_file():
        raise UserError(f"{wheel}: there is no such file")
    try:
        with tempfile.TemporaryDirectory(prefix="livekit-procpool-") as scratch:
            folder, cache = Path(scratch, "series"), Path(scratch, "cache")
            folder.mkdir()
            origin, series, stamp = _claim(wheel, folder)
            release, _ = get_release(origin.version, patches)
            _check_pin(origin, release)
            other = _check_patches(series, patches)
            kind = "wheel" if origin.file == release.wheel else "sdist"
            source = fetch(release, "wheel" if kind == "wheel" else "sdist", cache)
            rebuilt = build_wheel(source, series, Path(scratch, "built"), origin.sha256, stamp)
            if differs := difference(wheel, rebuilt):
                raise UserError(differs)
            if other:
                raise UserError(
                    f"it is upstream's file plus the patches in it, but whose are those? {other};"
                    " verify in a checkout of the commit that has it"
                )
            count = len(series.patches)
    except UserError as error:
        raise UserError(f"{wheel.name} is NOT verified: {error}") from None
    except DAMAGE as error:
        raise UserError(f"{wheel.name} is NOT verified: it is damaged: {error}") from None
    return (
        f"{wheel.name} is verified: the {kind} of {PROJECT} {release.version} on the index, sha256"
        f" {origin.sha256}, plus series {series.name}, revision {series.revision} (patches:"
        f" {count}), and nothing else"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Verify wheels, one after the other; stop at the first that is not as it should be."""
    parser = step_parser(__doc__)
    parser.add_argument("wheels", nargs="+", type=Path, metavar="wheel", help="a patched wheel")
    options = parser.parse_args(argv)
    for wheel in options.wheels:
        print(verify_wheel(wheel, options.patches))
    return 0
