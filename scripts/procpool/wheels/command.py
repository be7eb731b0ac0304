"""Build patched wheels of releases, their sums and an index: `nox -s wheel`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from packaging.version import Version
from procpool.base.command import step_parser
from procpool.base.errors import UserError, writing
from procpool.base.files import ROOT, file_sha256
from procpool.catalog.pins import names_a_file, pinned_versions
from procpool.catalog.releases import Release, get_release, line_releases, load_releases
from procpool.catalog.series import Series
from procpool.wheels.build import build_release
from procpool.wheels.index import publish, scratch_beside, yanked_releases
from rich.console import Console
from rich.progress import track

Chosen = tuple[Release, Series]


def _versions(arguments: Iterable[str]) -> list[str]:
    """Return the versions that the arguments name: each a version, or a file that pins some."""
    versions: list[str] = []
    for argument in arguments:
        named = names_a_file(argument)
        versions += pinned_versions(Path(argument)) if named else [argument]
    return versions


def shown(chosen: Sequence[Chosen]) -> Iterator[Chosen]:
    """Yield what is to be built, and show on stderr how far it is, if it is more than one.

    That is a bar of rich's on a terminal, and elsewhere, as in CI, one plain line for each wheel.
    """
    console = Console(stderr=True)
    if len(chosen) > 1 and sys.stderr.isatty() and not console.is_dumb_terminal:
        yield from track(chosen, description="building", console=console, transient=True)
        return
    for number, (release, series) in enumerate(chosen, 1):
        yield release, series
        if len(chosen) > 1:
            version = f"{release.version}+{series.local_version}"
            print(f"{number} of {len(chosen)}: {version} is built", file=sys.stderr, flush=True)


def what_next(wheels: Sequence[Path]) -> str:
    """Return the line that says what to do with the wheels."""
    readme = f"README.md of {ROOT}, 'Vendor the wheel'"
    if len(wheels) > 1:
        return f"next: copy the one that you need into your project's vendor/, as in {readme}"
    files = shlex.join([str(wheels[0].absolute()), str(ROOT / "scripts" / "doctor.py")])
    return f"next: in your project, mkdir -p vendor && cp {files} vendor/ and go on as in {readme}"


def main(argv: Sequence[str] | None = None) -> int:
    """Build the patched wheels of the named releases, and print their sha256 and paths.

    `SHA256SUMS` and the package index `simple` are written beside them. The last line says what to
    do with them.
    """
    parser = step_parser(__doc__)
    parser.add_argument(
        "versions",
        nargs="*",
        metavar="version",
        help="a supported release, such as 1.5.11 or livekit-agents==1.5.11, or a requirements.txt,"
        " uv.lock, poetry.lock, pdm.lock, pylock.toml, Pipfile.lock, environment.yml or lock of a"
        " script that pins one",
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
    found = {r.version: (r, s) for r, s in (get_release(v, options.patches) for v in versions)}
    chosen = [found[version] for version in sorted(found, key=Version)]
    with scratch_beside(options.out) as scratch, writing(options.out, "--out"):
        fresh = [
            build_release(release, series, scratch / "built", options.from_sdist)
            for release, series in shown(chosen)
        ]
        wheels = publish(fresh, options.out, scratch, yanked_releases(options.patches))
    for path in wheels:
        print(f"{file_sha256(path)}  {path}")
    print(what_next(wheels))
    return 0
