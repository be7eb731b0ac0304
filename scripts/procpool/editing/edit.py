"""Unpack a release with its series applied, to edit the patches with git.

In the tree, the tag `pristine` is the release and each commit after it is a patch, named by the
field Patch-Name at the end of its message. `nox -s refresh` writes what was edited into the texts.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import PATCHES, ROOT
from procpool.base.git import git
from procpool.catalog.releases import get_release
from procpool.catalog.series import Series
from procpool.editing.texts import texts_of
from procpool.patching.steps import (
    Files,
    commit_files,
    commit_steps,
    differing,
    pristine_files,
    read_steps,
    write_files,
)

# In the tree's .git: the series' texts as they were when the tree was made, and the release.
_STATE = Path(".git", "procpool")
# What tools leave in the tree; git is told to ignore it.
_IGNORED = "__pycache__/\n*.orig\n*.rej\n"


def made_from(tree: Path) -> tuple[str, dict[str, str]]:
    """Return the version of the release, and the texts by idea, that a tree was made from.

    Raise `UserError` if it is no such tree.
    """
    state = tree / _STATE
    if not (state / "series").is_file():
        raise UserError(f"{tree} was not made by 'nox -s edit': give another place with --tree")
    ideas = (state / "series").read_text("utf-8").split()
    texts = {idea: (state / f"{idea}.patch").read_bytes().decode() for idea in ideas}
    return (state / "release").read_text("utf-8").strip(), texts


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


def untouched(tree: Path) -> bool:
    """Return whether nothing in a tree was edited since it was made."""
    head, made = git(tree, "rev-parse", "HEAD"), git(tree, "rev-parse", "made^{commit}")
    return head == made and not git(tree, "status", "--porcelain")


def make_tree(version: str, tree: Path, patches: Path = PATCHES) -> Series:
    """Unpack a release into `tree`, which must be empty or absent, with its series applied.

    Return the series. Raises `UserError`, and leaves nothing behind.
    """
    release, series = get_release(version, patches)
    pristine = pristine_files(release)
    texts = texts_of(series)
    steps = read_steps(dict(zip(texts, series.patches, strict=True)), pristine)
    tree.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{tree.name}-", dir=tree.parent) as scratch:
        fresh = Path(scratch).resolve() / "tree"
        fresh.mkdir()
        write_files(fresh, pristine)
        git(fresh, "init", "--quiet", "--initial-branch=series")
        state = {f"{idea}.patch": text for idea, text in texts.items()}
        state |= {"release": release.version, "series": "\n".join(texts)}
        write_files(fresh / _STATE, {name: text.encode() for name, text in state.items()})
        commit_files(fresh, f"livekit-agents {release.version}, as released\n", force=True)
        git(fresh, "tag", "pristine")
        (fresh / ".git" / "info").mkdir(exist_ok=True)
        (fresh / ".git" / "info" / "exclude").write_text(_IGNORED, "utf-8")
        commit_steps(fresh, steps, pristine)
        git(fresh, "tag", "made")
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


def main(argv: Sequence[str] | None = None) -> int:
    """Make the tree and say how to go on."""
    parser = step_parser(__doc__)
    parser.add_argument("version", help="a supported release, such as 1.5.11")
    parser.add_argument("--tree", type=Path, help="where; default: build/edit-VERSION")
    parser.add_argument("--force", action="store_true", help="throw the edits of a tree away")
    options = parser.parse_args(argv)
    release, _ = get_release(options.version, options.patches)
    tree = (options.tree or ROOT / "build" / f"edit-{release.version}").resolve()
    if tree.exists() and (not tree.is_dir() or any(tree.iterdir())):
        made_from(tree)
        if not options.force and not untouched(tree):
            raise UserError(f"{tree} has edits: give --force to throw them away")
    series = make_tree(release.version, tree, options.patches)
    print(f"{tree}: livekit-agents {release.version}, series {series.name} applied under git")
    print("edit, then run 'nox -s refresh'")
    return 0
