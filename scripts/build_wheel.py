"""Build the patched wheel of a release: upstream's files, the series applied, and its provenance.

The version becomes `1.5.11+procpool.N`. Members that no patch touches keep their bytes, order,
mode and time stamp. Nothing is compressed: zlib's output differs between its builds, stored bytes
do not, so the same file comes out on every machine. `SOURCE_DATE_EPOCH` (seconds since 1970, UTC)
stamps the members that we change or add; without it they carry the stamp of METADATA.

The wheel is made from upstream's wheel, or with `--from-sdist` from upstream's sdist, which is
patched and then built with its own backend. The files of the package come out the same, byte for
byte. What differs is in .dist-info: METADATA and WHEEL are those of the pinned backend, and the
provenance names the sdist. So that the two never share a name, that wheel has the build tag
`1sdist` (the binary distribution format), which installers prefer where they are offered both.

Neither `wheel` nor `change-wheel-version` is used: both write members in their own order and
compress them.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import os
import re
import tempfile
import textwrap
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from apply_series import CHANGE_MARK, apply_in_place, content, patched_files
from errors import UserError, one_line, run_main
from fetch import fetch, file_sha256, verify
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version
from pinned_versions import names_a_file, pinned_versions
from releases_table import PATCHES, ROOT, Release, Series, get_release, line_releases, load_releases
from sbom import SBOM_NAME, Origin, bill_of_materials
from sdist import build_unpacked, unpack_sdist
from source_date import source_date
from wheel_index import publish, scratch_beside, yanked_releases

_VERSION_FILE = "livekit/agents/version.py"
_FILE_MODE = 0o100644 << 16
_SDIST_BUILD_TAG = "1sdist"
DateTime = tuple[int, int, int, int, int, int]
_Member = tuple[zipfile.ZipInfo, bytes]


def environment_stamp() -> DateTime | None:
    """Return `SOURCE_DATE_EPOCH` as a zip time stamp, which counts in steps of two seconds.

    None if it is not set. Raise `UserError` if it is no number.
    """
    moment = source_date()
    if moment is None:
        return None
    if not 1980 <= moment.tm_year <= 2107:
        value = os.environ["SOURCE_DATE_EPOCH"]
        raise UserError(
            f"SOURCE_DATE_EPOCH is outside what a zip file can hold, 1980 to 2107: {value!r}"
        )
    return (*moment[:5], moment.tm_sec // 2 * 2)


def _info(name: str, stamp: DateTime, external_attr: int = _FILE_MODE) -> zipfile.ZipInfo:
    """Describe a stored zip member, made on Unix."""
    info = zipfile.ZipInfo(name, stamp)
    info.compress_type = zipfile.ZIP_STORED
    info.create_system = 3
    info.external_attr = external_attr
    return info


def _substitute(pattern: bytes, replacement: bytes, data: bytes, name: str) -> bytes:
    """Replace the one match of `pattern`; raise `UserError` if there is none."""
    text, count = re.subn(
        pattern, lambda match: match[1] + replacement, data, count=1, flags=re.MULTILINE
    )
    if count != 1:
        raise UserError(f"{name} of the release does not state its version where it should")
    return text


def _mark(data: bytes, series: Series) -> bytes:
    """Append the notice of change as a last line, so that no line number moves."""
    revision = f"series {series.name}, revision {series.revision}"
    notice = f"{CHANGE_MARK}, {revision}: see .dist-info/procpool\n"
    return data + (b"" if not data or data.endswith(b"\n") else b"\n") + notice.encode()


def record_row(name: str, data: bytes) -> tuple[str, str, str]:
    """Return a member's row of RECORD.

    Path, sha256 in URL-safe base64 without padding, size in bytes.
    """
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return name, f"sha256={digest}", str(len(data))


def _record(members: list[_Member], name: str) -> bytes:
    """Return the RECORD of a wheel's other members; `name` is its own name."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerows(record_row(info.filename, data) for info, data in members if not info.is_dir())
    table.writerow((name, "", ""))
    return text.getvalue().encode()


def _write(members: list[_Member], path: Path) -> Path:
    """Write the members into a wheel that appears at `path` only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=path.parent) as scratch:
        fresh = Path(scratch, path.name)
        with zipfile.ZipFile(fresh, "w") as archive:
            for info, data in members:
                archive.writestr(info, data)
        os.replace(fresh, path)
    return path


def _notice(origin: Origin, series: Series, rows: list[str]) -> bytes:
    """Return the notice of change that the Apache License 2.0, section 4(b), asks for."""
    names = "\n".join(f"    {patch.name}" for patch in series.patches())
    from_wheel = origin.file.endswith(".whl")
    backend = "" if from_wheel else " METADATA and WHEEL were written by the sdist's build backend."
    rest = f"""\
METADATA and RECORD carry the version with the local label +{series.local_version}, and the files of
procpool and sboms, beside them, were added.{backend} Every other file is upstream's, byte for byte.
As upstream's, this work is under the Apache License, Version 2.0."""
    return f"""\
This wheel is a changed version of livekit-agents {origin.version}.

It is not upstream's release and LiveKit does not maintain it. livekit-agents-procpool built it from
upstream's {"wheel" if from_wheel else "sdist"}, whose sha256 is
    {origin.sha256}
with series {series.name}, revision {series.revision}; the patches, beside this file, were applied
in this order:
{names}

Files changed, with the sha256 of upstream's file and of the file in this wheel:
{chr(10).join(rows)}

{textwrap.fill(one_line(rest), 100, break_on_hyphens=False)}
""".encode()


def _patch_tree(tree: Path, series: Series, version: str) -> dict[str, list[str]]:
    """Apply `series` to an unpacked release, set its version and mark the changed Python files.

    Returns the rows of NOTICE by the name of the changed file.
    """
    names = {name for patch in series.patches() for name in patched_files(patch)}
    before = {name: content(tree / name) for name in sorted({_VERSION_FILE, *names})}
    try:
        apply_in_place(tree, series.patches())
    except UserError as error:
        raise UserError(str(error).replace(str(tree), "the release")) from None
    rows: dict[str, list[str]] = {}
    for name, old in before.items():
        new = content(tree / name)
        if new is not None and name == _VERSION_FILE:
            new = _substitute(rb"^(__version__ = )\S+$", f'"{version}"'.encode(), new, name)
        if new == old:
            continue
        was = hashlib.sha256(old).hexdigest() if old is not None else "not in upstream's release"
        rows[name] = [f"    {name}", f"        upstream: {was}"]
        if new is None:
            rows[name] += ["        removed"]
            continue
        new = _mark(new, series) if name.endswith(".py") else new
        (tree / name).write_bytes(new)
        rows[name] += [f"        in this wheel: {hashlib.sha256(new).hexdigest()}"]
    return rows


def _unpack(members: list[_Member], tree: Path) -> None:
    """Write the files of a wheel into the directory `tree`."""
    for info, data in members:
        path = tree / info.filename
        if not path.resolve().is_relative_to(tree):
            raise UserError(f"the wheel holds an unsafe path: {info.filename}")
        if not info.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def _read_members(wheel: Path) -> list[_Member]:
    """Return the members of a wheel in their order."""
    with zipfile.ZipFile(wheel) as archive:
        return [(info, archive.read(info)) for info in archive.infolist()]


def _from_wheel(
    wheel: Path, tree: Path, series: Series, version: str, old: str, new: str
) -> tuple[list[_Member], dict[str, list[str]]]:
    """Return the members of the pristine `wheel` patched, in its order, and the rows of NOTICE.

    New files of the package follow its old ones; .dist-info is renamed from `old` to `new`.
    """
    members = _read_members(wheel)
    names = {info.filename for info, _ in members}
    for name in (_VERSION_FILE, f"{old}/METADATA", f"{old}/RECORD"):
        if name not in names:
            raise UserError(f"{wheel.name} holds no {name}")
    _unpack([member for member in members if not member[0].filename.startswith(f"{old}/")], tree)
    rows = _patch_tree(tree, series, version)
    package: list[_Member] = []
    info_files: list[_Member] = []
    for info, data in members:
        name = info.filename
        if name == f"{old}/METADATA":
            data = _substitute(rb"^(Version: )\S+$", version.encode(), data, name)
        if name.startswith(f"{old}/"):
            renamed = name.replace(old, new, 1)
            info_files.append((_info(renamed, info.date_time, info.external_attr), data))
        elif name not in rows:
            package.append((info, data))
        elif (tree / name).is_file():
            package.append((info, (tree / name).read_bytes()))
    for name in sorted(rows.keys() - names):
        package.append((_info(name, members[0][0].date_time), (tree / name).read_bytes()))
    return package + info_files, rows


def _from_sdist(
    sdist: Path, tree: Path, series: Series, version: str, new: str
) -> tuple[list[_Member], dict[str, list[str]], dict[str, str]]:
    """Return the members of the wheel that the backend of `sdist`, patched, builds.

    With it the rows of NOTICE, and the names and versions of what built it.
    """
    unpack_sdist(sdist, tree)
    rows = _patch_tree(tree, series, version)
    # Hatchling takes a dynamic version from here, the sdist's own metadata, if it is there.
    if (metadata := content(tree / "PKG-INFO")) is not None:
        metadata = _substitute(rb"^(Version: )\S+$", version.encode(), metadata, "PKG-INFO")
        (tree / "PKG-INFO").write_bytes(metadata)
    wheel, tools = build_unpacked(tree, tree.parent / "built")
    members = []
    for info, data in _read_members(wheel):
        if info.filename == f"{new}/WHEEL":
            data += f"Build: {_SDIST_BUILD_TAG}\n".encode()
        members.append((info, data))
    return members, rows, tools


def _upstream_version(source: Path) -> tuple[Version, str]:
    """Return the version of upstream's wheel or sdist, from its name, and our wheel's tags.

    Raise `UserError` if it is neither, or patched.
    """
    try:
        if source.suffix == ".whl":
            _, version, _, _ = parse_wheel_filename(source.name)
            tags = source.name.split("-", 2)[2]
        else:
            _, version = parse_sdist_filename(source.name)
            tags = f"{_SDIST_BUILD_TAG}-py3-none-any.whl"
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise UserError(str(error)) from None
    if version.local is not None:
        raise UserError(f"{source.name} is already patched: start from a pristine release")
    return version, tags


def build_wheel(
    source: Path, series: Series, out: Path, expected_sha256: str, stamp: DateTime | None = None
) -> Path:
    """Write the patched wheel of a pristine wheel or sdist into the directory `out`.

    `stamp` (UTC) is for the members that we change or add; without one they carry that of METADATA.
    Returns the wheel's path; it appears under its name only when it is complete. Raises `UserError`
    if the sha256 of `source` is not `expected_sha256`, if it is already patched, or if a patch does
    not apply.
    """
    upstream, tags = _upstream_version(source)
    verify(source, expected_sha256)
    distribution = source.name.split("-")[0]
    version = f"{upstream}+{series.local_version}"
    old, new = f"{distribution}-{upstream}.dist-info", f"{distribution}-{version}.dist-info"
    name = f"{distribution}-{version}-{tags}"
    with tempfile.TemporaryDirectory(prefix="livekit-procpool-") as scratch:
        tree = Path(scratch).resolve() / "tree"
        tools: dict[str, str] = {}
        if source.suffix == ".whl":
            members, rows = _from_wheel(source, tree, series, version, old, new)
        else:
            members, rows, tools = _from_sdist(source, tree, series, version, new)
    infos = {info.filename: info for info, _ in members}
    if f"{new}/METADATA" not in infos:
        raise UserError(f"the wheel that was built of {source.name} is not of {version}")
    stamp = stamp or infos[f"{new}/METADATA"].date_time
    changed = {*rows, f"{new}/METADATA"}
    if source.suffix != ".whl":
        changed.add(f"{new}/WHEEL")
    written: list[_Member] = []
    for info, data in members:
        if info.filename != f"{new}/RECORD":
            date_time = stamp if info.filename in changed else info.date_time
            written.append((_info(info.filename, date_time, info.external_attr), data))
    origin = Origin(str(upstream), source.name, expected_sha256, series.name, series.revision)
    notice = _notice(origin, series, [row for part in rows.values() for row in part])
    sbom = bill_of_materials(origin, series, name, datetime(*stamp, tzinfo=UTC), tools)
    added = [
        ("procpool/NOTICE", notice),
        ("procpool/series", (series.path / "series").read_bytes()),
    ]
    added += [(f"procpool/{patch.name}", patch.read_bytes()) for patch in series.patches()]
    added += [(f"sboms/{SBOM_NAME}", sbom)]
    written += [(_info(f"{new}/{path}", stamp), data) for path, data in added]
    record = _info(f"{new}/RECORD", stamp, infos[f"{new}/RECORD"].external_attr)
    written.append((record, _record(written, record.filename)))
    return _write(written, out / name)


def build_release(release: Release, series: Series, out: Path, from_sdist: bool = False) -> Path:
    """Fetch `release` and build its patched wheel in `out`, with the stamp of `SOURCE_DATE_EPOCH`.

    Raise `UserError` as `build_wheel` does.
    """
    source = fetch(release, "sdist" if from_sdist else "wheel")
    digest = release.sdist_sha256 if from_sdist else release.wheel_sha256
    return build_wheel(source, series, out, digest, environment_stamp())


def _versions(arguments: Iterable[str]) -> list[str]:
    """Return the versions that the arguments name: each a version, or a file that pins some."""
    versions: list[str] = []
    for argument in arguments:
        named = names_a_file(argument)
        versions += pinned_versions(Path(argument)) if named else [argument]
    return versions


def main() -> int:
    """Build the patched wheels of the named releases, and print their sha256 and paths.

    `SHA256SUMS` and the package index `simple` are written beside them.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "versions",
        nargs="*",
        metavar="version",
        help="a supported release, such as 1.5.11, or a requirements.txt, uv.lock, poetry.lock or"
        " pylock.toml that pins one",
    )
    parser.add_argument("--all", action="store_true", help="every supported release")
    parser.add_argument(
        "--line", action="append", default=[], help="every release of a line, such as v1.4.2"
    )
    parser.add_argument(
        "--from-sdist", action="store_true", help="build from upstream's sdist, not its wheel"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="directory for the wheels")
    parser.add_argument(
        "--patches", type=Path, default=PATCHES, help="folder that holds releases.toml"
    )
    options = parser.parse_args()
    versions = _versions(options.versions)
    for line in options.line:
        versions += [release.version for release in line_releases(line, options.patches)]
    if options.all:
        versions += load_releases(options.patches)
    if not versions:
        raise UserError("which release? give a version, a file that pins one, --line LINE or --all")
    # Look every release up before the first is built: a typing error leaves nothing half done.
    chosen = {r.version: (r, s) for r, s in (get_release(v, options.patches) for v in versions)}
    with scratch_beside(options.out) as scratch:
        fresh = [
            build_release(release, series, Path(scratch, "built"), options.from_sdist)
            for release, series in chosen.values()
        ]
        for path in publish(fresh, options.out, Path(scratch), yanked_releases(options.patches)):
            print(f"{file_sha256(path)}  {path}")
    return 0


if __name__ == "__main__":
    run_main(main)
