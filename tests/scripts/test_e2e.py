"""Which releases and servers the end-to-end runs choose; nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from procpool.base.errors import UserError
from procpool.base.files import PATCHES
from procpool.catalog.releases import REPORTED, load_releases
from procpool.suite import e2e

SERVER = Path("livekit-server")
NEWEST = [r.version for r in load_releases(PATCHES).values() if not r.preview][-1]
LINES = e2e.newest_of_each_line(PATCHES)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What would run: rules on a server; cases of releases on a server."""
    found: list[tuple[object, ...]] = []

    def environments(
        versions: list[str], patches: Path, name: str, *, unpatched: bool = False
    ) -> Path:
        return Path(",".join(versions) + (" and unpatched" if unpatched else ""))

    def cases(python: str, chosen: Path, server: Path | None, arguments: list[str]) -> bool:
        found.append((str(chosen), server, *arguments))
        return True

    def rules(python: str, server: Path | None) -> bool:
        found.append(("rules", server))
        return True

    monkeypatch.setattr(e2e, "make_environments", environments)
    monkeypatch.setattr(e2e, "_cases", cases)
    monkeypatch.setattr(e2e, "_rules", rules)
    monkeypatch.setattr(e2e, "find_server", lambda: (SERVER, "livekit-server on PATH"))
    return found


def test_the_default_has_rules_lines_and_both_releases_unpatched_too(
    runs: list[tuple[object, ...]],
) -> None:
    assert e2e.main([]) == 0
    both = f"{REPORTED},{NEWEST} and unpatched"
    assert runs == [("rules", SERVER), (",".join(LINES), None, "--bulk"), (both, SERVER)]


def test_ci_uses_both_servers_and_says_which(
    runs: list[tuple[object, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert e2e.main(["--ci"]) == 0
    assert runs == [("rules", SERVER), (NEWEST, None, "--short"), (REPORTED, SERVER, "--short")]
    assert capsys.readouterr().out == "server: livekit-server on PATH\n"


def test_without_a_server_ci_runs_the_stand_in_only_and_says_why(
    runs: list[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def none() -> tuple[Path, str]:
        raise UserError("there is no livekit-server: put one on PATH")

    monkeypatch.setattr(e2e, "find_server", none)
    assert e2e.main(["--ci"]) == 0
    assert runs == [("rules", None), (NEWEST, None, "--short")]
    text = "server: the stand-in only: there is no livekit-server: put one on PATH\n"
    assert capsys.readouterr().out == text
    with pytest.raises(UserError, match="there is no livekit-server"):
        e2e.main(["--server", "real", REPORTED])


def test_releases_and_cases_can_be_chosen(runs: list[tuple[object, ...]]) -> None:
    assert e2e.main([REPORTED, "--case", "frozen", "--server", "stand-in"]) == 0
    assert runs == [(f"{REPORTED} and unpatched", None, "--case", "frozen")]


def test_all_are_run_on_the_stand_in(runs: list[tuple[object, ...]]) -> None:
    assert e2e.main(["--all"]) == 0
    assert runs == [(",".join(load_releases(PATCHES)), None, "--bulk")]
