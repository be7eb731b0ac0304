"""Apply a series of patches to an unpacked wheel or sdist: `git apply`, no fuzz, all or nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError, one_line
from procpool.base.git import run_git
from procpool.catalog.series import Series, load_series
from procpool.patching.patch import ambiguous_hunk, name_of, patched_files, read_diff

# The last line of every Python file that a wheel of this project has changed starts like this.
CHANGE_MARK = "# Modified by livekit-agents-procpool"


def git_apply(tree: Path, patch: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Run `git apply -p1` in the directory `tree`; raise `UserError` if there is no git."""
    apply = ["apply", "-p1", "--whitespace=nowarn", *options]
    return run_git(tree.resolve(), *apply, str(patch.resolve()))


def _failure(patch: Path, stderr: str) -> str:
    """Say which patch, file and hunk `git apply` could not apply, from its error output."""
    found = re.search(r"^error: patch failed: (.+):(\d+)$", stderr, re.MULTILINE)
    if found is None:
        return f"patch {name_of(patch)} does not apply: {one_line(stderr) or 'git gave no reason'}"
    name, line = found[1], int(found[2])
    starts = [h.source_start for file in read_diff(patch) if file.path == name for h in file]
    hunk = f"hunk {starts.index(line) + 1} of {len(starts)}" if line in starts else "hunk"
    return f"patch {name_of(patch)} does not apply: file {name}, {hunk} (line {line})"


def apply_patch(tree: Path, patch: Path) -> None:
    """Apply one patch to `tree` itself, which is left as it was on failure.

    Raises `UserError` that names the patch, file and hunk.
    """
    before = {name: content(tree / name) for name in patched_files(patch)}
    if ambiguous := ambiguous_hunk(patch, before):
        raise UserError(f"patch {name_of(patch)} does not apply: {ambiguous}")
    result = git_apply(tree, patch)
    if result.returncode != 0:
        if git_apply(tree, patch, "--reverse", "--check").returncode == 0:
            raise UserError(f"{_already(tree)} ({name_of(patch)} is in it)")
        raise UserError(_failure(patch, result.stderr.decode("utf-8", "replace")))
    if all(content(tree / name) == old for name, old in before.items()):
        raise UserError(f"patch {name_of(patch)} changed nothing: git skipped its paths")


def _already(tree: Path) -> str:
    """Say that a tree is patched."""
    return f"{tree} is already patched: start from a pristine release"


def apply_in_place(tree: Path, patches: list[Path]) -> list[str]:
    """Apply `patches` in order to `tree` itself, which is left half patched on failure.

    Returns the changed paths, sorted. Raises `UserError` that names the patch, file and hunk, or
    says that the tree is already patched. For trees of the user's, call `apply_series`.
    """
    changed = sorted({name for patch in patches for name in patched_files(patch)})
    for name in changed:
        if (tree / name).is_file() and CHANGE_MARK in (tree / name).read_text("utf-8", "replace"):
            raise UserError(_already(tree))
    if git_apply(tree, patches[-1], "--reverse", "--check").returncode == 0:
        raise UserError(_already(tree))
    for patch in patches:
        apply_patch(tree, patch)
    return changed


def content(path: Path) -> bytes | None:
    """Return a file's bytes, or None if there is no such file."""
    return path.read_bytes() if path.is_file() else None


def apply_series(series: Series, tree: Path) -> list[str]:
    """Apply `series` to the directory `tree`: to a copy first, which takes its place when all has
    worked.

    Returns the changed paths, sorted. Raises `UserError`, and leaves `tree` as it was, if a patch
    fails.
    """
    tree = tree.resolve()
    if not tree.is_dir():
        raise UserError(f"{tree} is not a directory: give the root of an unpacked wheel or sdist")
    with tempfile.TemporaryDirectory(prefix=f".{tree.name}-", dir=tree.parent) as scratch:
        copy, old = Path(scratch, "new"), Path(scratch, "old")
        shutil.copytree(tree, copy, symlinks=True)
        try:
            changed = apply_in_place(copy, series.patches)
        except UserError as error:
            raise UserError(str(error).replace(str(copy), str(tree))) from None
        tree.rename(old)
        try:
            copy.rename(tree)
        except OSError:
            old.rename(tree)
            raise
    return changed


def main(argv: Sequence[str] | None = None) -> int:
    """Apply a series to a directory and print the changed files."""
    parser = step_parser(__doc__)
    parser.add_argument("series", help="the name of a series, such as v1.4.2")
    parser.add_argument("tree", type=Path, help="root of an unpacked wheel or sdist")
    options = parser.parse_args(argv)
    for name in apply_series(load_series(options.series, options.patches), options.tree):
        print(name)
    return 0
