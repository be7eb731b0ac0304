"""Write what was edited in a tree of `edit.py` into its series, and carry it to the others.

The commits after the tag `pristine` are the series; where only quilt's copies of the patches were
edited, these are. A patch that was not edited keeps its text. To the other series the change is
carried by a three-way merge of the patched files, patch by patch: a series gets all of it, checked
on every text of the pool that it patches, or nothing, and the reason is printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from apply_series import apply_in_place, patched_files
from carry import DoesNotApply, carry, merge_files
from edit import (
    applied,
    committed_files,
    made_from,
    make_tree,
    quilt_series,
    same_text,
    work_files,
)
from errors import UserError, run_main
from patch_steps import (
    Files,
    Step,
    edited,
    idea,
    pristine_files,
    read_message,
    read_steps,
    render,
    write_files,
)
from releases_table import (
    PATCHES,
    ROOT,
    Release,
    Series,
    ends,
    load_all_series,
    load_releases,
    load_series,
)
from repository import git


def find_tree(name: str | None, build: Path) -> Path:
    """Return the tree that was meant: a directory, a version, or the only one in `build`.

    Raise `UserError` that names those there are.
    """
    trees = sorted(path.parent.parent for path in build.glob("edit-*/.git/procpool"))
    if name is None and len(trees) == 1:
        return trees[0]
    for path in [Path(name), build / f"edit-{name}"] if name else []:
        if path.is_dir():
            made_from(path)
            return path.resolve()
    known = ", ".join(path.name.removeprefix("edit-") for path in trees) or "none"
    raise UserError(
        f"{name or 'which tree?'}: give a tree, or the version of one in {build}: {known}"
    )


@contextmanager
def _folded(tree: Path) -> Iterator[Path]:
    """Yield a repository with the tree's commits, in which fixup commits are part of theirs."""
    subjects = git(tree, "log", "--format=%s", "pristine..HEAD")
    if not any(line.startswith(("fixup! ", "squash! ")) for line in subjects.split("\n")):
        yield tree
        return
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch).resolve() / "tree"
        git(tree, "clone", "--quiet", str(tree), str(copy))
        quiet = {"GIT_SEQUENCE_EDITOR": ":", "GIT_EDITOR": ":"}
        who = {"GIT_COMMITTER_NAME": "procpool", "GIT_COMMITTER_EMAIL": "procpool@localhost"}
        try:
            git(copy, "rebase", "--quiet", "-i", "--autosquash", "pristine", **quiet, **who)
        except UserError as error:
            raise UserError(
                f"the fixup commits of {tree} conflict with later patches: run 'git rebase -i"
                f" --autosquash pristine' there and mend them ({error})"
            ) from None
        yield copy


def committed_steps(tree: Path, pristine: Files) -> list[Step]:
    """Return the steps that the commits of a tree hold; raise `UserError` if they are no row."""
    with _folded(tree) as repository:
        steps = []
        for row in git(
            repository, "rev-list", "--reverse", "--parents", "pristine..HEAD"
        ).splitlines():
            commit, *parents = row.split()
            if len(parents) != 1:
                raise UserError(f"{tree}: commit {commit[:12]} is a merge: rebase the commits")
            shown = git(repository, "show", "-s", "--format=%an <%ae>%n%aD%n%B", commit)
            author, date, text = shown.split("\n", 2)
            name, header = read_message(text, author, date)
            steps.append(Step(name, header, committed_files(repository, commit, pristine)))
        first = git(repository, "merge-base", "pristine", "HEAD")
        if not steps or first != git(repository, "rev-parse", "pristine^{commit}"):
            raise UserError(f"{tree} has no commits on top of the tag pristine: nothing is written")
    return steps


def choose(name: str, steps: list[Step]) -> int:
    """Return the place of a patch that is named by its number or its name, from 0.

    Raise `UserError` that names the patches.
    """
    for number, step in enumerate(steps):
        if idea(Path(name).name) == step.name or (name.isdecimal() and int(name) == number + 1):
            return number
    known = ", ".join(f"{n:04}-{step.name}" for n, step in enumerate(steps, 1))
    raise UserError(f"--patch {name}: no such patch; there are {known}")


def fold(steps: list[Step], work: Files, number: int, pristine: Files) -> list[Step]:
    """Return the steps with the uncommitted change `work` made by the patch at place `number`.

    Raise `UserError` if a later patch changes the same lines.
    """
    top = steps[-1].files
    folded = steps[:number]
    for step in steps[number:]:
        try:
            files = merge_files(top, step.files, work, pristine, pristine)
        except DoesNotApply as error:
            raise UserError(
                f"the uncommitted change does not apply at patch {step.name}, {error}: commit it in"
                " its place with 'git rebase -i pristine'"
            ) from None
        folded.append(dataclasses.replace(step, files=files))
    return folded


def _patch(root: Path, patch: Path) -> None:
    """Apply a patch as `quilt push` does, which takes fuzz; raise `UserError` if it does not."""
    command = ["patch", "-p1", "--silent", "--batch", "--remove-empty-files"]
    command += ["--no-backup-if-mismatch", f"--input={patch}"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if result.returncode != 0:
        raise UserError(f"{patch} does not apply: push it with quilt and mend it: {result.stdout}")


def read_edits(tree: Path, old: list[Step], pristine: Files, patch: str | None) -> list[Step]:
    """Return the steps as edited in `tree`, by git or by quilt; `old` are those it was made with.

    `patch` names the one that takes an uncommitted change. Raises `UserError` if an edit would be
    lost, and says what to do.
    """
    _, start = made_from(tree)
    if any((tree / ".git" / name).exists() for name in ("rebase-merge", "rebase-apply")):
        raise UserError(f"a rebase is under way in {tree}: finish it, or 'git rebase --abort'")
    own = quilt_series(tree)
    by_quilt = own is not None and not same_text(own.patches(), start.patches())
    by_git = git(tree, "rev-parse", "HEAD") != git(tree, "rev-parse", "made^{commit}")
    if by_quilt and by_git:
        raise UserError(
            f"both quilt's patches and git's commits of {tree} were edited: keep the patches with"
            " 'git reset --soft made', or the commits by deleting patches/ and .pc/"
        )
    work = work_files(tree, pristine)
    if own is not None and by_quilt:
        # What fuzz has done is checked against the files, and then written without fuzz.
        steps = read_steps(own.patches(), pristine, _patch)
        states: list[Files] = [{}, *(step.files for step in steps)]
        if work != states[applied(tree) or 0]:
            raise UserError(
                f"{tree} has changes that are not in its patches: run 'quilt refresh' there"
            )
        return steps
    steps = committed_steps(tree, pristine)
    count = applied(tree)
    popped = count is not None and work == [{}, *(step.files for step in old)][count]
    if work == steps[-1].files or popped:
        if patch:
            raise UserError(f"--patch {patch}: {tree} has no uncommitted change")
        return steps
    if patch is None:
        known = ", ".join(f"{n:04}-{step.name}" for n, step in enumerate(steps, 1))
        raise UserError(
            f"{tree} has uncommitted changes: say which patch takes them with --patch ({known}),"
            " commit them as a new patch, or, after 'quilt pop', run 'quilt refresh'"
        )
    return fold(steps, work, choose(patch, steps), pristine)


def verify(series: Series, texts: dict[str, str], releases: Iterable[Release]) -> None:
    """Apply the texts, without fuzz, to both ends of each text of the pool that the series fits.

    Raise `UserError` that names the release, the patch, the file and the hunk.
    """
    own = [release for release in releases if release.series == series.name]
    for version in ends(own, lambda release: release.pool_sha256):
        [release] = [release for release in own if release.version == version]
        pristine = pristine_files(release)
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch).resolve()
            write_files(root / "patches", {n: text.encode() for n, text in texts.items()})
            patches = [root / "patches" / name for name in texts]
            names = {name for patch in patches for name in patched_files(patch)}
            write_files(root / "tree", {name: pristine.get(name) for name in names})
            try:
                apply_in_place(root / "tree", patches)
            except UserError as error:
                raise UserError(f"on {version}: {error}") from None


def replace_series(series: Series, texts: dict[str, str]) -> None:
    """Give a series these patch files in place of those it has: in a copy, then all at once."""
    with tempfile.TemporaryDirectory(prefix=".refresh-", dir=series.path.parent) as scratch:
        copy, old = Path(scratch, "new"), Path(scratch, "old")
        shutil.copytree(series.path, copy)
        names = [path.name for path in series.patches()]
        for name in names:
            (copy / name).unlink()
        for name, text in texts.items():
            (copy / name).write_text(text, "utf-8", newline="\n")
        if names != list(texts):
            (copy / "series").write_text("".join(f"{name}\n" for name in texts), "utf-8")
        series.path.rename(old)
        try:
            copy.rename(series.path)
        except OSError:
            old.rename(series.path)
            raise


def texts_of(series: Series) -> dict[str, str]:
    """Return the patch files of a series by name, in order."""
    return {path.name: path.read_bytes().decode() for path in series.patches()}


def refresh(
    tree: Path, patches: Path, *, patch: str | None, only: bool, dry_run: bool
) -> dict[str, str]:
    """Write the edits of `tree` into the series in the folder `patches`.

    Returns what became of each series, by name. Raises `UserError`, and writes nothing, if the
    edits make no series.
    """
    releases = load_releases(patches)
    version, start = made_from(tree)
    series = load_series(patches / start.name)
    if version not in releases or releases[version].series != series.name:
        raise UserError(f"{version} no longer has series {series.name}: make the tree anew")
    if not same_text(series.patches(), start.patches()):
        raise UserError(
            f"series {series.name} has changed since {tree} was made from it: put the edits by,"
            f" and make the tree anew with 'nox -s edit -- {version} --force'"
        )
    here = pristine_files(releases[version])
    old = read_steps(series.patches(), here)
    new = read_edits(tree, old, here, patch)
    texts = render(new, here, series.patches())
    verify(series, texts, releases.values())
    changed = edited(texts_of(series), texts)
    written: list[tuple[Series, dict[str, str]]] = []
    report: dict[str, str] = {}
    for other in load_all_series(patches):
        if other.name == series.name:
            fresh = texts
        elif only or not changed:
            continue
        else:
            try:
                fresh = carried(other, releases, old, new, here, changed)
            except DoesNotApply as error:
                report[other.name] = f"does not apply: {error}"
                continue
        report[other.name] = "unchanged"
        if fresh != texts_of(other):
            report[other.name] = "changed"
            written.append((other, fresh))
    if not dry_run and written:
        for other, fresh in written:
            replace_series(other, fresh)
        make_tree(version, tree, patches)
    return report


def carried(
    series: Series,
    releases: dict[str, Release],
    old: list[Step],
    new: list[Step],
    here: Files,
    changed: set[str],
) -> dict[str, str]:
    """Return the texts of another series with the change carried to it, verified.

    Its line numbers are those of the last release that it fits. Raises `DoesNotApply`.
    """
    own = [release for release in releases.values() if release.series == series.name]
    names = {idea(path.name) for path in series.patches()}
    missing = changed & {step.name for step in old} - names
    if missing == changed:
        return texts_of(series)
    if missing:
        raise DoesNotApply(f"it has no patch {', '.join(sorted(missing))}: edit it by itself")
    if not own:
        raise DoesNotApply("releases.toml has no release with it")
    pristine = pristine_files(own[-1])
    steps = carry(old, new, read_steps(series.patches(), pristine), here, pristine)
    texts = render(steps, pristine, series.patches())
    try:
        verify(series, texts, releases.values())
    except UserError as error:
        raise DoesNotApply(str(error)) from None
    return texts


def main() -> int:
    """Write the edits and print what became of each series; return 1 if one does not take them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tree", nargs="?", help="a tree, or its version; default: the only one")
    parser.add_argument("--patch", help="the patch that takes an uncommitted change: 0003 or name")
    parser.add_argument("--only", action="store_true", help="leave the other series alone")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    parser.add_argument(
        "--patches", type=Path, default=PATCHES, help="folder that holds releases.toml"
    )
    options = parser.parse_args()
    tree = find_tree(options.tree, ROOT / "build")
    report = refresh(
        tree, options.patches, patch=options.patch, only=options.only, dry_run=options.dry_run
    )
    for name, fate in report.items():
        print(f"{name}: {fate}")
    if "changed" in report.values():
        if options.dry_run:
            print("nothing was written: --dry-run")
        else:
            print("now run 'nox -s revisions', and say in CHANGELOG.md what has changed")
    if any(fate.startswith("does not") for fate in report.values()):
        print("patches/README.md says how to go on where it does not apply")
        return 1
    return 0


if __name__ == "__main__":
    run_main(main)
