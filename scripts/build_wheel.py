"""Build the patched wheel of a release: upstream's wheel, the series applied, and its provenance.

The version becomes `1.5.11+procpool.N`. Members that no patch touches keep their bytes, order,
mode and time stamp. Nothing is compressed: zlib's output differs between its builds, stored bytes
do not, so the same file comes out on every machine. `SOURCE_DATE_EPOCH` (seconds since 1970, UTC)
stamps the members that we change or add; without it they carry the stamp of upstream's METADATA.

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
import time
import zipfile
from pathlib import Path

from apply_series import CHANGE_MARK, apply_in_place
from errors import UserError, run_main
from fetch import fetch, verify
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from releases_table import PATCHES, ROOT, Release, Series, get_release

_VERSION_FILE = "livekit/agents/version.py"
_FILE_MODE = 0o100644 << 16
_DateTime = tuple[int, int, int, int, int, int]
_Member = tuple[zipfile.ZipInfo, bytes]


def _stamp(fallback: _DateTime) -> _DateTime:
    """Return `SOURCE_DATE_EPOCH` as a zip time stamp, or `fallback`.

    Raise `UserError` if it is no number.
    """
    value = os.environ.get("SOURCE_DATE_EPOCH")
    if not value:
        return fallback
    try:
        moment = time.gmtime(int(value))
    except (ValueError, OverflowError, OSError):
        raise UserError(f"SOURCE_DATE_EPOCH is not a number of seconds: {value!r}") from None
    if not 1980 <= moment.tm_year <= 2107:
        raise UserError(
            f"SOURCE_DATE_EPOCH is outside what a zip file can hold, 1980 to 2107: {value!r}"
        )
    return moment[:6]


def _info(name: str, stamp: _DateTime, external_attr: int = _FILE_MODE) -> zipfile.ZipInfo:
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


def _record_row(name: str, data: bytes) -> tuple[str, str, str]:
    """Return a member's row of RECORD.

    Path, sha256 in URL-safe base64 without padding, size in bytes.
    """
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return name, f"sha256={digest}", str(len(data))


def _notice(release: str, upstream_sha256: str, series: Series, rows: list[str]) -> bytes:
    """Return the notice of change that the Apache License 2.0, section 4(b), asks for."""
    names = "\n".join(f"    {patch.name}" for patch in series.patches())
    return f"""\
This wheel is a changed version of livekit-agents {release}.

It is not upstream's release and LiveKit does not maintain it. livekit-agents-procpool built it from
upstream's wheel, whose sha256 is
    {upstream_sha256}
with series {series.name}, revision {series.revision}; the patches, beside this file, were applied
in this order: {names}

Files changed, with the sha256 of upstream's file and of the file in this wheel:
{chr(10).join(rows)}

METADATA and RECORD carry the version with the local label +{series.local_version}, and the files
of this directory were added. Every other file is upstream's, byte for byte. As upstream's, this
work is under the Apache License, Version 2.0.
""".encode()


def _patch_members(members: list[_Member], series: Series, stamp: _DateTime) -> list[_Member]:
    """Return the members with the series applied, in upstream's order.

    New files follow the old ones.
    """
    with tempfile.TemporaryDirectory(prefix="livekit-procpool-") as scratch:
        root = Path(scratch).resolve() / "tree"
        for info, data in members:
            if info.is_dir():
                continue
            path = root / info.filename
            if not path.resolve().is_relative_to(root):
                raise UserError(f"the wheel holds an unsafe path: {info.filename}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        try:
            changed = apply_in_place(root, series.patches())
        except UserError as error:
            raise UserError(str(error).replace(str(root), "the wheel")) from None
        now = {name: (root / name).read_bytes() for name in changed if (root / name).is_file()}
    result: list[_Member] = []
    for info, data in members:
        if info.filename not in changed:
            result.append((info, data))
        elif info.filename in now:
            result.append((_info(info.filename, stamp, info.external_attr), now.pop(info.filename)))
    return result + [(_info(name, stamp), data) for name, data in sorted(now.items())]


def build_wheel(wheel: Path, series: Series, out: Path, expected_sha256: str) -> Path:
    """Write the patched wheel of the pristine `wheel` into the directory `out` and return its path.

    The file appears under its name only when it is complete. Raises `UserError` if the wheel's
    sha256 is not `expected_sha256`, if it is already patched, or if a patch does not apply.
    """
    try:
        _, upstream, _, _ = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as error:
        raise UserError(str(error)) from None
    if upstream.local is not None:
        raise UserError(f"{wheel.name} is already patched: start from a pristine release")
    verify(wheel, expected_sha256)
    distribution, _, rest = wheel.name.split("-", 2)
    version = f"{upstream}+{series.local_version}"
    old, new = f"{distribution}-{upstream}.dist-info", f"{distribution}-{version}.dist-info"

    with zipfile.ZipFile(wheel) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    originals = {info.filename: (info, data) for info, data in members}
    for name in (_VERSION_FILE, f"{old}/METADATA", f"{old}/RECORD"):
        if name not in originals:
            raise UserError(f"{wheel.name} holds no {name}")
    stamp = _stamp(originals[f"{old}/METADATA"][0].date_time)

    package = [member for member in members if not member[0].filename.startswith(f"{old}/")]
    written: list[_Member] = []
    rows: list[str] = []
    for info, data in _patch_members(package, series, stamp):
        name, before = info.filename, originals.get(info.filename)
        if name == _VERSION_FILE:
            data = _substitute(rb"^(__version__ = )\S+$", f'"{version}"'.encode(), data, name)
            info = _info(name, stamp, info.external_attr)
        if before is None or data != before[1]:
            if name.endswith(".py"):
                data = _mark(data, series)
            was = hashlib.sha256(before[1]).hexdigest() if before else "not in upstream's wheel"
            rows += [f"    {name}", f"        upstream {upstream}: {was}"]
            rows += [f"        in this wheel: {hashlib.sha256(data).hexdigest()}"]
        written.append((_info(name, info.date_time, info.external_attr), data))
    kept = {info.filename for info, _ in written}
    for info, _ in package:
        if info.filename not in kept:
            rows += [f"    {info.filename}", "        removed"]

    for info, data in members:
        if not info.filename.startswith(f"{old}/") or info.filename == f"{old}/RECORD":
            continue
        name, date_time = info.filename.replace(old, new, 1), info.date_time
        if info.filename == f"{old}/METADATA":
            data, date_time = _substitute(rb"^(Version: )\S+$", version.encode(), data, name), stamp
        written.append((_info(name, date_time, info.external_attr), data))
    added = [("NOTICE", _notice(str(upstream), expected_sha256, series, rows))]
    added += [("series", (series.path / "series").read_bytes())]
    added += [(patch.name, patch.read_bytes()) for patch in series.patches()]
    written += [(_info(f"{new}/procpool/{name}", stamp), data) for name, data in added]

    record = io.StringIO()
    table = csv.writer(record, lineterminator="\n")
    table.writerows(_record_row(info.filename, data) for info, data in written if not info.is_dir())
    table.writerow((f"{new}/RECORD", "", ""))
    record_attr = originals[f"{old}/RECORD"][0].external_attr
    written.append((_info(f"{new}/RECORD", stamp, record_attr), record.getvalue().encode()))

    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{distribution}-{version}-{rest}"
    with tempfile.TemporaryDirectory(prefix=".build-", dir=out) as scratch:
        fresh = Path(scratch, path.name)
        with zipfile.ZipFile(fresh, "w") as archive:
            for info, data in written:
                archive.writestr(info, data)
        os.replace(fresh, path)
    return path


def build_release(release: Release, series: Series, out: Path) -> Path:
    """Fetch `release` and build its patched wheel in `out`.

    Raise `UserError` as `build_wheel` does.
    """
    return build_wheel(fetch(release), series, out, release.wheel_sha256)


def main() -> int:
    """Build the patched wheels of the named releases and print their sha256 and paths."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "versions", nargs="+", metavar="version", help="a supported release, such as 1.5.11"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="directory for the wheels")
    parser.add_argument(
        "--patches", type=Path, default=PATCHES, help="folder that holds releases.toml"
    )
    options = parser.parse_args()
    # Look every release up before the first is built: a typing error leaves nothing half done.
    for release, series in [get_release(version, options.patches) for version in options.versions]:
        path = build_release(release, series, options.out)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{digest}  {path}")
    return 0


if __name__ == "__main__":
    run_main(main)
