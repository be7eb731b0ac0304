"""Errors that the user can mend, and the one place where they become a line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend. Its text is one clear line: what is wrong, then what to do."""


def one_line(text: str) -> str:
    """Return `text` with every run of white space, line ends included, as one space."""
    return " ".join(text.split())


def exit_code(main: Callable[[], int]) -> int:
    """Run `main` and return its exit code.

    On a `UserError` print one line to stderr and return 1; when interrupted, 130.
    """
    try:
        return main()
    except (UserError, OSError) as error:
        # OSError: a full disk, a read-only directory, a missing permission: no traceback helps the
        # user there.
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
