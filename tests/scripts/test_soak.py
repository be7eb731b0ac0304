"""What a soak is told to run; nothing is started."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from procpool.base.errors import UserError
from procpool.base.files import PATCHES
from procpool.catalog.releases import REPORTED, load_releases
from procpool.suite import soak

NEWEST = [r.version for r in load_releases(PATCHES).values() if not r.preview][-1]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would run; a seed of 2 breaks an invariant."""
    found: list[list[str]] = []

    def environments(
        versions: list[str], patches: Path, name: str, *, unpatched: bool, wheel: Path | None
    ) -> Path:
        more = (" and unpatched" if unpatched else "") + (f" of {wheel.name}" if wheel else "")
        return Path(",".join(versions) + more)

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        found.append(command)
        seed = command[command.index("--seed") + 1]
        return subprocess.CompletedProcess(command, int(seed == "2"))

    monkeypatch.setattr(soak, "make_environments", environments)
    monkeypatch.setattr(soak, "find_server", lambda: (Path("livekit-server"), "on PATH"))
    monkeypatch.setattr(subprocess, "run", run)
    return found


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_the_default_is_ten_minutes_on_the_release_of_the_report_and_the_newest(
    runs: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert soak.main([]) == 0
    [command] = runs
    assert command[2] == f"{REPORTED},{NEWEST}"
    assert [option(command, name) for name in ("--minutes", "--seed", "--workers", "--real")] == [
        "10.0",
        "1",
        "3",
        "livekit-server",
    ]
    assert capsys.readouterr().out == "server: on PATH\n"


def test_a_broken_invariant_fails_the_session(runs: list[list[str]]) -> None:
    assert soak.main(["--release", "1.5.11", "--unpatched", "--seed", "2"]) == 1
    assert runs[0][2] == "1.5.11 and unpatched"


@pytest.mark.parametrize("arguments", [["--minutes", "0"], ["--workers", "0"]])
def test_a_soak_of_nothing_is_refused(runs: list[list[str]], arguments: list[str]) -> None:
    with pytest.raises(UserError, match="more than 0 minutes, and at least one worker"):
        soak.main(arguments)
    assert runs == []


def test_a_wheel_of_an_earlier_revision_can_be_soaked(
    runs: list[list[str]], tmp_path: Path
) -> None:
    wheel = tmp_path / "livekit_agents-1.5.11+procpool.1-py3-none-any.whl"
    with pytest.raises(UserError, match="there is no wheel"):
        soak.main(["--wheel", str(wheel)])
    wheel.touch()
    with pytest.raises(UserError, match=r"is of 1\.5\.11: leave out --release"):
        soak.main(["--wheel", str(wheel), "--release", "1.8.9"])
    assert runs == []
    assert soak.main(["--wheel", str(wheel), "--release", "1.5.11"]) == 0
    assert runs[0][2] == f"1.5.11 of {wheel.name}"
    assert option(runs[0], "--command") == f"nox -s soak -- --wheel {wheel}"
