"""What the checks of README's recipes prove, and that they see what is wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run
from procpool.base.errors import UserError
from procpool.checks.consumers import CHECKS, run_check
from procpool.checks.projects import Bench


def test_a_check_prints_what_it_proved_until_it_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(bench: Bench) -> Iterator[str]:
        yield "this holds"
        raise UserError("this\ndoes not")

    monkeypatch.setitem(CHECKS, "uv", (check, set()))
    assert run_check("uv", Bench(Path(), {}, "", "", "", [])) is False
    captured = capsys.readouterr()
    assert captured.out == "this holds (0 s)\n" and captured.err == "error: this does not\n"


def test_wrong_arguments_are_one_line(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# No recipe\n")
    for arguments, message in (
        (["conda"], "there is no check conda"),
        (["--readme", str(readme)], "do not have the same recipes"),
        (["--readme", str(tmp_path / "no")], "No such file"),
    ):
        result = run("check-consumers", *arguments)
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
        assert message in result.stderr
