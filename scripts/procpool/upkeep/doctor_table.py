"""The table in doctor.py: which releases there are, their pools, and what each revision makes them.

What a revision leaves of a release is one sum: the sha256 of the output of `sha256sum` on the files
that it changes, in the order of their paths, without the mark that a wheel adds. For the first
release of a series that is the code which `revisions.toml` records, so a look at that file says
whether the table is in step; only series that are not are fetched and patched. The sums of earlier
revisions, whose patches are gone, are carried over from the table as it stands.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from procpool.base.errors import UserError
from procpool.base.files import PATCHES
from procpool.catalog.releases import Release, load_releases
from procpool.catalog.series import Series, idea_of, load_revisions, load_series
from procpool.patching.patch import patched_files
from procpool.patching.steps import Files, pristine_files, read_steps

POOL = "livekit/agents/ipc/proc_pool.py"
_GENERIC = "py3-none-any"
_WIDTH = 100
# What one revision leaves of one release: the sum over the names of some of its files.
Sums = dict[tuple[str, ...], str]
# Sums by release and revision.
Patched = dict[tuple[str, int], Sums]


def listing_sha256(files: Files) -> str:
    """Return the sha256, 64 hex digits, of what `sha256sum` prints of files by path."""
    rows = (f"{hashlib.sha256(files[name] or b'').hexdigest()}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def read_patched(text: str) -> Patched:
    """Return the sums that the text of doctor.py holds; none where it has no table.

    Raise `UserError` if the table names what it does not define.
    """

    def block(name: str) -> list[str]:
        found = re.search(rf'^{name} = """\n(.*?)"""$', text, re.MULTILINE | re.DOTALL)
        return found[1].splitlines() if found else []

    releases, names = " ".join(block("_RELEASES")).split(), block("_FILES")
    patched: Patched = {}
    try:
        for line in block("_PATCHED"):
            revision, first, last, letters, digest = line.split()
            run = releases[releases.index(first) : releases.index(last) + 1]
            over = tuple(names[ord(letter) - ord("a")] for letter in letters)
            for release in run:
                patched.setdefault((release, int(revision)), {})[over] = digest
    except (ValueError, IndexError) as error:
        raise UserError(f"the table of doctor.py cannot be read: {error}") from None
    return patched


def sums_of(release: Release, series: Series) -> Sums:
    """Return what a series leaves of a release: the sum of its pool, and of all that it changes.

    Raise `UserError` as `fetch` and `read_steps` do.
    """
    texts = {idea_of(text): text for text in series.patches}
    names = {name for text in series.patches for name in patched_files(text)}
    files = read_steps(texts, pristine_files(release, names))[-1].files
    sums = {tuple(sorted(files)): listing_sha256(files)}
    if POOL in files:
        sums[(POOL,)] = listing_sha256({POOL: files[POOL]})
    return sums


def _whole(sums: Sums) -> str | None:
    """Return the sum over the most files."""
    return sums[max(sums, key=len)] if sums else None


def patched_sums(kept: Patched, patches: Path = PATCHES) -> Patched:
    """Return the sums of every revision of every release, taken from `kept` where in step.

    Those of a present revision that is not in step are computed; those of an earlier one are left
    out. Raise `UserError` if a release cannot be fetched or patched.
    """
    releases, recorded = list(load_releases(patches).values()), load_revisions(patches)
    found: Patched = {}
    for name in dict.fromkeys(release.series for release in releases):
        series = load_series(name, patches)
        members = [release for release in releases if release.series == name]
        for revision in range(1, series.revision + 1):
            old = {r.version: kept.get((r.version, revision), {}) for r in members}
            code = recorded.get(name, [])[revision - 1 : revision]
            first = old.get(str(series.first), {})
            if not all(old.values()) or [_whole(first)] != code:
                if revision < series.revision:
                    continue
                old = {release.version: sums_of(release, series) for release in members}
            found |= {(version, revision): sums for version, sums in old.items()}
    return found


def _runs(rows: Iterable[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Return (first, last, value) for every run of versions with one value."""
    found = []
    for value, group in itertools.groupby(rows, lambda row: row[1]):
        run = [version for version, _ in group]
        found.append((run[0], run[-1], value))
    return found


def _patched_rows(patched: Patched, versions: list[str], names: list[str]) -> list[str]:
    """Return the lines of `_PATCHED`."""
    rows = []
    for revision in sorted({revision for _, revision in patched}):
        for alone in (True, False):
            values = []
            for version in versions:
                sums = patched.get((version, revision), {})
                over = [o for o in sums if (o == (POOL,)) == alone] if sums else []
                letters = "".join(chr(ord("a") + names.index(n)) for o in over[:1] for n in o)
                values.append((version, f"{letters} {sums[over[0]]}" if over else ""))
            for first, last, value in _runs(values):
                if value:
                    letters, digest = value.split()
                    rows.append(f"{revision} {first:7} {last:7} {letters:6} {digest}")
    return rows


def _block(name: str, lines: Iterable[str]) -> str:
    """Return an assignment of lines to a name."""
    return f'{name} = """\n' + "".join(f"{line}\n" for line in lines) + '"""\n'


def doctor_table(kept: str, patches: Path = PATCHES) -> str:
    """Return the assignments of doctor.py, whose present text is `kept`.

    Raise `UserError` as `patched_sums` does.
    """
    releases: Mapping[str, Release] = load_releases(patches)
    patched = patched_sums(read_patched(kept), patches)
    names = sorted({name for sums in patched.values() for over in sums for name in over})
    versions = list(releases)
    pools = [
        f"{first:7} {last:7} {value}"
        for first, last, value in _runs(
            (release.version, f"{release.series:8} {release.pool_sha256}")
            for release in releases.values()
        )
    ]
    tags = {v: r.wheel.removesuffix(".whl").split("-", 2)[2] for v, r in releases.items()}
    wheels = [f"{version} {tag}" for version, tag in tags.items() if tag != _GENERIC]
    return (
        _block("_RELEASES", textwrap.wrap(" ".join(versions), _WIDTH, break_on_hyphens=False))
        + _block("_WHEELS", wheels)
        + _block("_POOLS", pools)
        + _block("_FILES", names)
        + _block("_PATCHED", _patched_rows(patched, versions, names))
    )
