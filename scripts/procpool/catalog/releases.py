"""The table of supported releases, `patches/releases.toml`, and the series that fits each release.

The table is written by `nox -s releases` and never by hand. Run alone, this module prints the
releases that are supported, one a line.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import PATCHES
from procpool.base.pythons import pythons_for
from procpool.catalog.series import (
    Series,
    line_of,
    load_all_series,
    load_lines,
    load_series,
)

PROJECT = "livekit-agents"
# The release of the bug report, livekit/agents#5868.
REPORTED = "1.5.11"


@dataclass(frozen=True)
class Release:
    """One release of livekit-agents.

    `uploaded` is the wheel's upload time, RFC 3339 with a time zone. Uploads after
    `dependencies_as_of`, RFC 3339 too, are ignored when dependencies are resolved. The hashes are
    64 lower-case hex digits; `pool_sha256` is that of the pristine `ipc/proc_pool.py`. A preview
    may have wheels for several platforms, of which one is pinned, and no sdist (no hash).
    """

    version: str
    uploaded: str
    dependencies_as_of: str
    requires_python: str
    wheel: str
    wheel_sha256: str
    sdist_sha256: str
    pool_sha256: str
    yanked: bool
    series: str

    @property
    def preview(self) -> bool:
        """Whether it is an alpha, a beta or a release candidate (PEP 440)."""
        return Version(self.version).is_prerelease

    @property
    def pythons(self) -> list[str]:
        """The Pythons that the release is tested on, oldest first, such as "3.10"."""
        return pythons_for(self.requires_python)


def _read_release(row: dict[str, object]) -> Release:
    """Turn one `[[releases]]` table into a `Release`.

    Raise `ValueError` for what is missing or wrong.
    """
    fields = Release.__dataclass_fields__
    if row.keys() != fields.keys():
        odd = ", ".join(sorted(row.keys() ^ fields.keys()))
        raise ValueError(f"missing or unknown keys: {odd}")
    for name, value in row.items():
        if type(value) is not (bool if name == "yanked" else str):
            raise ValueError(f"{name} has the wrong type")
    release = Release(**row)  # type: ignore[arg-type]
    Version(release.version)
    SpecifierSet(release.requires_python)
    for name in ("uploaded", "dependencies_as_of"):
        if datetime.datetime.fromisoformat(getattr(release, name)).tzinfo is None:
            raise ValueError(f"{name} has no time zone")
    digests = [release.wheel_sha256, release.pool_sha256]
    if release.sdist_sha256 or not release.preview:
        digests.append(release.sdist_sha256)
    for digest in digests:
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError(f"not a sha256: {digest!r}")
    return release


def load_releases(patches: Path = PATCHES) -> dict[str, Release]:
    """Read and check `releases.toml` in the folder `patches`.

    Returns the releases by version, oldest first. Raises `UserError` if the table is missing or
    wrong.
    """
    table = patches / "releases.toml"
    try:
        rows = tomllib.loads(table.read_text("utf-8")).get("releases", [])
    except FileNotFoundError:
        raise UserError(f"{table} is missing: run 'nox -s releases' to write it") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{table}: {error}") from None
    releases: dict[str, Release] = {}
    for number, row in enumerate(rows, 1):
        try:
            release = _read_release(row)
        except (InvalidVersion, InvalidSpecifier, ValueError) as error:
            raise UserError(f"{table}: release {number} ({row.get('version')}): {error}") from None
        if release.version in releases:
            raise UserError(f"{table}: {release.version} is listed twice")
        releases[release.version] = release
    return dict(sorted(releases.items(), key=lambda item: Version(item[0])))


def newest_release(patches: Path = PATCHES) -> Release:
    """Return the newest final release of the table; raise `UserError` if there is none."""
    finals = [release for release in load_releases(patches).values() if not release.preview]
    if not finals:
        raise UserError(f"{patches / 'releases.toml'} holds no final release")
    return finals[-1]


def ends(releases: Iterable[Release], key: Callable[[Release], str]) -> set[str]:
    """Return the versions of the first and the last release of every run with the same `key`."""
    found: set[str] = set()
    for _, group in itertools.groupby(releases, key):
        run = list(group)
        found |= {run[0].version, run[-1].version}
    return found


def named_version(text: str) -> Version | None:
    """Return the version of upstream's release that a person means by `text`, or None.

    It is a version (PEP 440), in any of its spellings; a requirement that pins one (PEP 508); the
    tag `livekit-agents@1.5.11` of livekit/agents; or the name of a wheel or sdist. A label of this
    project's, 1.5.11+procpool.1, stands for upstream's release.
    """
    words = re.sub(r"""^(["'])(.*)\1$""", r"\2", text.strip())
    with contextlib.suppress(InvalidRequirement):
        requirement = Requirement(words)
        pins = [s for s in requirement.specifier if s.operator in ("==", "===")]
        if canonicalize_name(requirement.name) == PROJECT and len(pins) == 1:
            words = pins[0].version
    name = re.match(r"(?i)livekit[-_.]+agents[-_@ =]+", words)
    words = (words[name.end() :] if name else words).lstrip("= ")
    words = re.sub(r"(-(1sdist-)?[a-z0-9]+-[a-z0-9]+-[\w.]+\.whl|\.tar\.gz)$", "", words)
    try:
        version = Version(words)
    except InvalidVersion:
        return None
    return unlabelled(version)


def unlabelled(version: Version) -> Version:
    """Return upstream's version of one with a label of this project's, 1.5.11+procpool.1."""
    ours = (version.local or "").startswith("procpool.")
    return Version(version.public) if ours else version


def _nearest(version: Version, releases: Iterable[str]) -> str:
    """Return the releases next to a version, the older and the newer one."""
    known = sorted(map(Version, releases))
    near = [v for v in known if v < version][-1:] + [v for v in known if v > version][:1]
    return " and ".join(map(str, near)) or "none"


def get_release(version: str, patches: Path = PATCHES) -> tuple[Release, Series]:
    """Return a supported release and its series; `named_version` says what names one.

    Raise `UserError` that names the nearest ones.
    """
    releases = load_releases(patches)
    wanted = named_version(version)
    if wanted is None:
        raise UserError(
            f"{version[:80]!r} is neither a release nor a file that is there: give one such"
            f" as {REPORTED}"
        )
    found = next((r for v, r in releases.items() if Version(v) == wanted), None)
    if found is None:
        raise UserError(
            f"{PROJECT} {wanted} is not supported; the nearest are {_nearest(wanted, releases)}."
            " 'python scripts releases' lists all; a new one: 'nox -s upkeep'"
        )
    return found, load_series(found.series, patches)


def line_releases(name: str, patches: Path = PATCHES) -> list[Release]:
    """Return the releases of the line, or of the one series, that is called `name`, oldest first.

    Both are named by their first release, such as "v1.4.2", with or without the v. A line may have
    several series: where both have the name, the line is meant. Raises `UserError` that names them.
    """
    releases, lines = list(load_releases(patches).values()), load_lines(patches)
    wanted = name.removeprefix("v")
    found = [r for r in releases if line_of(r.version, lines).first == wanted and not r.preview]
    found = found or [release for release in releases if release.series == f"v{wanted}"]
    if not found:
        known = [f"v{line.first}" for line in lines]
        others = [s.name for s in load_all_series(patches) if s.name not in known]
        raise UserError(
            f"no release line is called {name!r}; the lines are {', '.join(known)};"
            f" series within them are {', '.join(others) or 'none'}"
        )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print every supported release, oldest first, with its upload time, Pythons and series."""
    parser = step_parser(__doc__)
    for release in load_releases(parser.parse_args(argv).patches).values():
        yanked = "  yanked" if release.yanked else ""
        row = f"{release.version:8} {release.uploaded}  {release.requires_python}"
        print(f"{row}  {release.series}{yanked}")
    return 0
