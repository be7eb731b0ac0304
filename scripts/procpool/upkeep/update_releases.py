"""Write `patches/releases.toml` from the metadata of the package index.

A release that is in the table keeps its series. On every other final release from 1.0.0 on, and on
pre-releases newer than the newest final one, the series are tried, the newest first: a release is
added if one applies and the suite passes there, and the reason is printed if not.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from packaging.version import Version
from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import replace_file
from procpool.catalog.fetch import fetch
from procpool.catalog.index import FIRST, index_url, read_index, releases_on_index
from procpool.catalog.releases import PROJECT, Release, load_releases
from procpool.catalog.series import Series, load_all_series
from procpool.upkeep.try_release import try_release
from procpool.wheels.wheel import wheel_requirements

# Tries the series on a release; returns the one that fits or None, and why.
Try = Callable[[Release], tuple[Series | None, str]]

_HEADER = """\
Every pinned release. Written by `nox -s releases` from the index's metadata, never by hand.
`uploaded` is the upload time of the wheel, in UTC; dependencies are resolved as of
`dependencies_as_of`: two days after the upload of the first release of a row of releases whose
requirements are the same."""


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


@dataclass(frozen=True)
class Decision:
    """What becomes of a release on the index: its row of the table or None, and what to say."""

    row: Release | None
    said: list[str]

    def uncovered(self, release: Release) -> bool:
        """Whether an operator could be pinned to the release, and no series is there for it."""
        return self.row is None and not release.preview


def decide(release: Release, known: Release | None, names: Iterable[str], try_: Try) -> Decision:
    """Decide on one release: a known one keeps its series, on any other `try_` is called.

    `known` is its row of the table, `names` are those of the series that there are. A release whose
    wheel is another one than in the table counts as not known.
    """
    if known and known.wheel_sha256 == release.wheel_sha256 and known.series in set(names):
        row = dataclasses.replace(release, series=known.series, pool_sha256=known.pool_sha256)
        return Decision(row, [])
    kind = "preview" if release.preview else "release"
    series, reason = try_(release)
    said = [f"{release.version}: a {kind} that has no series: {reason}"]
    if series is None:
        return Decision(None, said)
    said.append(f"{release.version}: added, with series {series.name}")
    digest = pool_sha256(release)
    return Decision(dataclasses.replace(release, series=series.name, pool_sha256=digest), said)


def current(on_index: list[Release]) -> list[Release]:
    """Return the releases without the previews that a final release has come after."""
    newest = max((Version(r.version) for r in on_index if not r.preview), default=FIRST)
    return [r for r in on_index if not r.preview or Version(r.version) > newest]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table; return 1 if no series is there for a final release on the index.

    The table is replaced as a whole, or left alone when anything fails.
    """
    parser = step_parser(__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the table would change"
    )
    options = parser.parse_args(argv)
    series = load_all_series(options.patches)
    table: Path = options.patches / "releases.toml"
    known = load_releases(options.patches) if table.is_file() else {}
    pinned = {release.wheel for release in known.values()}
    rows: list[Release] = []
    uncovered = []
    previous: Release | None = None
    for release in current(releases_on_index(read_index(PROJECT, index_url()), pinned)):
        old = known.get(release.version)
        as_of = old.dependencies_as_of if old else dependencies_as_of(release, previous)
        previous = release = dataclasses.replace(release, dependencies_as_of=as_of)
        decision = decide(release, old, [s.name for s in series], lambda r: try_release(r, series))
        for line in decision.said:
            print(line, flush=True)
        rows += [decision.row] if decision.row else []
        uncovered += [release.version] if decision.uncovered(release) else []
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
