"""The table of supported releases, `patches/releases.toml`, and the series that fits each release.

The table is written by `update_releases.py` and never by hand. Run alone, this module prints the
releases that are supported, one a line.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import itertools
import os
import re
import tempfile
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from errors import UserError, run_main
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
PATCHES = ROOT / "patches"
PROJECT = "livekit-agents"

# The Pythons that releases are tested on, as far as a release supports them.
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")


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
        """Those of `PYTHONS` that the release supports, oldest first, such as "3.10"."""
        supported = SpecifierSet(self.requires_python)
        # 3.10 stands for any 3.10.x, also where the requirement is >=3.10.1
        return [
            python
            for python in PYTHONS
            if any(f"{python}.{micro}" in supported for micro in range(30))
        ]


@dataclass(frozen=True)
class Series:
    """A folder of patches.

    Its name, the releases from `first` to `last` that it fits, the first release of their line,
    and its revision.
    """

    name: str
    path: Path
    first: str
    last: str
    line: str
    revision: int

    @property
    def preview(self) -> bool:
        """Whether it fits pre-releases only."""
        return Version(self.last).is_prerelease

    @property
    def local_version(self) -> str:
        """The PEP 440 local version of wheels that carry this series, without the plus sign."""
        return f"procpool.{self.revision}"

    def patches(self) -> list[Path]:
        """Return the patches in the order of the `series` file.

        Raise `UserError` if one is missing.
        """
        listing = self.path / "series"
        if not listing.is_file():
            raise UserError(f"series {self.name} has no file named 'series' in {self.path}")
        names = [line.split("#")[0].strip() for line in listing.read_text("utf-8").splitlines()]
        found = [self.path / name for name in names if name]
        if not found:
            raise UserError(f"series {self.name} names no patches: {listing} is empty")
        for patch in found:
            if not patch.is_file():
                raise UserError(
                    f"series {self.name} names {patch.name}, which is not in {self.path}"
                )
        return found


def load_series(path: Path) -> Series:
    """Read the folder `path` of a series: its `series.toml` and its `revision`.

    Raise `UserError` if wrong.
    """
    try:
        data = tomllib.loads((path / "series.toml").read_text("utf-8"))
        revision = int((path / "revision").read_text("utf-8"))
        series = Series(path.name, path, data["first"], data["last"], data["line"], revision)
        if not Version(series.line) <= Version(series.first) <= Version(series.last):
            raise ValueError("line, first and last are not in this order")
        if series.revision < 1:
            raise ValueError("the file revision must hold a whole number from 1")
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise UserError(f"{path} is not a series: it has no file {missing}") from None
    except KeyError as error:
        raise UserError(f"{path / 'series.toml'}: {error} is missing") from None
    except (tomllib.TOMLDecodeError, InvalidVersion, TypeError, ValueError) as error:
        raise UserError(f"{path / 'series.toml'}: {error}") from None
    return series


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


def load_all_series(patches: Path = PATCHES) -> list[Series]:
    """Return the series in the folder `patches`, by the first release that they fit."""
    found = [load_series(path.parent) for path in patches.glob("*/series.toml")]
    return sorted(found, key=lambda series: Version(series.first))


def ends(releases: Iterable[Release], key: Callable[[Release], str]) -> set[str]:
    """Return the versions of the first and the last release of every run with the same `key`."""
    found: set[str] = set()
    for _, group in itertools.groupby(releases, key):
        run = list(group)
        found |= {run[0].version, run[-1].version}
    return found


def replace_file(path: Path, text: str) -> None:
    """Write `text` beside `path`, then move it into place."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        fresh = Path(scratch, path.name)
        fresh.write_text(text, "utf-8")
        os.replace(fresh, path)


def get_release(version: str, patches: Path = PATCHES) -> tuple[Release, Series]:
    """Return a supported release and its series.

    Raise `UserError` that names the supported ones.
    """
    releases = load_releases(patches)
    with contextlib.suppress(InvalidVersion):  # it falls through to "is not supported"
        version = str(Version(version))
    if version not in releases:
        lines: dict[str, list[str]] = {}
        for release in releases.values():
            lines.setdefault(release.series, []).append(release.version)
        spans = (f"{name}: {' to '.join([v[0], v[-1]])}" for name, v in lines.items())
        known = "; ".join(spans) or "none"
        raise UserError(
            f"livekit-agents {version} is not supported; supported releases are {known}. To"
            " add one, widen first/last in the series.toml of a series that fits it (or add a"
            " series), then run 'nox -s releases'"
        )
    return releases[version], load_series(patches / releases[version].series)


def main() -> int:
    """Print every supported release, oldest first, with its upload time, Pythons and series."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--patches", type=Path, default=PATCHES, help="folder that holds releases.toml"
    )
    for release in load_releases(parser.parse_args().patches).values():
        yanked = "  yanked" if release.yanked else ""
        row = f"{release.version:8} {release.uploaded}  {release.requires_python}"
        print(f"{row}  {release.series}{yanked}")
    return 0


if __name__ == "__main__":
    run_main(main)
