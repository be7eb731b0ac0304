"""A series as steps: what each patch says, and the files as they are once it is applied.

A patch file becomes a step, and a step a patch file again. Where neither the words nor the change
of a patch are new, its file keeps every byte.
"""

from __future__ import annotations

import re
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from apply_series import apply_in_place, patched_files
from errors import UserError, one_line
from fetch import fetch
from releases_table import Release
from repository import git
from source_date import source_date

# Contents by path, None for a file that is not there.
Files = Mapping[str, bytes | None]

_FIRST_LINE = "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"
# Where a patch's diff begins: as git writes it, as quilt does, or plain.
_DIFF = re.compile(r"^(?=diff --git |Index: |--- \S)", re.MULTILINE)
_NAME = re.compile(r"^(?:\d+-)?(.+?)(?:\.patch|\.diff)?$")
_PATCH_NAME = re.compile(r"^Patch-Name: *(.*?) *(?:\n|\Z)", re.MULTILINE)
_LAST_UPDATE = re.compile(r"^Last-Update: .*$", re.MULTILINE)
_FIELDS = re.compile(r"([A-Z][A-Za-z-]*: .+(\n .+)*\n?)+")


@dataclass(frozen=True)
class Header:
    """What stands above a diff.

    The author as "Name <address>", the date as in mail (RFC 5322), the subject without "[PATCH]",
    and the body with its DEP-3 fields, without a line end at its end.
    """

    author: str
    date: str
    subject: str
    body: str

    def text(self, number: str = "") -> str:
        """Return it in mail format; `number` is what stands before the subject."""
        body = f"\n{self.body}\n" if self.body else ""
        subject = f"{number}{self.subject}"
        return f"From: {self.author}\nDate: {self.date}\nSubject: {subject}\n{body}"


@dataclass(frozen=True)
class Step:
    """One patch of a series.

    `name` is that of its file without number and suffix; `files` holds the files that differ from
    the pristine release once the patch and those before it are applied.
    """

    name: str
    header: Header
    files: Files


def idea(file_name: str) -> str:
    """Return a patch file's name without its number and suffix: what all lines call the patch."""
    found = _NAME.match(file_name)
    return found[1] if found else file_name


def read_header(text: str, origin: str) -> Header:
    """Read the header of a patch, or a whole patch, in mail format.

    Raise `UserError`, which names `origin`, if it lacks From, Date or Subject.
    """
    head = re.split(r"^---$", _DIFF.split(text)[0], maxsplit=1, flags=re.MULTILINE)[0]
    fields, _, body = head.removeprefix(_FIRST_LINE).strip("\n").partition("\n\n")
    values = []
    for name in ("From", "Date", "Subject"):
        found = re.search(rf"^{name}: (.+(?:\n[ \t].+)*)$", fields, re.MULTILINE)
        if found is None:
            raise UserError(
                f"{origin} has no {name}: line in its header: give it the header in mail format"
                " that patches/README.md shows"
            )
        values.append(one_line(found[1]))
    subject = re.sub(r"^\[PATCH[^]]*\] *", "", values[2])
    return Header(values[0], values[1], subject, body.strip("\n"))


def read_message(text: str, author: str, date: str) -> tuple[str, Header]:
    """Read a commit's message; return the patch's name and its header.

    The name is that of the field Patch-Name, else made from the subject without its area: "ipc:
    close the pool" is close-the-pool. Raises `UserError` if it is no name for a file.
    """
    found = _PATCH_NAME.search(text)
    subject, _, body = _PATCH_NAME.sub("", text).strip("\n").partition("\n\n")
    subject = one_line(subject)
    plain = re.sub(r"[^a-z0-9]+", "-", subject.rpartition(": ")[2].lower()).strip("-")
    name = idea(found[1]) if found else plain
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(
            f"commit {subject!r}: {name!r} is no Patch-Name: give it letters and dashes"
        )
    return name, Header(author, date, subject, body.strip("\n"))


def message(step: Step) -> str:
    """Return the message of the commit that holds a step, as `read_message` reads it."""
    header = step.header
    return f"{header.subject}\n\n{_with_field(header.body, f'Patch-Name: {step.name}')}\n"


def _with_field(body: str, field: str) -> str:
    """Return a body with a DEP-3 field added to its last paragraph, or in one of its own."""
    last = body.rpartition("\n\n")[2]
    return f"{body}\n{field}" if _FIELDS.fullmatch(last) else f"{body}\n\n{field}".lstrip("\n")


def undated(header: Header) -> Header:
    """Return a header whose Last-Update, if there is one, says nothing: for comparisons."""
    return replace(header, body=_LAST_UPDATE.sub("Last-Update: -", header.body))


def _dated(header: Header, day: str, origin: str) -> Header:
    """Return a header with the fields that every patch has, Last-Update being `day`.

    Raise `UserError` if it does not name the bug.
    """
    body = header.body
    if not re.search(r"^Bug: \S", body, re.MULTILINE):
        raise UserError(
            f"{origin} names no bug: add 'Bug: ADDRESS' as the last line of its message, the"
            " address of the report that it answers"
        )
    if not re.search(r"^Forwarded: \S", body, re.MULTILINE):
        body = _with_field(body, "Forwarded: no")
    if not _LAST_UPDATE.search(body):
        body = _with_field(body, "Last-Update: -")
    return replace(header, body=_LAST_UPDATE.sub(f"Last-Update: {day}", body))


def today() -> str:
    """Return the day in UTC, as YYYY-MM-DD: that of `SOURCE_DATE_EPOCH` (seconds) if it is set.

    Raise `UserError` if that is no number.
    """
    return time.strftime("%Y-%m-%d", source_date() or time.gmtime())


def pristine_files(release: Release) -> dict[str, bytes | None]:
    """Return the files of a release's wheel by path; raise `UserError` as `fetch` does."""
    with zipfile.ZipFile(fetch(release)) as archive:
        return {n: archive.read(n) for n in archive.namelist() if not n.endswith("/")}


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


def _apply(root: Path, patch: Path) -> None:
    """Apply a patch without fuzz, as `apply_in_place` does."""
    apply_in_place(root, [patch])


def read_steps(
    patches: Iterable[Path], pristine: Files, apply: Callable[[Path, Path], None] = _apply
) -> list[Step]:
    """Apply patches in order to a release, with `apply(root, patch)`, and return the steps.

    Raise `UserError` that names the patch, file and hunk if one does not apply, or the patch whose
    header is not in mail format.
    """
    steps: list[Step] = []
    files: dict[str, bytes | None] = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch).resolve()
        for patch in patches:
            new = {n: pristine.get(n) for n in patched_files(patch) if n not in files}
            write_files(root, new)
            files |= new
            apply(root, patch)
            for name in files:
                path = root / name
                files[name] = path.read_bytes() if path.is_file() else None
            header = read_header(patch.read_text("utf-8"), patch.name)
            steps.append(Step(idea(patch.name), header, differing(files, pristine)))
    return steps


def commit_files(repository: Path, message: str, *, force: bool = False, **who: str) -> None:
    """Commit the whole tree, with `force` ignored files too.

    `who` is for git's environment; the committer is the project by default.
    """
    who = {"GIT_COMMITTER_NAME": "procpool", "GIT_COMMITTER_EMAIL": "procpool@localhost"} | who
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


def _sections(text: str) -> dict[str, str]:
    """Return the parts of a diff by the path of their file."""
    parts = re.split(r"^(?=diff --git )", text, flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0].rpartition(" b/")[2]: part for part in parts}


def _unnumbered(text: str) -> str:
    """Return a diff without its line numbers and without what git shows of the code above."""
    return re.sub(r"^@@ -\S+ \+\S+ @@.*$", "@@", text, flags=re.MULTILINE)


def _diffs(steps: list[Step], pristine: Files) -> list[tuple[str, str]]:
    """Return the diffstat and the diff of each step, as `git diff` writes them; no index lines."""
    options = ["--no-color", "--no-ext-diff", "--no-renames"]
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch).resolve()
        git(root, "init", "--quiet")
        write_files(root, {n: pristine.get(n) for step in steps for n in step.files})
        (root / ".procpool").touch()  # a commit holds at least one file
        commit_files(root, "pristine")
        commit_steps(root, steps, pristine)
        found = []
        for number in reversed(range(len(steps))):
            span = [f"HEAD~{number + 1}", f"HEAD~{number}"]
            stat = git(root, "diff", "--stat", "--summary", *options, *span)
            diff = git(root, "diff", *options, *span)
            found.append((stat, re.sub(r"^index .*\n", "", diff, flags=re.MULTILINE)))
    return found


def render(steps: list[Step], pristine: Files, old: Iterable[Path]) -> dict[str, str]:
    """Return the patch files of a series by name, in order.

    `old` are the patches that the series has now. A patch that changes the same lines in the same
    words keeps its text; only its number, and its line numbers where an earlier patch has moved
    them, are made right. Raises `UserError` for a patch that is empty, or named twice.
    """
    texts = {idea(path.name): path.read_text("utf-8") for path in old}
    names = [step.name for step in steps]
    # Paths whose line numbers may have moved.
    moved = {path for name in texts.keys() - set(names) for path in _sections(texts[name])}
    if [name for name in names if name in texts] != [name for name in texts if name in names]:
        moved |= {path for text in texts.values() for path in _sections(text)}
    written: dict[str, str] = {}
    for number, (step, (stat, diff)) in enumerate(
        zip(steps, _diffs(steps, pristine), strict=True), 1
    ):
        file_name = f"{number:04}-{step.name}.patch"
        if names.count(step.name) > 1:
            raise UserError(f"two patches are named {step.name}: give one another Patch-Name")
        if not diff:
            raise UserError(f"patch {file_name} changes nothing: drop it")
        text = texts.get(step.name)
        was = _sections(text) if text else {}
        now = _sections(diff)
        parts = []
        new = was.keys() - now.keys()
        for path, part in now.items():
            if path in was and _unnumbered(was[path]) == _unnumbered(part):
                parts.append(part if path in moved else was[path])
            else:
                new |= {path}
                parts.append(part)
        moved |= new
        place = f"[PATCH {number}/{len(steps)}] "
        if text and not new and undated(read_header(text, file_name)) == undated(step.header):
            top = _DIFF.split(text)[0]
            if list(texts) != names:
                top = re.sub(
                    r"^Subject: (\[PATCH[^]]*\] *)?", f"Subject: {place}", top, flags=re.MULTILINE
                )
        else:
            header = _dated(step.header, today(), file_name)
            top = f"{_FIRST_LINE}{header.text(place)}---\n{stat}\n"
        written[file_name] = top + "".join(parts)
    return written


def edited(old: Mapping[str, str], new: Mapping[str, str]) -> set[str]:
    """Return the names of the patches that are added, dropped, or say or change something else.

    Takes the texts by file name. Line numbers, [PATCH n/m] and Last-Update don't count.
    """
    before, after = (
        {
            idea(n): re.sub(
                r"\[PATCH[^]]*\] *|^Last-Update: .*\n?", "", _unnumbered(text), flags=re.MULTILINE
            )
            for n, text in texts.items()
        }
        for texts in (old, new)
    )
    return {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)}
