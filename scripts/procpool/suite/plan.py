"""Which releases the suite runs on, on which Pythons, and with which of its tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from procpool.base.files import PATCHES
from procpool.catalog.releases import REPORTED, ends, load_releases
from procpool.catalog.series import line_of, load_lines


@dataclass(frozen=True)
class Plan:
    """What `nox` lists and runs; all are versions of releases.

    `versions` are all supported ones, oldest first. On `both` the suite runs on the oldest and on
    the newest Python that they support: both ends of each line, and previews. On `whole` it runs
    with all its tests and all their cases: where a text of the pool begins or ends, and on
    previews. Elsewhere the costly tests are left out, and each release takes other cases.

    `quick` are those of README's test command, on the newest Python: the last release of each line,
    with a few cases of each test, and with all of them what is in `quick_whole`, the newest release
    and that of the report.
    """

    versions: list[str]
    both: frozenset[str]
    whole: frozenset[str]
    quick: list[str]
    quick_whole: frozenset[str]

    def pythons(self, version: str) -> list[str]:
        """Return which Pythons a release is tested on: "oldest" and "newest", or "newest"."""
        return ["oldest", "newest"] if version in self.both else ["newest"]


def load_plan(patches: Path = PATCHES) -> Plan:
    """Return the plan for the releases in the table.

    Without a table there is the release of the report alone: `nox -s releases` must be able to
    write the table that is missing. Raises `UserError` if it is wrong.
    """
    if not (patches / "releases.toml").is_file():
        return Plan([REPORTED], frozenset(), frozenset(), [], frozenset())
    table, lines = load_releases(patches), load_lines(patches)
    finals = [release for release in table.values() if not release.preview]
    previews = frozenset(table) - {release.version for release in finals}
    texts = ends(finals, lambda release: release.pool_sha256)
    last = {line_of(release.version, lines).first: release.version for release in finals}
    quick_whole = {REPORTED, *[release.version for release in finals[-1:]]}
    return Plan(
        versions=list(table),
        both=frozenset(ends(finals, lambda r: line_of(r.version, lines).first)) | previews,
        whole=frozenset(texts) | {REPORTED} | previews,
        quick=[version for version in table if version in quick_whole | {*last.values()}],
        quick_whole=frozenset(quick_whole),
    )
