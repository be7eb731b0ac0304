"""Check that real `quilt push -a --fuzz=0` and `git am` take a series, on every distinct text it
patches.

Releases whose patched files are the same, byte for byte, are checked once. Both tools must leave
the same text as `apply_series`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError, one_line
from procpool.base.git import git_environment
from procpool.catalog.fetch import fetch
from procpool.catalog.releases import load_releases
from procpool.catalog.series import Series, load_series
from procpool.patching.apply import apply_in_place
from procpool.patching.patch import patched_files


def _run(directory: Path, *command: str, series: Series | None = None) -> None:
    """Run a tool without the user's settings; raise `UserError` with its output if it fails."""
    environment = {
        name: text
        for name, text in git_environment(directory).items()
        if not name.startswith("QUILT_")
    }
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "check", f"GIT_{role}_EMAIL": "check@example.invalid"}
    if series:
        environment |= {"QUILT_PATCHES": str(series.folder)}
        environment |= {"QUILT_SERIES": f"{series.name}/series"}
    result = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        raise UserError(
            f"{' '.join(command[:2])} failed: {one_line(result.stdout + result.stderr)[-500:]}"
        )


def _contents(tree: Path, names: list[str]) -> list[bytes | None]:
    """Return the bytes of the files, None for one that is not there."""
    return [(tree / name).read_bytes() if (tree / name).is_file() else None for name in names]


def check_tree(tree: Path, series: Series) -> None:
    """Check one unpacked release, which is not changed.

    Raise `UserError` for the first tool that fails.
    """
    patches = series.patches
    names = sorted({name for patch in patches for name in patched_files(patch)})
    with tempfile.TemporaryDirectory() as scratch:
        trees = [Path(scratch).resolve() / tool for tool in ("apply", "quilt", "am")]
        for copy in trees:
            shutil.copytree(tree, copy)
        apply_in_place(trees[0], patches)
        _run(trees[1], "quilt", "--quiltrc", "-", "push", "-a", "--fuzz=0", series=series)
        _run(trees[2], "git", "init", "--quiet")
        _run(trees[2], "git", "add", "--all")
        _run(trees[2], "git", "commit", "--quiet", "--message", "pristine")
        _run(trees[2], "git", "am", "--quiet", *map(str, patches))
        wanted = _contents(trees[0], names)
        for copy in trees[1:]:
            if _contents(copy, names) != wanted:
                raise UserError(f"{copy.name} leaves another text than git apply")


def main(argv: Sequence[str] | None = None) -> int:
    """Check every series, or the named ones, on every release.

    Print a line for each distinct text.
    """
    parser = step_parser(__doc__)
    parser.add_argument("series", nargs="*", help="names of series; default: all")
    options = parser.parse_args(argv)
    if shutil.which("quilt") is None:
        raise UserError("quilt is not installed: on Debian and Ubuntu, run 'apt-get install quilt'")
    seen: dict[str, str] = {}
    for release in load_releases(options.patches).values():
        if options.series and release.series not in options.series:
            continue
        series = load_series(release.series, options.patches)
        names = sorted({name for patch in series.patches for name in patched_files(patch)})
        with tempfile.TemporaryDirectory() as scratch:
            with zipfile.ZipFile(fetch(release)) as archive:
                archive.extractall(scratch)
            text = repr((series.name, _contents(Path(scratch), names)))
            key = hashlib.sha256(text.encode()).hexdigest()
            if key not in seen:
                try:
                    check_tree(Path(scratch), series)
                except UserError as error:
                    raise UserError(f"{release.version}, series {series.name}: {error}") from None
                seen[key] = release.version
                print(f"{release.version}: quilt and git am take series {series.name}")
    if not seen:
        raise UserError(f"no release has the series {' '.join(options.series)}")
    return 0
