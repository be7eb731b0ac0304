"""Read a patch file: its header in mail format, its DEP-3 fields, and which lines it changes.

The standard library's `email` reads the header and `unidiff` the diff; nothing else in this project
takes a patch apart.
"""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from procpool.base.errors import UserError, one_line
from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk, PatchSet

# As `git format-patch` writes it; the hash means nothing here.
FIRST_LINE = "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"
# Where the diff begins: as git writes it, as quilt does, or plain.
_DIFF = re.compile(r"^(?=diff --git |Index: |--- \S)", re.MULTILINE)
_PREFIX = re.compile(r"^\[PATCH[^]]*\] *")


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

    def text(self) -> str:
        """Return it in mail format."""
        body = f"\n{self.body}\n" if self.body else ""
        return f"From: {self.author}\nDate: {self.date}\nSubject: [PATCH] {self.subject}\n{body}"

    def _last_paragraph(self) -> tuple[str, str, Mapping[str, str]]:
        """Return the body up to its last paragraph, that paragraph, and the fields it consists of.

        The fields are empty where that paragraph is prose.
        """
        before, gap, last = self.body.rpartition("\n\n")
        message = email.message_from_string(last, policy=email.policy.default)
        prose = message.defects or message.get_payload() or not message.keys()
        return before + gap, last, {} if prose else {k: str(v) for k, v in message.items()}

    def field(self, name: str) -> str:
        """Return a DEP-3 field of the last paragraph, empty if it is not there."""
        return dict(self._last_paragraph()[2]).get(name, "")

    def with_field(self, name: str, value: str) -> Header:
        """Return the header with that field: in its place, or as the last one."""
        before, last, fields = self._last_paragraph()
        row = f"{name}: {value}"
        if name in fields:
            last = re.sub(rf"^{re.escape(name)}: .*$", lambda _: row, last, flags=re.MULTILINE)
            return replace(self, body=before + last)
        gap = "\n" if fields else "\n\n"
        return replace(self, body=f"{self.body}{gap}{row}".lstrip("\n"))

    def without_fields(self, *names: str) -> Header:
        """Return the header without those fields."""
        before, last, fields = self._last_paragraph()
        for name in set(names) & fields.keys():
            last = re.sub(rf"^{re.escape(name)}: .*(\n .*)*\n?", "", last, flags=re.MULTILINE)
        return replace(self, body=(before + last).rstrip("\n"))

    def undated(self) -> Header:
        """Return the header with a Last-Update that says nothing: for comparisons."""
        return self.with_field("Last-Update", "-") if self.field("Last-Update") else self


def name_of(patch: Path) -> str:
    """Return what people call a patch: its folder, the idea, and its file."""
    return f"{patch.parent.name}/{patch.name}"


def split(text: str) -> tuple[str, str]:
    """Return what stands above the diff, the diffstat left out, and the diff."""
    above, *_ = _DIFF.split(text, maxsplit=1)
    head = re.split(r"^---$", above, maxsplit=1, flags=re.MULTILINE)[0]
    return head, text[len(above) :]


def read_header(text: str, origin: str) -> Header:
    """Read the header of a patch, or a whole patch, in mail format.

    Raise `UserError`, which names `origin`, if it lacks From, Date or Subject.
    """
    head, _ = split(text)
    # The older policy keeps a header's text as it is: the newer one rewrites dates.
    text = head.removeprefix(FIRST_LINE).lstrip("\n")
    message = email.message_from_string(text, policy=email.policy.compat32)
    for name in ("From", "Date", "Subject"):
        if message[name] is None:
            raise UserError(
                f"{origin} has no {name}: line in its header: give it the header in mail format"
                " that patches/README.md shows"
            )
    values = {name: one_line(str(message[name])) for name in ("From", "Date", "Subject")}
    body = str(message.get_payload()).strip("\n")
    return Header(values["From"], values["Date"], _PREFIX.sub("", values["Subject"]), body)


def read_diff(patch: Path) -> PatchSet:
    """Return the files and hunks of a patch file; raise `UserError` if it holds no diff."""
    try:
        found = PatchSet(split(patch.read_text("utf-8"))[1].splitlines(keepends=True))
    except UnidiffParseError as error:
        raise UserError(f"patch {name_of(patch)} is damaged: {error}") from None
    if not found:
        raise UserError(f"patch {name_of(patch)} holds no diff")
    return found


def patched_files(patch: Path) -> list[str]:
    """Return the paths, without the a/ and b/ prefixes, that a patch adds, changes or removes."""
    return [str(file.path) for file in read_diff(patch)]


def old_text(hunk: Hunk) -> str:
    """Return the lines that a hunk expects to find, context and removed ones, as one text."""
    return "".join(line.value for line in hunk if not line.is_added)


def ambiguous_hunk(patch: Path, files: Mapping[str, bytes | None]) -> str | None:
    """Return which hunk's old text stands more than once in its file, None if none does.

    `files` are the contents that the patch is about to be applied to. Lines may sit at another
    number than a hunk says, so a text that stands twice could be changed in the wrong place.
    """
    for file in read_diff(patch):
        content = (files.get(str(file.path)) or b"").decode("utf-8")
        for number, hunk in enumerate(file, 1):
            old = old_text(hunk)
            if old and (count := f"\n{content}".count(f"\n{old}")) > 1:
                place = f"file {file.path}, hunk {number} of {len(file)}"
                return f"{place}: its old text stands {count} times"
    return None


def unnumbered(diff: str) -> str:
    """Return a diff without its line numbers and without what git shows of the code above."""
    return re.sub(r"^@@ -\S+ \+\S+ @@.*$", "@@", diff, flags=re.MULTILINE)
