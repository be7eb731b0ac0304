"""Which releases and servers the end-to-end runs choose; nothing is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from procpool.base.errors import UserError
from procpool.base.files import PATCHES, ROOT
from procpool.catalog.releases import REPORTED, get_release, load_releases
from procpool.suite import e2e
from procpool.upkeep.calls import CHOSEN, calls_page, calls_part

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
        return ROOT / (",".join(versions) + (" and unpatched" if unpatched else ""))

    def cases(python: str, chosen: Path, server: Path | None, arguments: list[str]) -> bool:
        found.append((chosen.name, server, *arguments))
        return True

    def rules(python: str, server: Path | None) -> bool:
        found.append(("rules", server))
        return True

    monkeypatch.setattr(e2e, "make_environments", environments)
    monkeypatch.setattr(e2e, "_cases", cases)
    monkeypatch.setattr(e2e, "_rules", rules)
    monkeypatch.setattr(e2e, "disagreements", lambda real, stand_in: [])
    monkeypatch.setattr(e2e, "find_server", lambda: (SERVER, "livekit-server on PATH"))
    return found


def test_the_default_has_rules_lines_and_both_releases_unpatched_too(
    runs: list[tuple[object, ...]],
) -> None:
    assert e2e.main([]) == 0
    both = f"{REPORTED},{NEWEST} and unpatched"
    assert runs == [
        ("rules", SERVER),
        (",".join(LINES), None, "--bulk"),
        (both, SERVER),
        (both, None, "--short"),
    ]


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
    assert runs == [(",".join(load_releases(PATCHES)), None, "--deal", "2")]


def test_a_case_that_comes_out_otherwise_on_the_other_server_fails_the_session(
    runs: list[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(e2e, "disagreements", lambda real, stand_in: ["a-life 1.0 patched: …"])
    assert e2e.main([]) == 1
    assert "the servers do not agree:\na-life 1.0 patched" in capsys.readouterr().err


def test_servers_agree_on_what_came_out_well_not_on_every_word(tmp_path: Path) -> None:
    def outcome(case: str, found: str, *, well: bool) -> dict[str, object]:
        wrong = [] if well else [found]
        return {"case": case, "release": "1", "kind": "patched", "found": [found], "wrong": wrong}

    real, stand_in = tmp_path / "real.json", tmp_path / "stand-in.json"
    good, slow = (
        outcome("a", "served in 1.0 s", well=True),
        outcome("a", "served in 2.0 s", well=True),
    )
    rest = [outcome("b", "silent", well=False), outcome("c", "only here", well=True)]
    real.write_text(json.dumps({"server": "real", "outcomes": [good, *rest]}))
    stand_in.write_text(json.dumps({"server": "stand-in", "outcomes": [slow, rest[0]]}))
    assert e2e.disagreements(real, stand_in) == []
    other = outcome("b", "served", well=True)
    stand_in.write_text(json.dumps({"server": "stand-in", "outcomes": [slow, other]}))
    assert e2e.disagreements(real, stand_in) == ["b 1 patched: silent on real, served on stand-in"]


def test_a_record_is_of_all_cases_on_a_real_server(runs: list[tuple[object, ...]]) -> None:
    for others in (
        ["--short"],
        ["--case", "a-life"],
        ["--server", "stand-in"],
        ["--ci"],
        ["--all"],
    ):
        with pytest.raises(UserError, match="leave out what chooses others"):
            e2e.main(["--record", *others])
    assert not runs


def test_a_record_says_what_was_run_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environments = tmp_path / "chosen.json"
    environments.write_text(json.dumps([{"release": REPORTED, "patched": "python"}]))
    outcome = {"case": "a", "release": REPORTED, "kind": "patched", "found": ["1 served"]}
    found = outcome | {"wrong": [], "seconds": 3.0, "verdict": "passed", "first": []}
    again = found | {"case": "b", "first": ["1 silent"]}
    about = {"a": "a case", "b": "another"}
    e2e.table_of(environments).write_text(
        json.dumps(
            {"server": "livekit-server", "pace": 1.0, "cores": 2, "seconds": 90, "about": about}
            | {"outcomes": [found, again]}
        )
    )
    server = tmp_path / "livekit-server"
    server.write_text("#!/bin/sh\necho livekit-server version 1.2.3\n")
    server.chmod(0o755)
    monkeypatch.setattr(e2e, "RECORD", tmp_path / "e2e.json")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    e2e.record(environments, server, PATCHES)
    kept = e2e.load_record(tmp_path / "e2e.json")
    assert kept is not None and "now run 'nox -s tables'" in capsys.readouterr().out
    local = get_release(REPORTED, PATCHES)[1].local_version
    assert kept == {
        "command": f"nox -s e2e -- {REPORTED} --record",
        "date": "1970-01-01",
        "server": "livekit-server 1.2.3",
        "releases": {REPORTED: f"{REPORTED}+{local}"},
        "pace": 1.0,
        "cores": 2,
        "seconds": 90,
        "about": about,
        "outcomes": [outcome, outcome | {"case": "b", "first": ["1 silent"]}],
    }
    page = calls_page(kept)
    assert "| a: a case | - | 1 served |" in page
    assert "| b: another | - | 1 served (repeated; at first: 1 silent) |" in page
    how = " ".join(page.split())
    beside = "beside the releases as upstream published them, on livekit-server 1.2.3"
    assert f"{REPORTED}+{local} {beside}" in how
    assert "before livekit/agents#6724" in how
    assert "times as long" not in page and "times as long" in calls_page(kept | {"pace": 3.5})
    outcome["case"] = "all-sick"
    part = calls_part(kept | {"outcomes": [outcome]})
    assert "| all workers sick, 5 calls | - | 1 served |" in part


def test_readme_has_words_for_cases_that_there_are() -> None:
    kept = e2e.load_record()
    assert kept is not None
    assert set(CHOSEN) <= {outcome["case"] for outcome in kept["outcomes"]} <= set(kept["about"])


def test_without_a_record_nothing_is_shown(tmp_path: Path) -> None:
    assert e2e.load_record(tmp_path / "e2e.json") is None
    assert calls_part(None) == "" and "nox -s e2e -- --record" in calls_page(None)
