"""A series as steps: what each patch says, and the files as they are once it is applied.

A text becomes a step, and a step a text again. Where a text still says and does what its step does,
it keeps every byte, its line numbers too: `git apply` finds lines that have moved.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from procpool.base.errors import UserError, one_line
from procpool.base.git import git
from procpool.base.source_date import today
from procpool.catalog.fetch import fetch
from procpool.catalog.releases import Release
from procpool.patching.apply import apply_patch
from procpool.patching.patch import FIRST_LINE, Header, patched_files, read_header

# Contents by path, None for a file that is not there.
Files = Mapping[str, bytes | None]

# For git's environment, where the user need not have a name.
COMMITTER = {"GIT_COMMITTER_NAME": "procpool", "GIT_COMMITTER_EMAIL": "procpool@localhost"}

_PATCH_NAME = re.compile(r"^Patch-Name: *(.*?) *(?:\n|\Z)", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One patch of a series.

    `idea` is the idea that it is a text of; `files` holds the files that differ from the pristine
    release once the patch and those before it are applied.
    """

    idea: str
    header: Header
    files: Files


def read_message(text: str, author: str, date: str) -> tuple[str, Header]:
    """Read a commit's message; return the patch's idea and its header.

    The idea is the field Patch-Name, else made from the subject without its area: "ipc: close the
    pool" is close-the-pool. Raises `UserError` if it is no name for a folder.
    """
    found = _PATCH_NAME.search(text)
    subject, _, body = _PATCH_NAME.sub("", text).strip("\n").partition("\n\n")
    subject = one_line(subject)
    plain = re.sub(r"[^a-z0-9]+", "-", subject.rpartition(": ")[2].lower()).strip("-")
    idea = found[1] if found else plain
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", idea):
        raise UserError(
            f"commit {subject!r}: {idea!r} is no Patch-Name: give it letters and dashes"
        )
    return idea, Header(author, date, subject, body.strip("\n"))


def message(step: Step) -> str:
    """Return the message of the commit that holds a step, as `read_message` reads it."""
    header = step.header.with_field("Patch-Name", step.idea)
    return f"{header.subject}\n\n{header.body}\n"


def pristine_files(
    release: Release, names: Collection[str] | None = None
) -> dict[str, bytes | None]:
    """Return the files of a release's wheel by path, or those of them that `names` lists.

    Raise `UserError` as `fetch` does.
    """
    with zipfile.ZipFile(fetch(release)) as archive:
        held = [name for name in archive.namelist() if not name.endswith("/")]
        return {name: archive.read(name) for name in held if names is None or name in names}


def write_files(root: Path, files: Files) -> None:
    """Write files below `root`, and remove those that are None."""
    for name, content in files.items():
        path = root / name
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def differing(files: Files, pristine: Files) -> dict[str, bytes | None]:
    """Return those files, by path, that differ from the pristine release."""
    return {n: content for n, content in sorted(files.items()) if content != pristine.get(n)}


def read_steps(texts: Mapping[str, Path], pristine: Files) -> list[Step]:
    """Apply texts, by their ideas, in order to a release, without fuzz; return the steps.

    Raise `UserError` that names the patch, file and hunk if one does not apply, or the patch whose
    header is not in mail format.
    """
    steps: list[Step] = []
    files: dict[str, bytes | None] = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch).resolve()
        for idea, text in texts.items():
            new = {n: pristine.get(n) for n in patched_files(text) if n not in files}
            write_files(root, new)
            files |= new
            apply_patch(root, text)
            for name in files:
                path = root / name
                files[name] = path.read_bytes() if path.is_file() else None
            header = read_header(text.read_text("utf-8"), idea)
            steps.append(Step(idea, header, differing(files, pristine)))
    return steps


def commit_files(repository: Path, message: str, *, force: bool = False, **who: str) -> None:
    """Commit the whole tree, with `force` ignored files too.

    `who` is for git's environment; the committer is the project by default.
    """
    who = COMMITTER | who
    who = {"GIT_AUTHOR_NAME": "procpool", "GIT_AUTHOR_EMAIL": "procpool@localhost"} | who
    git(repository, "add", "--all", *(["--force"] if force else []), ".")
    git(repository, "commit", "--quiet", "--allow-empty", "--file=-", stdin=message, **who)


def commit_steps(repository: Path, steps: Iterable[Step], pristine: Files) -> None:
    """Make a commit for each step on top of the repository's, which holds the pristine files."""
    before: Files = {}
    for step in steps:
        write_files(repository, {n: pristine.get(n) for n in before} | dict(step.files))
        before = step.files
        name, _, address = step.header.author.partition(" <")
        commit_files(
            repository,
            message(step),
            GIT_AUTHOR_NAME=name,
            GIT_AUTHOR_EMAIL=address.rstrip(">"),
            GIT_AUTHOR_DATE=step.header.date,
        )


def does(text: str, before: Files, after: Files, pristine: Files) -> bool:
    """Whether a text, applied to the files of one step, leaves those of the next."""
    with tempfile.TemporaryDirectory() as scratch:
        root, patch = Path(scratch).resolve() / "tree", Path(scratch).resolve() / "text" / "patch"
        write_files(patch.parent, {patch.name: text.encode()})
        names = {*patched_files(patch), *before, *after}
        write_files(root, {n: before.get(n, pristine.get(n)) for n in names})
        try:
            apply_patch(root, patch)
        except UserError:
            return False
        left = {n: (root / n).read_bytes() if (root / n).is_file() else None for n in names}
    return differing(left, pristine) == differing(after, pristine)


def dated(header: Header, origin: str) -> Header:
    """Return a header with the fields that every patch has, Last-Update being today.

    Raise `UserError` if it does not name the bug.
    """
    if not header.field("Bug"):
        raise UserError(
            f"{origin} names no bug: add 'Bug: ADDRESS' as the last line of its message, the"
            " address of the report that it answers"
        )
    if not header.field("Forwarded"):
        header = header.with_field("Forwarded", "no")
    return header.with_field("Last-Update", today())


def render(step: Step, before: Files, pristine: Files) -> str:
    """Return the text of a step, `before` being the files of the one before it.

    Raises `UserError` if it changes nothing or names no bug.
    """
    if differing(step.files, pristine) == differing(before, pristine):
        raise UserError(f"patch {step.idea} changes nothing: drop it")
    header = dated(step.header, f"patch {step.idea}")
    options = ["--no-color", "--no-ext-diff", "--no-renames", "HEAD~1", "HEAD"]
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch).resolve()
        git(root, "init", "--quiet")
        names = {*before, *step.files}
        write_files(root, {n: before.get(n, pristine.get(n)) for n in names})
        (root / ".procpool").touch()  # a commit holds at least one file
        commit_files(root, "before")
        write_files(root, {n: step.files.get(n, pristine.get(n)) for n in names})
        commit_files(root, "after")
        stat = git(root, "diff", "--stat", "--summary", *options)
        diff = git(root, "diff", *options)
    diff = re.sub(r"^index .*\n", "", diff, flags=re.MULTILINE)
    return f"{FIRST_LINE}{header.text()}---\n{stat}\n{diff}"
