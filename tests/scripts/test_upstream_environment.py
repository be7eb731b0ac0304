"""The environment of upstream's checks: what is installed, and when; uv is made up."""

import subprocess
from pathlib import Path

import pytest
from packaging.version import Version
from procpool.upkeep.update_releases import render
from procpool.upstream import environment as module
from procpool.upstream.environment import make_environment
from samples import release

PACKAGE = """\
[project]
requires-python = ">=3.10"
dependencies = ["aiohttp>=3"]
"""


def write(checkout: Path, settings: str, lock: str = "") -> None:
    """Write the settings of a checkout and of its package, and its lock file."""
    (checkout / "livekit-agents").mkdir(exist_ok=True)
    (checkout / "livekit-agents" / "pyproject.toml").write_text(PACKAGE)
    (checkout / "pyproject.toml").write_text(settings)
    if lock:
        (checkout / "uv.lock").write_text(lock)


class MadeUpUv:
    """Notes the calls of uv; it exports `pins`, and makes environments that are empty."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.pins = "aiohttp==3.9\nruff==1 ; sys_platform == 'linux'\n"

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.calls.append(arguments)
        if arguments[0] == "venv":
            python = Path(arguments[-1], "bin", "python")
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        pins = self.pins if arguments[0] == "export" else ""
        return subprocess.CompletedProcess(arguments, 0, pins, "")

    def taken(self) -> list[tuple[str, ...]]:
        """Return the calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> MadeUpUv:
    """Return a uv that does nothing; 3.11 and 3.13 are installed."""
    made = MadeUpUv()
    installed = {Version(v): f"/python{v}" for v in ("3.13.0", "3.11.7")}
    monkeypatch.setattr(module, "uv", made)
    monkeypatch.setattr(module, "installed_pythons", lambda: installed)
    return made


LOCK = 'requires-python = ">=3.9,<3.13"\n'


@pytest.mark.parametrize(
    ("settings", "tools"),
    [
        (
            "[dependency-groups]\ndev = []\ntyping = []\ndocs = []\n",
            ["--only-group=dev", "--only-group=typing"],
        ),
        ("[dependency-groups]\ndev = []\n", ["--only-group=dev"]),
        ("", ["--only-dev"]),
    ],
)
def test_tools_are_those_of_the_lock_file(
    tmp_path: Path, uv: MadeUpUv, settings: str, tools: list[str]
) -> None:
    write(tmp_path, settings, LOCK)
    python = make_environment(tmp_path, tmp_path, tmp_path / "work")
    assert python.parents[2] == tmp_path / "work"
    package, dev, venv, install = uv.taken()
    assert venv[-2] == "/python3.11.7", "the lock file allows no 3.13"
    assert package[0] == dev[0] == "export" and "livekit-agents" in package
    assert list(dev[-len(tools) :]) == tools
    assert install[-4:] == (*uv.pins.splitlines(), *uv.pins.splitlines())


def test_an_environment_is_used_for_all_that_pin_the_same(
    tmp_path: Path, uv: MadeUpUv, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "", LOCK)
    first = make_environment(tmp_path, tmp_path, tmp_path / "work")
    assert [call[0] for call in uv.taken()] == ["export", "export", "venv", "pip"]
    assert make_environment(tmp_path, tmp_path, tmp_path / "work") == first
    assert [call[0] for call in uv.taken()] == ["export", "export"]
    (first.parents[1] / "procpool-complete").unlink()  # as where it was interrupted
    assert make_environment(tmp_path, tmp_path, tmp_path / "work") == first
    assert [call[0] for call in uv.taken()] == ["export", "export", "venv", "pip"]
    uv.pins = "aiohttp==3.10\n"
    assert make_environment(tmp_path, tmp_path, tmp_path / "work") != first
    assert capsys.readouterr().out == "installing upstream's tools\n" * 3


def test_without_a_lock_file_the_day_of_the_newest_release_counts(
    tmp_path: Path, uv: MadeUpUv
) -> None:
    (tmp_path / "releases.toml").write_text(render([release()]))
    write(tmp_path, '[dependency-groups]\ndev = ["ruff==1"]\n')
    make_environment(tmp_path, tmp_path, tmp_path / "work")
    venv, dated, tools = uv.taken()
    assert venv[-2] == "/python3.13.0"
    assert "2026-05-21T00:00:00Z" in dated and dated[-1] == "aiohttp>=3"
    assert tools[-1] == "ruff==1"
