"""Unpack a release with its series applied, to edit the patches with git or quilt.

In the tree, the tag `pristine` is the release and each commit after it is a patch, named by the
field Patch-Name at the end of its message. Where quilt is installed, the same patches are applied
under quilt too, from copies in `patches/`. `refresh.py` writes what was edited into the series.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from errors import UserError, one_line, run_main
from patch_steps import (
    Files,
    commit_files,
    commit_steps,
    differing,
    pristine_files,
    read_steps,
    write_files,
)
from releases_table import PATCHES, ROOT, Series, get_release, load_series
from repository import git

# In the tree's .git: the series as it was when the tree was made, and the version of the release.
_STATE = Path(".git", "procpool")
# What the tools leave in the tree; git is told to ignore it.
_IGNORED = ".pc/\n/patches/\n__pycache__/\n*.orig\n*.rej\n"


def made_from(tree: Path) -> tuple[str, Series]:
    """Return the version of the release and the series, a copy, that a tree was made from.

    Raise `UserError` if it is no such tree.
    """
    state = tree / _STATE
    if not state.is_dir():
        raise UserError(f"{tree} was not made by 'nox -s edit': give another place with --tree")
    [path] = [path for path in state.iterdir() if path.is_dir()]
    return (state / "release").read_text("utf-8").strip(), load_series(path)


def same_text(one: list[Path], other: list[Path]) -> bool:
    """Return whether two lists of patches have the same names and texts."""
    return [(p.name, p.read_bytes()) for p in one] == [(p.name, p.read_bytes()) for p in other]


def quilt_series(tree: Path) -> Series | None:
    """Return the tree's own copy of the series, which quilt works on, or None."""
    _, start = made_from(tree)
    path = tree / "patches"
    if not path.is_dir():
        return None
    return Series(start.name, path, start.first, start.last, start.line, start.revision)


def work_files(tree: Path, pristine: Files) -> Files:
    """Return the files on disk that differ from the pristine release, ignored files left out."""
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch, "index"))}
        git(tree, "read-tree", "pristine", **index)
        git(tree, "add", "--all", ".", **index)
        written = git(tree, "write-tree", **index).strip()
    return committed_files(tree, written, pristine)


def committed_files(tree: Path, commit: str, pristine: Files) -> Files:
    """Return the files of a commit, or a git tree, that differ from the pristine release.

    Raise `UserError` for one that lies outside livekit/, which a patch may not touch.
    """
    names = git(tree, "diff", "--name-only", "--no-renames", "-z", "pristine", commit)
    files: dict[str, bytes | None] = {}
    for name in names.split("\0")[:-1]:
        if not name.startswith("livekit/"):
            raise UserError(f"{tree / name} lies outside livekit/: delete it, or don't change it")
        held = git(tree, "ls-tree", "--name-only", commit, "--", name)
        text = git(tree, "show", f"{commit}:{name}") if held else None
        files[name] = None if text is None else text.encode("utf-8", "surrogateescape")
    return differing(files, pristine)


def applied(tree: Path) -> int | None:
    """Return how many patches are applied under quilt, or None where quilt has none to apply."""
    if not (tree / "patches").is_dir():
        return None
    listing = tree / ".pc" / "applied-patches"
    return len(listing.read_text("utf-8").split()) if listing.is_file() else 0


def untouched(tree: Path) -> bool:
    """Return whether nothing in a tree was edited since it was made."""
    _, start = made_from(tree)
    own = quilt_series(tree)
    return (
        git(tree, "rev-parse", "HEAD") == git(tree, "rev-parse", "made^{commit}")
        and (own is None or same_text(own.patches(), start.patches()))
        and not git(tree, "status", "--porcelain")
    )


def _push(tree: Path, series: Series) -> None:
    """Apply the series under quilt: from copies in `patches/`, which plain `quilt` then works on.

    Raise `UserError` with quilt's reason.
    """
    (tree / "patches").mkdir()
    for path in [series.path / "series", *series.patches()]:
        shutil.copy(path, tree / "patches")
    environment = {n: text for n, text in os.environ.items() if not n.startswith("QUILT_")}
    result = subprocess.run(
        ["quilt", "--quiltrc", "-", "push", "-a", "--fuzz=0"],
        cwd=tree,
        env=environment | {"QUILT_PATCHES": "patches", "QUILT_SERIES": "series"},
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise UserError(f"quilt push failed: {one_line(result.stdout + result.stderr)[-400:]}")


def make_tree(version: str, tree: Path, patches: Path = PATCHES) -> Series:
    """Unpack a release into `tree`, which must be empty or absent, with its series applied.

    Return the series. Raises `UserError`, and leaves nothing behind.
    """
    release, series = get_release(version, patches)
    pristine = pristine_files(release)
    steps = read_steps(series.patches(), pristine)
    tree.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{tree.name}-", dir=tree.parent) as scratch:
        fresh = Path(scratch).resolve() / "tree"
        fresh.mkdir()
        write_files(fresh, pristine)
        git(fresh, "init", "--quiet", "--initial-branch=series")
        shutil.copytree(series.path, fresh / _STATE / series.name)
        (fresh / _STATE / "release").write_text(f"{release.version}\n", "utf-8")
        commit_files(fresh, f"livekit-agents {release.version}, as released\n", force=True)
        git(fresh, "tag", "pristine")
        (fresh / ".git" / "info").mkdir(exist_ok=True)
        (fresh / ".git" / "info" / "exclude").write_text(_IGNORED, "utf-8")
        commit_steps(fresh, steps, pristine)
        git(fresh, "tag", "made")
        if shutil.which("quilt"):
            git(fresh, "checkout", "--quiet", "pristine")
            _push(fresh, series)
            git(fresh, "symbolic-ref", "HEAD", "refs/heads/series")
            git(fresh, "reset", "--quiet")
        _identify(fresh, steps[0].header.author)
        tree.mkdir(exist_ok=True)
        # What is in it may be somebody's working directory: it is filled, not replaced.
        for path in tree.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for path in list(fresh.iterdir()):
            path.rename(tree / path.name)
    return series


def _identify(tree: Path, author: str) -> None:
    """Let git commit in `tree` under the name of `author` if the user has set none."""
    command = ["git", "var", "GIT_COMMITTER_IDENT"]
    if subprocess.run(command, cwd=tree, capture_output=True).returncode != 0:
        name, _, address = author.partition(" <")
        git(tree, "config", "user.name", name)
        git(tree, "config", "user.email", address.rstrip(">"))


def main() -> int:
    """Make the tree and say how to go on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("version", help="a supported release, such as 1.5.11")
    parser.add_argument("--tree", type=Path, help="where; default: build/edit-VERSION")
    parser.add_argument("--force", action="store_true", help="throw the edits of a tree away")
    parser.add_argument(
        "--patches", type=Path, default=PATCHES, help="folder that holds releases.toml"
    )
    options = parser.parse_args()
    release, _ = get_release(options.version, options.patches)
    tree = (options.tree or ROOT / "build" / f"edit-{release.version}").resolve()
    if tree.exists() and (not tree.is_dir() or any(tree.iterdir())):
        made_from(tree)
        if not options.force and not untouched(tree):
            raise UserError(f"{tree} has edits: give --force to throw them away")
    series = make_tree(release.version, tree, options.patches)
    print(f"{tree}: livekit-agents {release.version}, series {series.name} applied under git")
    if (tree / "patches").is_dir():
        print("and quilt: plain quilt works there, on copies of the patches")
    else:
        print("quilt is not installed, so the tree is for git alone")
    print("edit, then run 'nox -s refresh'")
    return 0


if __name__ == "__main__":
    run_main(main)
