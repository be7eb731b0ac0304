"""Errors that the user can mend, and the one place where they become a line and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or have your quota raised",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose a folder that you may use, or change its permissions",
    errno.EPERM: "choose a folder that you may use, or change its permissions",
    errno.ENOTDIR: "choose another path: a part of it is a file",
    errno.EEXIST: "choose another path: there is a file already",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EMFILE: "close some, or raise the limit (ulimit -n)",
    errno.EIO: "check the disk",
}


class UserError(Exception):
    """Something the user can mend. Its text is one clear line: what is wrong, then what to do."""


def one_line(text: str) -> str:
    """Return `text` with every run of white space, line ends included, as one space."""
    return " ".join(text.split())


def os_problem(number: int | None, place: str) -> str:
    """Return what is wrong at `place`, and what to do, for an errno of the operating system."""
    if number is None:
        return place
    remedy = _REMEDIES.get(number)
    return f"{place}: {os.strerror(number)}" + (f": {remedy}" if remedy else "")


def os_problem_in(text: str, place: str) -> str | None:
    """Return what `os_problem` says of the last `[Errno N]` in another program's words, or None.

    Only of what a user can mend at `place`: a full or read-only disk and the like.
    """
    numbers = [int(number) for number in re.findall(r"\[Errno (\d+)\]", text)]
    known = [number for number in numbers if number in _REMEDIES]
    return os_problem(known[-1], place) if known else None


@contextlib.contextmanager
def writing(place: Path, option: str = "") -> Iterator[None]:
    """Turn what the operating system says of writing in the folder `place` into a `UserError`.

    `option` is what chooses another folder: an option or a variable.
    """
    try:
        yield
    except OSError as error:
        chooses = f"; {option} chooses another" if option else ""
        raise UserError(os_problem(error.errno, str(place)) + chooses) from None


def _os_error(error: OSError) -> str:
    """Return an error of the operating system as what and where, and what to do."""
    if error.errno is None or not error.filename:
        return str(error)
    return os_problem(error.errno, str(error.filename))


def exit_code(main: Callable[[], int]) -> int:
    """Run `main` and return its exit code.

    On a `UserError` print one line to stderr and return 1; when interrupted, 130.
    """
    try:
        return main()
    except UserError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 1
    except OSError as error:
        # a full disk, a read-only folder, a missing permission: no traceback helps the user there
        print(f"error: {one_line(_os_error(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
