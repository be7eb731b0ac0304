"""When a figure is worse, and what is known to be; nothing is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from procpool.base.errors import UserError
from procpool.catalog.releases import Release
from procpool.suite import worse
from procpool.suite.worse import (
    Comparison,
    Figures,
    Known,
    compare,
    complaints,
    load_known,
    load_modes,
)

NOTHING: Figures = dict.fromkeys(worse.FIGURES, 0) | {"cpu": 0.0, "close": 0.0}
WINDOW = 15.0


@pytest.mark.parametrize(
    ("figure", "unpatched", "most", "too_much"),
    [
        ("left_processes", 0, 0, 1),
        ("left_threads", 2, 2, 3),
        ("left_descriptors", 0, 0, 1),
        ("left_executor", 0, 0, 1),
        ("executor", 2, max(2, worse.CONCURRENT), 5),
        ("executor", 9, 9, 10),
        ("spawned", 0, 25, 26),  # what promise 4 allows
        ("spawned", 40, 50, 51),
        ("processes", 1, 3, 4),
        ("processes", 10, 15, 16),
        ("threads", 2, 7, 8),
        ("descriptors", 4, 16, 17),
        ("cpu", 0.5, 2.3, 2.4),
        ("cpu", 13.0, 19.5, 19.6),
        ("close", 0.5, 2.5, 2.6),
        ("close", 0.5, 2.5, None),
        ("close", None, None, None),
    ],
)
def test_what_must_be_nothing_has_no_tolerance(
    figure: str, unpatched: float | None, most: float | None, too_much: float | None
) -> None:
    before = NOTHING | {figure: unpatched}
    assert compare(before, NOTHING | {figure: most}, WINDOW) == ()
    expected = () if unpatched is None else (figure,)
    assert compare(before, NOTHING | {figure: too_much}, WINDOW) == expected


def compared(**patched: float) -> Comparison:
    after = NOTHING | patched
    return Comparison("a-mode", "1.5.11", NOTHING, after, compare(NOTHING, after, WINDOW))


def test_the_list_is_strict() -> None:
    known = Known({"a-mode": {"1.5.11": ["left_threads"]}}, {"a-mode": {"1.5.11": ["spawned"]}})
    assert complaints(compared(left_threads=2), known) == []
    assert complaints(compared(left_threads=2, cpu=9.0), known) == [
        "a-mode on 1.5.11: cpu is worse: 9.0, unpatched 0.0"
    ]
    assert complaints(compared(), known) == [
        "a-mode on 1.5.11: left_threads is not worse any more: "
        "take it off the list in known_failures.toml"
    ]
    assert complaints(compared(left_threads=2, spawned=99), known) == []
    assert complaints(compared(), Known({"a-mode": {"1.8.9": ["left_threads"]}}, {})) == []


def test_what_was_promised_is_judged_whatever_an_unpatched_pool_takes() -> None:
    mode = load_modes()["costly-spawns"]
    assert mode["max_cpu"] == 18
    assert worse.beyond(mode, NOTHING | {"cpu": 18.0, "spawned": 99}) == ()
    after = NOTHING | {"cpu": 18.1}
    assert worse.beyond(mode, after) == ("cpu",)
    assert worse.beyond({"kind": "raise"}, after) == ()
    found = Comparison("costly-spawns", "1.5.11", NOTHING, after, ("cpu",), ("cpu",))
    for known in (
        Known({}, {"costly-spawns": {"1.5.11": ["cpu"]}}),
        Known({"costly-spawns": {"1.5.11": ["cpu"]}}, {}),
    ):
        assert complaints(found, known) == [
            "costly-spawns on 1.5.11: cpu is beyond what was promised: 18.1"
        ]
        assert "| 0.0 → 18.1! " in worse.table([found], known)


def test_the_table_marks_what_is_worse() -> None:
    known = Known({"a-mode": {"1.5.11": ["left_threads"]}}, {})
    text = worse.table([compared(left_threads=2, cpu=9.0)], known)
    assert "| 0 → 2* " in text and "| 0.0 → 9.0! " in text
    assert len({len(line) for line in text.splitlines()}) == 1


def test_what_is_listed_must_exist(tmp_path: Path) -> None:
    modes = load_modes()
    known = load_known(modes)
    assert known.worse.keys() | known.either_way.keys() <= modes.keys()
    path = tmp_path / "known_failures.toml"
    path.write_text('[worse.no-such-mode]\n"1.5.11" = ["cpu"]\n', "utf-8")
    with pytest.raises(UserError, match="there is no failure mode no-such-mode"):
        load_known(modes, path)
    path.write_text('[either-way.prewarm-raises]\n"1.5.11" = ["noise"]\n', "utf-8")
    with pytest.raises(UserError, match="prewarm-raises has no figure noise"):
        load_known(modes, path)
    path.write_text('[better.prewarm-raises]\n"1.5.11" = ["cpu"]\n', "utf-8")
    with pytest.raises(UserError, match="there is no table better"):
        load_known(modes, path)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What would be measured, in order; the first patched pool is worse once."""
    names: list[str] = []

    def measure(python: str, name: str, mode: dict[str, Any]) -> Figures:
        names.append(f"{name} by {python}")
        bad = names.count(names[-1]) == 1 and "-patched" in name
        return NOTHING | {"left_threads": int(bad)}

    def prepare(target: Any) -> str:
        release: Release = target.release
        return f"{release.version}{'+' if target.series else ''}"

    monkeypatch.setattr(worse, "measure", measure)
    monkeypatch.setattr(worse, "prepare", prepare)
    monkeypatch.setattr(worse, "ROOT", tmp_path)
    monkeypatch.setattr(worse, "RUNS", tmp_path / "worse")
    return names


def test_what_is_not_as_expected_is_repeated(
    measured: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(worse, "load_known", lambda modes: Known({}, {}))
    assert worse.main(["1.5.11", "--mode", "prewarm-raises"]) == 0
    both = [
        "prewarm-raises-1.5.11-unpatched by 1.5.11",
        "prewarm-raises-1.5.11-patched by 1.5.11+",
    ]
    assert measured == both * 2
    assert "1.5.11 prewarm-raises: no worse" in capsys.readouterr().out
    [row] = json.loads((tmp_path / "worse" / "table.json").read_text("utf-8"))
    assert (row["mode"], row["worse"]) == ("prewarm-raises", [])


def test_the_default_is_three_releases(
    measured: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = Known({"prewarm-raises": {"1.0.23": ["cpu"]}}, {})
    monkeypatch.setattr(worse, "load_known", lambda modes: listed)
    assert worse.main(["--mode", "prewarm-raises"]) == 1
    releases = list(dict.fromkeys(name.split("-")[2] for name in measured))
    assert releases[:2] == ["1.0.23", "1.5.11"] and len(releases) == 3
    assert "prewarm-raises on 1.0.23: cpu is not worse any more" in capsys.readouterr().err


def test_a_mode_must_exist() -> None:
    with pytest.raises(UserError, match="there is no failure mode no-such-mode"):
        worse.main(["--mode", "no-such-mode"])


def test_a_scenario_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(worse, "RUNS", tmp_path)
    with pytest.raises(UserError, match=r"it failed: .* see .*it\.log"):
        worse.measure("/bin/false", "it", {"kind": "raise"})
