"""Apply a series of patches to an unpacked wheel or sdist: `git apply`, no fuzz, all or nothing."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from errors import UserError, one_line, run_main
from releases_table import Series, load_series

# The last line of every Python file that a wheel of this project has changed starts like this.
CHANGE_MARK = "# Modified by livekit-agents-procpool"


def git_environment(tree: Path) -> dict[str, str]:
    """Return an environment in which git sees neither the user's settings nor a repository around
    `tree`.

    Inside a work tree `git apply` silently skips paths that the repository does not hold, so a
    tree that lies in someone's checkout would come out unpatched, with exit code 0.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return environment | {
        "GIT_CEILING_DIRECTORIES": str(tree.parent),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "LC_ALL": "C",
    }


def git_apply(tree: Path, patch: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `git apply -p1` in the directory `tree`; raise `UserError` if there is no git."""
    tree = tree.resolve()
    command = ["git", "-c", "core.autocrlf=false", "apply", "-p1", "--whitespace=nowarn", *options]
    try:
        return subprocess.run(
            [*command, str(patch.resolve())],
            cwd=tree,
            env=git_environment(tree),
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        raise UserError("git is not installed or not on PATH: install git and try again") from None


def patched_files(patch: Path) -> list[str]:
    """Return the paths, without the a/ and b/ prefixes, that `patch` adds, changes or removes."""
    pairs = re.findall(r"^--- (\S+).*\n\+\+\+ (\S+)", patch.read_text("utf-8"), re.MULTILINE)
    names = [old if new == "/dev/null" else new for old, new in pairs]
    return [name.split("/", 1)[1] for name in names]


def _failure(patch: Path, stderr: str) -> str:
    """Say which patch, file and hunk `git apply` could not apply, from its error output."""
    found = re.search(r"^error: patch failed: (.+):(\d+)$", stderr, re.MULTILINE)
    if found is None:
        return f"patch {patch.name} does not apply: {one_line(stderr) or 'git gave no reason'}"
    name, line = found[1], int(found[2])
    section = ""
    for part in re.split(r"^(?=--- )", patch.read_text("utf-8"), flags=re.MULTILINE):
        if part.startswith("--- ") and name in part.splitlines()[0] + part.splitlines()[1]:
            section = part
    starts = [int(start) for start in re.findall(r"^@@ -(\d+)", section, re.MULTILINE)]
    hunk = f"hunk {starts.index(line) + 1} of {len(starts)}" if line in starts else "hunk"
    return f"patch {patch.name} does not apply: file {name}, {hunk} (line {line})"


def apply_in_place(tree: Path, patches: list[Path]) -> list[str]:
    """Apply `patches` in order to `tree` itself, which is left half patched on failure.

    Returns the changed paths, sorted. Raises `UserError` that names the patch, file and hunk, or
    says that the tree is already patched. For trees of the user's, call `apply_series`.
    """
    changed = sorted({name for patch in patches for name in patched_files(patch)})
    already = f"{tree} is already patched: start from a pristine release"
    for name in changed:
        if (tree / name).is_file() and CHANGE_MARK in (tree / name).read_text("utf-8", "replace"):
            raise UserError(already)
    if git_apply(tree, patches[-1], "--reverse", "--check").returncode == 0:
        raise UserError(already)
    for patch in patches:
        before = {name: content(tree / name) for name in patched_files(patch)}
        result = git_apply(tree, patch)
        if result.returncode != 0:
            if git_apply(tree, patch, "--reverse", "--check").returncode == 0:
                raise UserError(f"{already} ({patch.name} is in it)")
            raise UserError(_failure(patch, result.stderr))
        if not before or all(content(tree / name) == old for name, old in before.items()):
            raise UserError(f"patch {patch.name} changed nothing: git skipped its paths")
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
            changed = apply_in_place(copy, series.patches())
        except UserError as error:
            raise UserError(str(error).replace(str(copy), str(tree))) from None
        tree.rename(old)
        try:
            copy.rename(tree)
        except OSError:
            old.rename(tree)
            raise
    return changed


def main() -> int:
    """Apply a series to a directory and print the changed files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("series", type=Path, help="folder of a series, such as patches/v1.4.2")
    parser.add_argument("tree", type=Path, help="root of an unpacked wheel or sdist")
    options = parser.parse_args()
    for name in apply_series(load_series(options.series.resolve()), options.tree):
        print(name)
    return 0


if __name__ == "__main__":
    run_main(main)
