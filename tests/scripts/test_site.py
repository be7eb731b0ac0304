"""What is published, and the rehearsal of the workflow."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PATCH
from procpool.base.errors import UserError
from procpool.catalog.series import Series
from procpool.checks.site import WORKFLOW, check_site, commands, main
from procpool.upkeep.update_releases import render
from procpool.wheels.index import publish, scratch_beside
from samples import release
from test_wheel_index import make_wheel


@pytest.fixture
def patches(make_series: Callable[..., Series]) -> Path:
    """Return a folder of patches whose table lists 1.0.1, at revision 3."""
    folder = make_series(PATCH).folder
    (folder / "releases.toml").write_text(render([release()]))
    return folder


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Return a folder with the wheel of 1.0.1, its sums and its index."""
    out = tmp_path / "site"
    with scratch_beside(out) as scratch:
        publish([make_wheel(tmp_path / "one", "1.0.1+procpool.3")], out, scratch, set())
    return out


def test_a_whole_site(published: Path, patches: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(published), "--all", "--patches", str(patches)]) == 0
    assert "1 wheels, their sums and the index agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("SHA256SUMS", "livekit", "other", "SHA256SUMS and the wheels in .* do not agree on"),
        ("simple/livekit-agents/index.html", "sha256=", "sha256=0", "the page of the index and"),
        ("simple/livekit-agents/index.html", "../../l", "../l", "links to .*, which is not in"),
        ("simple/livekit-agents/index.html", "../../l", "../../../l", "which is not in"),
    ],
)
def test_a_site_that_does_not_agree(
    name: str, old: str, new: str, message: str, published: Path, patches: Path
) -> None:
    path = published / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        check_site(published, ["1.0.1"], patches)


def test_a_site_that_lacks_a_wheel(published: Path, patches: Path) -> None:
    [wheel] = published.glob("*.whl")
    wheel.rename(published / wheel.name.replace("procpool.3", "procpool.2"))
    with pytest.raises(UserError, match=r"has no wheel of 1\.0\.1\+procpool\.3: run 'nox -s wheel"):
        check_site(published, ["1.0.1"], patches)
    with pytest.raises(UserError, match="which folder"):
        main([])


def test_the_workflow_has_these_commands() -> None:
    runs, uses = commands(WORKFLOW.read_text("utf-8"))
    assert runs == [
        'python -m pip install "nox[uv]"',
        "nox -s wheel -- --all --out site",
        "nox -s verify -- site/*.whl",
        "nox -s check-site -- site --all",
    ]
    assert any(use.startswith("actions/attest-build-provenance@") for use in uses)
    with pytest.raises(UserError, match="no commands of one line"):
        commands("\n  build:\n    steps:\n      - run: |\n          a\n")


def test_a_rehearsal_runs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def fake(command: list[str], cwd: Path, **rest: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command[-1])
        return subprocess.CompletedProcess(command, int("verify" in command[-1] and fails))

    monkeypatch.setattr("procpool.checks.site.subprocess.run", fake)
    fails = False
    assert main(["--rehearse", "1.0.1", "1.0.2"]) == 0
    assert [text.partition(" -s ")[2] for text in ran] == [
        "wheel -- 1.0.1 1.0.2 --out site",
        "verify -- site/*.whl",
        "check-site -- site 1.0.1 1.0.2",
    ]
    assert all("-m nox -f " in text for text in ran)
    assert "only on GitHub: actions/checkout@" in capsys.readouterr().out
    fails = True
    with pytest.raises(UserError, match=r"command fails: nox -s verify -- site/\*\.whl"):
        main(["--rehearse"])
