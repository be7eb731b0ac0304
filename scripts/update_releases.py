"""Write `patches/releases.toml` from the metadata of the package index.

Takes every final release from 1.0.0 on that lies between `first` and `last` of a
`patches/*/series.toml`. On any other, and on pre-releases newer than the newest final one, the
series are tried, the newest first: a release is added if one applies and the suite passes there,
and the reason is printed if not.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import tomlkit
from errors import UserError, run_main
from fetch import fetch, wheel_requirements
from package_index import FIRST, index_url, read_index, releases_on_index
from packaging.version import Version
from releases_table import (
    PATCHES,
    PROJECT,
    Release,
    Series,
    load_all_series,
    load_releases,
    replace_file,
)
from try_release import try_release

_HEADER = """\
Every pinned release. Written by scripts/update_releases.py from the index's metadata, never by
hand; run `nox -s releases` to write it anew. `uploaded` is the upload time of the wheel, in UTC;
dependencies are resolved as of `dependencies_as_of`: two days after the upload of the first release
of a row of releases whose requirements are the same."""


def fitting_series(release: Release, series: Iterable[Series]) -> Series | None:
    """Return the series whose range holds a final release, or None.

    Raise `UserError` if there are two.
    """
    version = Version(release.version)
    if release.preview:
        return None
    found = [s for s in series if Version(s.first) <= version <= Version(s.last)]
    if len(found) > 1:
        names = ", ".join(s.name for s in found)
        raise UserError(f"{version} is claimed by more than one series: {names}")
    return found[0] if found else None


def pool_sha256(release: Release) -> str:
    """Return the sha256 of the release's pristine `ipc/proc_pool.py`.

    Raise `UserError` as `fetch` does.
    """
    with zipfile.ZipFile(fetch(release)) as archive:
        return hashlib.sha256(archive.read("livekit/agents/ipc/proc_pool.py")).hexdigest()


def dependencies_as_of(release: Release, previous: Release | None) -> str:
    """Return the date, RFC 3339, as of which the dependencies of a new release are resolved.

    It is that of the `previous` release where both declare the same requirements: one set of
    dependencies, and one environment, then serves both. Raises `UserError` as `fetch` does.
    """
    if previous is None or release.requires_python != previous.requires_python:
        return release.dependencies_as_of
    same = wheel_requirements(fetch(release)) == wheel_requirements(fetch(previous))
    return (previous if same else release).dependencies_as_of


def widen(series: Series, version: str) -> None:
    """Let the range of `series` hold `version`, in its `series.toml`."""
    path = series.path / "series.toml"
    document = tomlkit.parse(path.read_text("utf-8"))
    document["first"] = str(min(Version(series.first), Version(version)))
    document["last"] = str(max(Version(series.last), Version(version)))
    replace_file(path, tomlkit.dumps(document))


def render(releases: Iterable[Release]) -> str:
    """Return the text of `releases.toml` for these releases."""
    document = tomlkit.document()
    for line in _HEADER.splitlines():
        document.add(tomlkit.comment(line))
    tables = tomlkit.aot()
    for release in releases:
        table = tomlkit.table()
        for name in Release.__dataclass_fields__:
            table.add(name, getattr(release, name))
        tables.append(table)
    document.add("releases", tables)
    return tomlkit.dumps(document)


def main() -> int:
    """Write the table; return 1 if a final release on the index is in no series' range.

    The table is replaced as a whole, or left alone when anything fails.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--patches", type=Path, default=PATCHES, help="folder that holds the series"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the table would change"
    )
    options = parser.parse_args()
    series = load_all_series(options.patches)
    table: Path = options.patches / "releases.toml"
    known = load_releases(options.patches) if table.is_file() else {}
    rows: list[Release] = []
    uncovered = []
    previous: Release | None = None
    pinned = {release.wheel for release in known.values()}
    on_index = releases_on_index(read_index(PROJECT, index_url()), pinned)
    newest = max((Version(r.version) for r in on_index if not r.preview), default=FIRST)
    for release in on_index:
        if release.preview and Version(release.version) < newest:
            continue  # a final release has come since
        old = known.get(release.version)
        if old is not None and old.wheel_sha256 != release.wheel_sha256:
            old = None
        as_of = old.dependencies_as_of if old else dependencies_as_of(release, previous)
        release = dataclasses.replace(release, dependencies_as_of=as_of)
        previous = release
        fitting = fitting_series(release, series)
        if fitting is None and old is not None and release.preview:
            fitting = next((s for s in series if s.name == old.series), None)
        if fitting is None:
            kind = "preview" if release.preview else "release"
            print(f"{release.version}: a {kind} that no series names; trying them", flush=True)
            fitting, reason = try_release(release, series)
            print(f"{release.version}: {reason}", flush=True)
            if fitting is None:
                if not release.preview:
                    uncovered.append(release.version)
                continue
            print(f"{release.version}: added, with series {fitting.name}")
            if not options.check and not release.preview:
                widen(fitting, release.version)
        digest = old.pool_sha256 if old else pool_sha256(release)
        rows.append(dataclasses.replace(release, series=fitting.name, pool_sha256=digest))
    if not rows:
        raise UserError("the index lists no release that a series fits")
    text = render(rows)
    if table.is_file() and table.read_text("utf-8") == text:
        print(f"{table.name}: {len(rows)} releases, unchanged")
    elif options.check:
        raise UserError(f"{table.name} differs from the index: run 'nox -s releases'")
    else:
        replace_file(table, text)
        print(f"{table.name}: {len(rows)} releases written")
    for version in uncovered:
        print(f"error: {version} is not covered: see above", file=sys.stderr)
    return 1 if uncovered else 0


if __name__ == "__main__":
    run_main(main)
