"""Errors that the user can mend: one line on stderr, and an exit code."""

import pytest
from procpool.base.errors import UserError, exit_code


def fail(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("it is\n  wrong"), 1, "error: it is wrong\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "error: [Errno 13] Permission denied"),
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
