"""Write what was edited in a tree of `nox -s edit` into the texts of its ideas, for all series.

The commits after the tag `pristine` are the series. An idea that was not edited keeps its texts.
What was edited is carried to the other series by a three-way merge of the patched files, patch by
patch; series for which the same text does the same share it. Every series is checked on every text
of the files that it patches. One that does not take the change stays as it is, with the old text
as its own, and the reason is printed.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.base.git import git
from procpool.catalog.releases import Release, ends, load_releases
from procpool.catalog.series import Series, idea_of, load_all_series, load_series
from procpool.editing.carry import DoesNotApply, carry, merge_files
from procpool.editing.edit import committed_files, made_from, make_tree, work_files
from procpool.editing.texts import changes, read_texts, texts_of, write_texts
from procpool.patching.apply import apply_in_place
from procpool.patching.patch import patched_files, read_header
from procpool.patching.steps import (
    COMMITTER,
    Files,
    Step,
    dated,
    does,
    pristine_files,
    read_message,
    read_steps,
    render,
    write_files,
)

# Texts that were written anew, by idea: other series may take them too.
Written = dict[str, list[str]]


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
        try:
            git(copy, "rebase", "--quiet", "-i", "--autosquash", "pristine", **quiet, **COMMITTER)
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
            idea, header = read_message(text, author, date)
            steps.append(Step(idea, header, committed_files(repository, commit, pristine)))
        first = git(repository, "merge-base", "pristine", "HEAD")
        if not steps or first != git(repository, "rev-parse", "pristine^{commit}"):
            raise UserError(f"{tree} has no commits on top of the tag pristine: nothing is written")
    return steps


def choose(name: str, steps: list[Step]) -> int:
    """Return the place of a patch that is named by its idea or its number, from 0.

    Raise `UserError` that names the patches.
    """
    for number, step in enumerate(steps):
        if name == step.idea or (name.isdecimal() and int(name) == number + 1):
            return number
    known = ", ".join(step.idea for step in steps)
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
                f"the uncommitted change does not apply at patch {step.idea}, {error}: commit it in"
                " its place with 'git rebase -i pristine'"
            ) from None
        folded.append(dataclasses.replace(step, files=files))
    return folded


def read_edits(tree: Path, pristine: Files, patch: str | None) -> list[Step]:
    """Return the steps as edited in `tree`.

    `patch` names the one that takes an uncommitted change. Raises `UserError` if an edit would be
    lost, and says what to do.
    """
    if any((tree / ".git" / name).exists() for name in ("rebase-merge", "rebase-apply")):
        raise UserError(f"a rebase is under way in {tree}: finish it, or 'git rebase --abort'")
    work = work_files(tree, pristine)
    steps = committed_steps(tree, pristine)
    ideas = [step.idea for step in steps]
    if twice := next((idea for idea in ideas if ideas.count(idea) > 1), None):
        raise UserError(f"two patches are named {twice}: give one another Patch-Name")
    if work == steps[-1].files:
        if patch:
            raise UserError(f"--patch {patch}: {tree} has no uncommitted change")
        return steps
    if patch is None:
        raise UserError(
            f"{tree} has uncommitted changes: say which patch takes them with --patch"
            f" ({', '.join(ideas)}), or commit them as a new patch"
        )
    return fold(steps, work, choose(patch, steps), pristine)


def verify(texts: Mapping[str, str], releases: Iterable[Release]) -> None:
    """Apply the texts, without fuzz, to both ends of each text of the pool among `releases`.

    Raise `UserError` that names the release, the patch, the file and the hunk.
    """
    own = {release.version: release for release in releases}
    for version in sorted(ends(own.values(), lambda release: release.pool_sha256)):
        pristine = pristine_files(own[version])
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch).resolve()
            named = {f"{idea}/text.patch": text.encode() for idea, text in texts.items()}
            write_files(root / "patches", named)
            patches = [root / "patches" / name for name in named]
            names = {name for patch in patches for name in patched_files(patch)}
            write_files(root / "tree", {name: pristine.get(name) for name in names})
            try:
                apply_in_place(root / "tree", patches)
            except UserError as error:
                raise UserError(f"on {version}: {error}") from None


def fitting_texts(
    steps: list[Step], pristine: Files, own: Mapping[str, str], written: Written
) -> dict[str, str]:
    """Return a text for each step, by idea: one already written, its own, or a new one.

    A text serves if it says what the step says and leaves the files that the step leaves. New texts
    are added to `written`. Raises `UserError` as `render` does.
    """
    texts: dict[str, str] = {}
    before: Files = {}
    for step in steps:
        said = dated(step.header, f"patch {step.idea}").undated()
        known = [own[step.idea]] if step.idea in own else []
        for text in written.get(step.idea, []) + known:
            says = read_header(text, step.idea).undated() == said
            if says and does(text, before, step.files, pristine):
                break
        else:
            text = render(step, before, pristine)
            written.setdefault(step.idea, []).append(text)
        texts[step.idea] = text
        before = step.files
    return texts


def _steps(series: Series, pristine: Files) -> list[Step]:
    """Return the steps of a series on a release."""
    return read_steps({idea_of(text): text for text in series.patches}, pristine)


def refresh(
    tree: Path, patches: Path, *, patch: str | None, only: bool, dry_run: bool
) -> tuple[dict[str, str | None], dict[str, str]]:
    """Write the edits of `tree` into the texts in the folder `patches`.

    Returns the files that change, by path, None for one that goes, and why a series did not take
    the change, by name. Raises `UserError`, and writes nothing, if the edits make no series.
    """
    releases = load_releases(patches)
    version, start = made_from(tree)
    if version not in releases:
        raise UserError(f"{version} is no longer supported: nothing is written")
    series = load_series(releases[version].series, patches)
    if texts_of(series) != start:
        raise UserError(
            f"series {series.name} has changed since {tree} was made from it: put the edits by,"
            f" and make the tree anew with 'nox -s edit -- {version} --force'"
        )
    here = pristine_files(releases[version])
    old, new = _steps(series, here), read_edits(tree, here, patch)
    written: Written = {}
    texts = read_texts(patches)
    texts[series.name] = fitting_texts(new, here, start, written)
    verify(texts[series.name], [r for r in releases.values() if r.series == series.name])
    fresh, ideas = texts[series.name], texts[series.name].keys() | start.keys()
    edited = {idea for idea in ideas if fresh.get(idea) != start.get(idea)}
    refused: dict[str, str] = {}
    if texts[series.name] != start and not only:
        for other in reversed(load_all_series(patches)):
            own = [release for release in releases.values() if release.series == other.name]
            missing = edited & start.keys() - texts[other.name].keys()
            if other.name == series.name or not own or missing == edited:
                continue
            if missing:
                refused[other.name] = f"it has no patch {', '.join(sorted(missing))}"
                continue
            pristine = pristine_files(own[-1])
            try:
                steps = carry(old, new, _steps(other, pristine), here, pristine)
                fresh = fitting_texts(steps, pristine, texts[other.name], written)
                verify(fresh, own)
            except (DoesNotApply, UserError) as error:
                refused[other.name] = str(error)
            else:
                texts[other.name] = fresh
    changed = changes(patches, texts)
    if changed and not dry_run:
        write_texts(patches, changed)
        make_tree(version, tree, patches)
    return changed, refused


def main(argv: Sequence[str] | None = None) -> int:
    """Write the edits; print the changed files, and the series that do not take them.

    Return 1 if there is such a series.
    """
    parser = step_parser(__doc__)
    parser.add_argument("tree", nargs="?", help="a tree, or its version; default: the only one")
    parser.add_argument("--patch", help="the patch that takes an uncommitted change: its idea")
    parser.add_argument("--only", action="store_true", help="leave the other series alone")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    options = parser.parse_args(argv)
    tree = find_tree(options.tree, ROOT / "build")
    changed, refused = refresh(
        tree, options.patches, patch=options.patch, only=options.only, dry_run=options.dry_run
    )
    for name, text in sorted(changed.items()):
        print(f"{name}: {'no series needs it any more' if text is None else 'written'}")
    if not changed:
        print("nothing has changed")
    elif options.dry_run:
        print("nothing was written: --dry-run")
    else:
        print("now run 'nox -s revisions', and say in CHANGELOG.md what has changed")
    for name, reason in refused.items():
        print(f"{name} does not take the change, and keeps the texts it had: {reason}")
    if refused:
        print("patches/README.md says how to go on where it does not apply")
    return 1 if refused else 0
