"""Try the series, newest first, on a release that none of them names, then run the suite on it.

Series that start after the release, such as a preview's, come last. Prints which series fits, or
which hunk of which patch of the first one tried stopped it, or that upstream now has the change.
The release is looked up on the index; no file is changed.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from packaging.version import InvalidVersion, Version
from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.catalog.fetch import fetch
from procpool.catalog.index import index_url, read_index, releases_on_index
from procpool.catalog.releases import PROJECT, Release
from procpool.catalog.series import Series, load_all_series
from procpool.patching.fit import find_series, newest_first
from procpool.suite.run import suite_passes


def try_release(release: Release, series: list[Series]) -> tuple[Series | None, str]:
    """Return the series that applies to `release` and passes the suite there, or None, and why."""
    with tempfile.TemporaryDirectory(prefix="livekit-procpool-") as scratch:
        tree = Path(scratch).resolve() / "pristine"
        with zipfile.ZipFile(fetch(release)) as archive:
            archive.extractall(tree)
        found, reason = find_series(tree, newest_first(series, release.version))
        if found is None:
            return None, reason
        passed, lines = suite_passes(release, found, Path(scratch))
    return (found if passed else None), f"{reason}; the suite {lines}"


def main(argv: Sequence[str] | None = None) -> int:
    """Try one release; return 1 if no series fits it, and raise `UserError` if there is no such."""
    parser = step_parser(__doc__)
    parser.add_argument("version", help="a release on the index, such as 1.8.10 or 2.0.0b1")
    options = parser.parse_args(argv)
    try:
        version = Version(options.version)
    except InvalidVersion:
        raise UserError(f"not a version: {options.version!r}; give one such as 1.8.10") from None
    found = {r.version: r for r in releases_on_index(read_index(PROJECT, index_url()))}
    if str(version) not in found:
        raise UserError(f"the index lists no {PROJECT} {version} that this platform can install")
    series, reason = try_release(found[str(version)], load_all_series(options.patches))
    print(f"{version}: {reason}")
    return 0 if series else 1
