"""The check that every Python builds the same wheels; no Python builds one here."""

import subprocess
from pathlib import Path

import pytest
from packaging.version import Version
from procpool.base.errors import UserError
from procpool.catalog.releases import REPORTED, newest_release
from procpool.checks import wheels
from procpool.checks.wheels import main

PYTHONS = {Version(v): f"/python{v}" for v in ("3.13.0", "3.12.4", "3.12.1", "3.10.13")}


class Builds:
    """Stands for the Pythons: each leaves the same files, but for what is in `odd` by its path."""

    def __init__(self) -> None:
        self.odd: dict[str, dict[str, str]] = {}
        self.code = 0
        self.tooling: list[str] = []
        self.commands: list[list[str]] = []

    def build(self, python: str, command: list[str]) -> None:
        out = Path(command[-1])
        (out / "simple").mkdir(parents=True, exist_ok=True)
        # the second build, from the sdist, stands beside the first
        name = "one-1sdist.whl" if "--from-sdist" in command else "one.whl"
        files = {name: "wheel", "simple/index.html": "index"} | self.odd.get(python, {})
        for file, text in files.items():
            (out / file).write_text(text)

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        self.build(command[0], command)
        return subprocess.CompletedProcess(command, self.code)

    def uv(self, *arguments: str) -> None:
        if arguments[0] == "venv":
            self.python = arguments[-2]
        elif arguments[0] == "pip":
            self.tooling = list(arguments[5:])
        else:
            self.build(self.python, list(arguments))


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    made = Builds()
    monkeypatch.setattr(wheels, "uv", made.uv)
    monkeypatch.setattr("procpool.checks.wheels.subprocess.run", made.run)
    monkeypatch.setattr(wheels, "installed_pythons", lambda: PYTHONS)
    monkeypatch.setattr(wheels, "verify_wheel", lambda wheel, _: f"{wheel.name} is verified")
    return made


def test_the_newest_of_each_python_builds_the_same_files(
    builds: Builds, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old").touch()
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Python 3.13 builds the same 3 files",
        "Python 3.12 builds the same 3 files",
        "one-1sdist.whl is verified",
        "one.whl is verified",
    ]
    assert not (tmp_path / "old").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"dist", "3.13", "3.12"}
    assert any(row.startswith("hatchling==") for row in builds.tooling)
    newest = newest_release().version
    assert [command[3:5] for command in builds.commands] == [[REPORTED, newest]] * 2


@pytest.mark.parametrize(
    ("odd", "names"),
    [
        ({"one.whl": "other"}, "one.whl"),
        ({"more": "text", "simple/index.html": "other"}, "more, simple/index.html"),
    ],
)
def test_other_bytes_are_named(
    builds: Builds, tmp_path: Path, odd: dict[str, str], names: str
) -> None:
    builds.odd["/python3.12.4"] = odd
    with pytest.raises(UserError, match=f"^Python 3.12 builds other bytes: {names}$"):
        main([str(tmp_path), "1.5.11"])


def test_a_build_that_fails(builds: Builds, tmp_path: Path) -> None:
    builds.code = 1
    with pytest.raises(UserError, match="could not be built: see above"):
        main([str(tmp_path), "1.5.11"])
    assert builds.commands[0][3] == "1.5.11"
