"""Build patched wheels of releases, their sums and an index: `nox -s wheel`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import ROOT, file_sha256
from procpool.catalog.pins import names_a_file, pinned_versions, requested_version
from procpool.catalog.releases import get_release, line_releases, load_releases
from procpool.wheels.build import build_release
from procpool.wheels.index import publish, scratch_beside, yanked_releases


def _versions(arguments: Iterable[str]) -> list[str]:
    """Return the versions that the arguments name: each a version, or a file that pins some."""
    versions: list[str] = []
    for argument in arguments:
        named = names_a_file(argument)
        versions += pinned_versions(Path(argument)) if named else [requested_version(argument)]
    return versions


def main(argv: Sequence[str] | None = None) -> int:
    """Build the patched wheels of the named releases, and print their sha256 and paths.

    `SHA256SUMS` and the package index `simple` are written beside them.
    """
    parser = step_parser(__doc__)
    parser.add_argument(
        "versions",
        nargs="*",
        metavar="version",
        help="a supported release, such as 1.5.11, or a requirements.txt, uv.lock, poetry.lock,"
        " pdm.lock, pylock.toml, Pipfile.lock, environment.yml or script's lock that pins one",
    )
    parser.add_argument("--all", action="store_true", help="every supported release")
    parser.add_argument(
        "--line", action="append", default=[], help="every release of a line, such as v1.4.2"
    )
    parser.add_argument(
        "--from-sdist", action="store_true", help="build from upstream's sdist, not its wheel"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="directory for the wheels")
    options = parser.parse_args(argv)
    versions = _versions(options.versions)
    for line in options.line:
        versions += [release.version for release in line_releases(line, options.patches)]
    if options.all:
        versions += load_releases(options.patches)
    if not versions:
        raise UserError("which release? give a version, a file that pins one, --line LINE or --all")
    # Look every release up before the first is built: a typing error leaves nothing half done.
    chosen = {r.version: (r, s) for r, s in (get_release(v, options.patches) for v in versions)}
    with scratch_beside(options.out) as scratch:
        fresh = [
            build_release(release, series, Path(scratch, "built"), options.from_sdist)
            for release, series in chosen.values()
        ]
        for path in publish(fresh, options.out, Path(scratch), yanked_releases(options.patches)):
            print(f"{file_sha256(path)}  {path}")
    return 0
