"""Do what a new upstream release asks for: refresh the table, try the series, show what to mend.

Where no series fits a release, the release is unpacked under `build/`, the nearest series is
applied to it as far as it goes, and each hunk that is left is named, with the file to open and the
patch that it is from. git keeps that tree: `git diff` in it shows what is patched.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version
from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.base.git import git
from procpool.catalog.fetch import fetch
from procpool.catalog.index import index_url, read_index, releases_on_index
from procpool.catalog.releases import PROJECT, Release, load_releases, named_version
from procpool.catalog.series import Series, load_all_series, load_series, numbered
from procpool.patching.apply import git_apply
from procpool.patching.fit import newest_first
from procpool.patching.patch import read_diff
from procpool.upkeep import update_releases
from unidiff.patch import PatchSet

_AUTHOR = {"GIT_AUTHOR_NAME": "upkeep", "GIT_AUTHOR_EMAIL": "upkeep@example.invalid"}
_AUTHOR |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in _AUTHOR.items()}


@dataclass(frozen=True)
class Left:
    """A hunk that does not apply: the `number` of `count` in a `file` of the release (a path).

    `line` is where the patch has it, counted from 1; `text` is the patch; `rejected` names the file
    beside `file` that holds the hunk. A patch that upstream now has, or that names a file that is
    gone, has no hunk: `number` is 0, and `why` says so.
    """

    text: Path
    file: str
    line: int = 0
    number: int = 0
    count: int = 0
    rejected: str = ""
    why: str = ""

    def said(self, tree: Path) -> str:
        """Return the line that says what to open."""
        if not self.number:
            return f"  {self.text}: {self.why}"
        where = f"hunk {self.number} of {self.count} for {self.file}"
        open_ = f"open {tree / self.file} near line {self.line}, beside {self.rejected}"
        return f"  {self.text}: {where} does not apply: {open_}"


def _rejected(tree: Path, name: str, patch: Path) -> Iterator[Left]:
    """Yield the hunks of a patch that `git apply --reject` has left, and keep its files."""
    for file in read_diff(patch):
        left = tree / f"{file.path}.rej"
        if not left.is_file():
            continue
        kept = left.with_name(f"{Path(file.path).name}.{name}.rej")
        left.rename(kept)
        # It has git's first line, and no header that unidiff would read.
        hunks = kept.read_text("utf-8").split("\n", 1)[1]
        starts = [hunk.source_start for hunk in file]
        header = f"--- a/{file.path}\n+++ b/{file.path}\n"
        for hunk in PatchSet(header + hunks)[0]:
            number = starts.index(hunk.source_start) + 1
            line = hunk.source_start
            yield Left(patch, file.path, line, number, len(starts), kept.name)


def apply_what_applies(tree: Path, series: Series) -> list[Left]:
    """Apply a series to the release in `tree`, a git repository, and return what is left."""
    left: list[Left] = []
    for name, patch in numbered(series.patches).items():
        if git_apply(tree, patch, "--reverse", "--check").returncode == 0:
            left.append(Left(patch, "", why="upstream now has this change: leave the patch out"))
            continue
        if git_apply(tree, patch).returncode == 0:
            continue
        gone = [file.path for file in read_diff(patch) if not (tree / file.path).is_file()]
        git_apply(tree, patch, "--reject")
        found = list(_rejected(tree, name.removesuffix(".patch"), patch))
        if not found:
            why = f"{', '.join(gone)} is not in this release" if gone else "it does not apply"
            found = [Left(patch, "", why=why)]
        left += found
    return left


def unpack(release: Release, tree: Path) -> None:
    """Unpack a release into `tree`, a git repository that holds it as released.

    What was in `tree` is replaced. Raise `UserError` as `fetch` does.
    """
    tree.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{tree.name}-", dir=tree.parent) as scratch:
        fresh = Path(scratch).resolve() / "tree"
        with zipfile.ZipFile(fetch(release)) as archive:
            archive.extractall(fresh)
        git(fresh, "init", "--quiet")
        git(fresh, "add", "--all")
        git(fresh, "commit", "--quiet", "-m", f"{PROJECT} {release.version}", **_AUTHOR)
        if tree.exists():
            shutil.rmtree(tree)
        fresh.rename(tree)


def show(release: Release, series: Series, build: Path) -> int:
    """Apply a series to a release as far as it goes, print what is left, and return how much."""
    tree = build / f"new-{release.version}"
    unpack(release, tree)
    left = apply_what_applies(tree, series)
    patches = len({entry.text for entry in left})
    print(
        f"{release.version}: series {series.name} applies but for {len(left)} places in {patches}"
        f" of {len(series.patches)} patches; unpacked in {tree}"
    )
    for entry in left:
        print(entry.said(tree))
    return len(left)


def main(argv: Sequence[str] | None = None) -> int:
    """Refresh the table; for each release that no series fits, show what is to be mended."""
    parser = step_parser(__doc__)
    parser.add_argument("version", nargs="?", help="only this release of the index, no table")
    parser.add_argument("--series", help="the series to apply; default: the newest that is nearest")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="where; %(default)s")
    options = parser.parse_args(argv)
    code = 0
    if options.version is None:
        code = update_releases.main(["--patches", str(options.patches)])
    wanted = named_version(options.version) if options.version else None
    if options.version and wanted is None:
        raise UserError(f"not a release: {options.version!r}; give one such as 1.8.10")
    known = load_releases(options.patches)
    on_index = update_releases.current(releases_on_index(read_index(PROJECT, index_url())))
    if wanted:
        chosen = [r for r in on_index if Version(r.version) == wanted]
        if not chosen:
            raise UserError(f"the index lists no {PROJECT} {wanted} that this platform can install")
    else:
        chosen = [r for r in on_index if r.version not in known and not r.preview]
    if not chosen and code == 0:
        print("next: every release is covered; 'nox -s tables', then look at 'git diff patches'")
        return 0
    left = 0
    for release in chosen:
        all_series = newest_first(load_all_series(options.patches), release.version)
        series = load_series(options.series, options.patches) if options.series else all_series[0]
        left += show(release, series, options.build.resolve())
    print(
        "next: mend these places, write the texts that differ and the series, as in"
        " patches/README.md, 'Add a release'"
        if left
        else "next: the patches apply; see above what the suite says"
    )
    return 1 if left or not wanted else 0
