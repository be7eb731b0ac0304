"""Where things are, and writing files so that no half-written one is ever seen."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from procpool.base.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
PATCHES = ROOT / "patches"


def replace_file(path: Path, text: str) -> None:
    """Write `text` beside `path`, then move it into place."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        fresh = Path(scratch, path.name)
        fresh.write_text(text, "utf-8")
        os.replace(fresh, path)


def between(path: Path, begin: str, end: str, text: str) -> str:
    """Return a file's text with `text` between its lines `begin` and `end`.

    Raises `UserError` if the file does not hold both, once each.
    """
    return within(path.read_text("utf-8"), path, begin, end, text)


def within(old: str, path: Path, begin: str, end: str, text: str) -> str:
    """Do as `between` does to the text `old`, which is to be that of the file `path`."""
    if old.count(f"{begin}\n") != 1 or old.count(f"{end}\n") != 1:
        raise UserError(f"{path} does not hold these two lines, once each: {begin} and {end}")
    before, rest = old.split(f"{begin}\n")
    return f"{before}{begin}\n{text}{end}\n" + rest.split(f"{end}\n")[1]


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
