"""Publish wheels in a directory: with `SHA256SUMS`, and a static package index (PEP 503).

`sha256sum -c SHA256SUMS` checks the wheels. The index is `simple/`; its links are relative, so any
web server or bucket can serve the directory, under any URL. dumb-pypi makes its pages. It leaves
the plus sign of a local version as it is in links, which buckets take for a space: links are
mended. Run alone, this script writes both anew for the wheels that are in a directory.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
from collections.abc import Container, Iterator
from pathlib import Path
from urllib.parse import quote

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from procpool.base.errors import UserError, one_line, os_problem_in, writing
from procpool.base.files import PATCHES, file_sha256
from procpool.base.scratch import alone, scratch_folder, sweep
from procpool.catalog.releases import PROJECT, load_releases
from procpool.wheels.wheel import wheel_metadata

_SUMS = "SHA256SUMS"
_INDEX = "simple"
_SCRATCH = ".wheels-"
# From simple/livekit-agents/ to where the wheels are.
_WHEELS = "../.."


def yanked_releases(patches: Path = PATCHES) -> set[str]:
    """Return the versions that upstream has yanked (PEP 592)."""
    return {release.version for release in load_releases(patches).values() if release.yanked}


def _entry(wheel: Path, digest: str, yanked: Container[str]) -> dict[str, str]:
    """Return what dumb-pypi wants to know about a wheel.

    Raise `UserError` if it is no wheel.
    """
    try:
        name, version, _, _ = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as error:
        raise UserError(f"{wheel}: {error}: remove it and try again") from None
    entry = {"filename": wheel.name, "hash": f"sha256={digest}"}
    if requires_python := wheel_metadata(wheel).get("requires_python"):
        entry["requires_python"] = requires_python
    if name == PROJECT and version.public in yanked:
        entry["yanked_reason"] = f"upstream has yanked {version.public}"
    return entry


def _write_index(entries: list[dict[str, str]], scratch: Path) -> Path:
    """Have dumb-pypi write an index of the wheels in `scratch`, and return its directory."""
    listing = scratch / "wheels.json"
    listing.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), "utf-8")
    command = [sys.executable, "-m", "dumb_pypi.main", "--package-list-json", str(listing)]
    command += ["--packages-url", _WHEELS, "--output-dir", str(scratch / "index")]
    command += ["--no-generate-timestamp", "--no-per-release-json"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        problem = os_problem_in(result.stderr, str(scratch)) or one_line(result.stderr)[-200:]
        raise UserError(f"dumb-pypi could not write the index: {problem}")
    index = scratch / "index" / _INDEX
    for page in index.glob("*/index.html"):
        text = page.read_text("utf-8")
        for entry in entries:
            name = entry["filename"]
            text = text.replace(f'"{_WHEELS}/{name}#', f'"{_WHEELS}/{quote(name)}#')
        page.write_text(text, "utf-8")
    return index


def publish(fresh: list[Path], out: Path, scratch: Path, yanked: Container[str]) -> list[Path]:
    """Move the wheels `fresh` into the directory `out`, with sums and index of all wheels there.

    `scratch` is an empty directory on the same file system. Nothing in `out` changes before all is
    written, and one process at a time does it. Returns the new paths of the wheels. Raises
    `UserError` if a wheel in `out` is damaged, or if `out` cannot be written.
    """
    with writing(out, "--out"), alone(out.absolute().parent):
        wheels = {wheel.name: wheel for wheel in [*out.glob("*.whl"), *fresh]}
        digests = {name: file_sha256(wheel) for name, wheel in sorted(wheels.items())}
        entries = [_entry(wheels[name], digest, yanked) for name, digest in digests.items()]
        index = _write_index(entries, scratch)
        sums = scratch / _SUMS
        sums.write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()), "utf-8")

        out.mkdir(parents=True, exist_ok=True)
        moved = [out / wheel.name for wheel in fresh]
        for wheel, path in zip(fresh, moved, strict=True):
            os.replace(wheel, path)
        os.replace(sums, out / _SUMS)
        if (out / _INDEX).exists():
            (out / _INDEX).rename(scratch / "old-index")
        index.rename(out / _INDEX)
    return moved


@contextlib.contextmanager
def scratch_beside(out: Path) -> Iterator[Path]:
    """Make a temporary directory on the file system of the directory `out`, which may not exist.

    What a killed run has left there is removed. Raise `UserError` if nothing can be written there.
    """
    parent = out if out.is_dir() else out.absolute().parent
    with contextlib.ExitStack() as stack:
        with writing(out, "--out"):
            parent.mkdir(parents=True, exist_ok=True)
            if not out.is_dir() and out.exists():
                raise NotADirectoryError(errno.ENOTDIR, "", str(out))
            sweep(out.absolute().parent, _SCRATCH)
            scratch = stack.enter_context(scratch_folder(parent, _SCRATCH))
        yield scratch
