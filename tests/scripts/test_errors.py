"""Errors that the user can mend: one line on stderr, and an exit code."""

import errno
from pathlib import Path

import pytest
from procpool.base.errors import UserError, exit_code, os_problem_in, writing


def fail(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("it is\n  wrong"), 1, "error: it is wrong\n"),
        (
            PermissionError(13, "Permission denied", "/x"),
            1,
            "error: /x: Permission denied: choose a folder that you may use",
        ),
        (OSError(28, "No space left", "/x"), 1, "error: /x: No space left on device: free some"),
        (OSError("no number"), 1, "error: no number\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_what_the_user_can_mend(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(lambda: fail(error)) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(line)
    assert captured.err.count("\n") == 1


def test_a_fault_of_the_project_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: fail(ZeroDivisionError()))
    assert exit_code(lambda: 3) == 3


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    for number, option, line in (
        (errno.ENOSPC, "--out", r"x: No space left on device: free some space; --out chooses"),
        (errno.EROFS, "", r"x: Read-only file system: choose a folder[^;]*$"),
    ):
        with pytest.raises(UserError, match=line), writing(tmp_path / "x", option):
            raise OSError(number, "as it says", "/scratch")


def test_what_another_program_could_not_write() -> None:
    text = "ERROR: [Errno 111] Connection refused; OSError: [Errno 28] No space left on device"
    assert os_problem_in(text, "there") == "there: No space left on device: free some space"
    assert os_problem_in("[Errno 111] Connection refused", "there") is None
