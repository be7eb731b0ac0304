"""The series: which texts of which ideas, in which order; their revisions; the release lines.

A text is a patch, `patches/<idea>/<first release>.patch`; one text may stand in many series. A
series is the folder of a file `series`, as quilt(1) reads it, which names texts by their path from
`patches/`. Which releases it fits is the column `series` of `releases.toml`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from packaging.version import InvalidVersion, Version
from procpool.base.errors import UserError
from procpool.base.files import PATCHES

# The sha256 of the code of each revision by series, the first revision's first.
Record = dict[str, list[str]]


def idea_of(text: Path) -> str:
    """Return the idea that a text, `patches/<idea>/<first release>.patch`, belongs to."""
    return text.parent.name


def numbered(texts: list[Path]) -> dict[str, Path]:
    """Return the texts of a series by the name that says their place, 0001-bound-the-wait.patch."""
    return {f"{n:04}-{idea_of(text)}.patch": text for n, text in enumerate(texts, 1)}


@dataclass(frozen=True)
class Series:
    """The patches for some releases: `name` is "v" and the first of these releases.

    `folder` is that of all patches; `revision` is the number of the series' code, from 1.
    """

    name: str
    folder: Path
    revision: int

    @property
    def first(self) -> Version:
        """The first release that it fits."""
        return Version(self.name)

    @property
    def preview(self) -> bool:
        """Whether it fits pre-releases only."""
        return self.first.is_prerelease

    @property
    def local_version(self) -> str:
        """The PEP 440 local version of wheels that carry this series, without the plus sign."""
        return f"procpool.{self.revision}"

    @property
    def listing(self) -> Path:
        """The file that names the texts, one a line, in order."""
        return self.folder / self.name / "series"

    @cached_property
    def patches(self) -> list[Path]:
        """The texts in the order of the series; `UserError` if one is missing or named twice."""
        lines = self.listing.read_text("utf-8").splitlines()
        names = [name for line in lines if (name := line.split("#")[0].strip())]
        if not names:
            raise UserError(f"series {self.name} names no patches: {self.listing} is empty")
        found = [self.folder / name for name in names]
        for name, text in zip(names, found, strict=True):
            if not re.fullmatch(r"[\w.-]+/[\w.-]+\.patch", name) or ".." in name:
                raise UserError(f"{self.listing}: {name!r} is not IDEA/RELEASE.patch")
            if not text.is_file():
                raise UserError(f"{self.listing} names {name}, which is not in {self.folder}")
            if names.count(name) > 1:
                raise UserError(f"{self.listing} names {name} twice")
        return found


def parse_revisions(text: str, origin: str) -> Record:
    """Read the text of a `revisions.toml`; raise `UserError`, which names `origin`, if wrong."""
    try:
        record = tomllib.loads(text).get("series", {})
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{origin}: {error}") from None
    for name, digests in record.items():
        if not isinstance(digests, list) or not digests:
            raise UserError(f"{origin}: {name} is not a list of revisions")
        if not all(isinstance(d, str) and re.fullmatch("[0-9a-f]{64}", d) for d in digests):
            raise UserError(f"{origin}: {name} holds what is not a sha256")
    return dict(record)


def load_revisions(patches: Path = PATCHES) -> Record:
    """Return what `revisions.toml` in the folder `patches` holds; no file holds nothing."""
    path = patches / "revisions.toml"
    return parse_revisions(path.read_text("utf-8"), str(path)) if path.is_file() else {}


def load_series(name: str, patches: Path = PATCHES) -> Series:
    """Return the series of that name in the folder `patches`.

    Its revision is the last that is recorded, 1 if none is yet. Raise `UserError` if there is no
    such series.
    """
    try:
        Version(name)
    except InvalidVersion:
        raise UserError(
            f"{name!r} is no name for a series: it is v and a release, v1.4.2"
        ) from None
    if not (patches / name / "series").is_file():
        raise UserError(f"there is no series {name}: {patches / name} has no file named 'series'")
    return Series(name, patches, len(load_revisions(patches).get(name, [0])))


def load_all_series(patches: Path = PATCHES) -> list[Series]:
    """Return the series in the folder `patches`, by the first release that they fit."""
    found = [load_series(path.parent.name, patches) for path in patches.glob("v*/series")]
    return sorted(found, key=lambda series: series.first)


@dataclass(frozen=True)
class Line:
    """A run of releases whose pools lack the same things; `first` is the first of them."""

    first: str
    lacks: str


def load_lines(patches: Path = PATCHES) -> list[Line]:
    """Return the release lines of `lines.toml`, oldest first; raise `UserError` if it is wrong."""
    path = patches / "lines.toml"
    try:
        rows = tomllib.loads(path.read_text("utf-8"))["lines"]
        return sorted((Line(**row) for row in rows), key=lambda line: Version(line.first))
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, InvalidVersion) as error:
        raise UserError(f"{path}: {error}") from None


def line_of(version: str, lines: list[Line]) -> Line:
    """Return the line that a release belongs to.

    Raise `UserError` if it is before the first, or no version.
    """
    try:
        release = Version(version)
    except InvalidVersion:
        raise UserError(f"not a release: {version!r}; give one such as 1.5.11") from None
    found = [line for line in lines if Version(line.first) <= release]
    if not found:
        raise UserError(f"no release line holds {version}: add one to patches/lines.toml")
    return found[-1]
