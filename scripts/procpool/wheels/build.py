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

import csv
import hashlib
import io
import itertools
import os
import re
import tempfile
import textwrap
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version
from procpool.base.errors import UserError, one_line, writing
from procpool.base.scratch import scratch_folder
from procpool.base.source_date import source_date
from procpool.catalog.fetch import fetch, verify
from procpool.catalog.releases import Release
from procpool.catalog.series import Series, numbered
from procpool.patching.apply import CHANGE_MARK, apply_in_place, content
from procpool.patching.patch import patched_files
from procpool.wheels.sbom import SBOM_NAME, Origin, bill_of_materials
from procpool.wheels.sdist import build_unpacked, unpack_sdist
from procpool.wheels.wheel import record_row

_VERSION_FILE = "livekit/agents/version.py"
_FILE_MODE = 0o100644 << 16
_SDIST_BUILD_TAG = "1sdist"
DateTime = tuple[int, int, int, int, int, int]
_Member = tuple[zipfile.ZipInfo, bytes]


@dataclass(frozen=True)
class WheelName:
    """The parts of a patched wheel's name; `tags` are all that follow the version."""

    distribution: str
    upstream: Version
    local: str
    tags: str

    @property
    def version(self) -> str:
        """The version with its local label."""
        return f"{self.upstream}+{self.local}"

    @property
    def file(self) -> str:
        """The name of the file."""
        return f"{self.distribution}-{self.version}-{self.tags}.whl"

    @property
    def info(self) -> str:
        """The .dist-info folder in the wheel."""
        return f"{self.distribution}-{self.version}.dist-info"

    @property
    def upstream_info(self) -> str:
        """The .dist-info folder in upstream's wheel."""
        return f"{self.distribution}-{self.upstream}.dist-info"


@dataclass(frozen=True)
class Contents:
    """What a patched wheel holds, without the provenance that is added to it.

    `changed` are the names of the members that are not upstream's; `rows` are NOTICE's, of the
    files that were changed; `tools` what built the wheel, if not this project, with its versions.
    """

    members: list[_Member]
    changed: frozenset[str]
    rows: list[str]
    tools: dict[str, str]


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
    names = "\n".join(f"    {name}" for name in numbered(series.patches))
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
    names = {name for patch in series.patches for name in patched_files(patch)}
    before = {name: content(tree / name) for name in sorted({_VERSION_FILE, *names})}
    try:
        apply_in_place(tree, series.patches)
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


def _from_wheel(wheel: Path, tree: Path, series: Series, name: WheelName) -> Contents:
    """Return the members of the pristine `wheel` patched, in its order.

    New files of the package follow its old ones; .dist-info is renamed.
    """
    old, members = name.upstream_info, _read_members(wheel)
    names = {info.filename for info, _ in members}
    for path in (_VERSION_FILE, f"{old}/METADATA", f"{old}/RECORD"):
        if path not in names:
            raise UserError(f"{wheel.name} holds no {path}")
    _unpack([member for member in members if not member[0].filename.startswith(f"{old}/")], tree)
    rows = _patch_tree(tree, series, name.version)
    package: list[_Member] = []
    info_files: list[_Member] = []
    for info, data in members:
        path = info.filename
        if path == f"{old}/METADATA":
            data = _substitute(rb"^(Version: )\S+$", name.version.encode(), data, path)
        if path.startswith(f"{old}/"):
            renamed = path.replace(old, name.info, 1)
            info_files.append((_info(renamed, info.date_time, info.external_attr), data))
        elif path not in rows:
            package.append((info, data))
        elif (tree / path).is_file():
            package.append((info, (tree / path).read_bytes()))
    for path in sorted(rows.keys() - names):
        package.append((_info(path, members[0][0].date_time), (tree / path).read_bytes()))
    changed = frozenset({*rows, f"{name.info}/METADATA"})
    return Contents(package + info_files, changed, list(itertools.chain(*rows.values())), {})


def _from_sdist(sdist: Path, tree: Path, series: Series, name: WheelName) -> Contents:
    """Return the members of the wheel that the backend of `sdist`, patched, builds."""
    unpack_sdist(sdist, tree)
    rows = _patch_tree(tree, series, name.version)
    # Hatchling takes a dynamic version from here, the sdist's own metadata, if it is there.
    if (metadata := content(tree / "PKG-INFO")) is not None:
        version = name.version.encode()
        metadata = _substitute(rb"^(Version: )\S+$", version, metadata, "PKG-INFO")
        (tree / "PKG-INFO").write_bytes(metadata)
    wheel, tools = build_unpacked(tree, tree.parent / "built")
    members = []
    for info, data in _read_members(wheel):
        if info.filename == f"{name.info}/WHEEL":
            data += f"Build: {_SDIST_BUILD_TAG}\n".encode()
        members.append((info, data))
    changed = frozenset({*rows, f"{name.info}/METADATA", f"{name.info}/WHEEL"})
    return Contents(members, changed, list(itertools.chain(*rows.values())), tools)


def _wheel_name(source: Path, series: Series) -> WheelName:
    """Return the name of the wheel that is made of upstream's wheel or sdist.

    Raise `UserError` if it is neither, or patched.
    """
    try:
        if source.suffix == ".whl":
            _, version, _, _ = parse_wheel_filename(source.name)
            tags = source.stem.split("-", 2)[2]
        else:
            _, version = parse_sdist_filename(source.name)
            tags = f"{_SDIST_BUILD_TAG}-py3-none-any"
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise UserError(str(error)) from None
    if version.local is not None:
        raise UserError(f"{source.name} is already patched: start from a pristine release")
    return WheelName(source.name.split("-")[0], version, series.local_version, tags)


def _stamped(contents: Contents, name: WheelName, stamp: DateTime) -> list[_Member]:
    """Return the members as they are written, all but RECORD: the changed ones with `stamp`."""
    return [
        (
            _info(
                info.filename,
                stamp if info.filename in contents.changed else info.date_time,
                info.external_attr,
            ),
            data,
        )
        for info, data in contents.members
        if info.filename != f"{name.info}/RECORD"
    ]


def _provenance(
    contents: Contents, name: WheelName, origin: Origin, series: Series, stamp: DateTime
) -> list[_Member]:
    """Return the members that say what the wheel was made of: notice, series, bill of materials."""
    patches = numbered(series.patches)
    files = {
        "procpool/NOTICE": _notice(origin, series, contents.rows),
        "procpool/series": "".join(f"{patch}\n" for patch in patches).encode(),
    }
    files |= {f"procpool/{patch}": path.read_bytes() for patch, path in patches.items()}
    moment = datetime(*stamp, tzinfo=UTC)
    sbom = bill_of_materials(origin, series, name.file, moment, contents.tools)
    files[f"sboms/{SBOM_NAME}"] = sbom
    return [(_info(f"{name.info}/{path}", stamp), data) for path, data in files.items()]


def build_wheel(
    source: Path, series: Series, out: Path, expected_sha256: str, stamp: DateTime | None = None
) -> Path:
    """Write the patched wheel of a pristine wheel or sdist into the directory `out`.

    `stamp` (UTC) is for the members that we change or add; without one they carry that of METADATA.
    Returns the wheel's path; it appears under its name only when it is complete. Raises `UserError`
    if the sha256 of `source` is not `expected_sha256`, if it is already patched, or if a patch does
    not apply.
    """
    name = _wheel_name(source, series)
    verify(source, expected_sha256)
    read = _from_wheel if source.suffix == ".whl" else _from_sdist
    with (
        writing(Path(tempfile.gettempdir()), "TMPDIR"),
        scratch_folder(Path(tempfile.gettempdir()), "livekit-procpool-wheel-") as scratch,
    ):
        contents = read(source, scratch / "tree", series, name)
    infos = {info.filename: info for info, _ in contents.members}
    if f"{name.info}/METADATA" not in infos:
        raise UserError(f"the wheel that was built of {source.name} is not of {name.version}")
    stamp = stamp or infos[f"{name.info}/METADATA"].date_time
    upstream = str(name.upstream)
    origin = Origin(upstream, source.name, expected_sha256, series.name, series.revision)
    members = _stamped(contents, name, stamp)
    members += _provenance(contents, name, origin, series, stamp)
    record = _info(f"{name.info}/RECORD", stamp, infos[f"{name.info}/RECORD"].external_attr)
    members.append((record, _record(members, record.filename)))
    return _write(members, out / name.file)


def build_release(release: Release, series: Series, out: Path, from_sdist: bool = False) -> Path:
    """Fetch `release` and build its patched wheel in `out`, with the stamp of `SOURCE_DATE_EPOCH`.

    Raise `UserError` as `build_wheel` does.
    """
    source = fetch(release, "sdist" if from_sdist else "wheel")
    digest = release.sdist_sha256 if from_sdist else release.wheel_sha256
    return build_wheel(source, series, out, digest, environment_stamp())
