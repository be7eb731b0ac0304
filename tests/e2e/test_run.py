"""The verdicts on cases, and the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import CASES
from run import Outcome, complaints, judge, load_known, table


@pytest.mark.parametrize(
    ("wrong", "kind", "known", "verdict"),
    [
        ([], "patched", False, "passed"),
        (["2 silent"], "patched", False, "failed"),
        (["2 silent"], "patched", True, "known"),
        ([], "patched", True, "unexpected"),
        ([], "unpatched", False, "seen"),
        (["2 silent"], "unpatched", True, "seen"),
    ],
)
def test_only_patched_workers_are_judged_and_strictly(
    wrong: list[str], kind: str, known: bool, verdict: str
) -> None:
    assert judge(wrong, kind, known) == verdict


def test_a_case_that_was_cut_short_is_no_known_failure() -> None:
    assert judge(["cut short"], "patched", True, cut_short=True) == "failed"
    assert judge(["cut short"], "unpatched", True, cut_short=True) == "seen"


def test_a_known_failure_of_no_case_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    path.write_text('[both]\nno-such-case = ["*"]\n', "utf-8")
    with pytest.raises(ValueError, match="no case no-such-case"):
        load_known("stand-in", path)
    path.write_text("[no-such-server]\n", "utf-8")
    with pytest.raises(ValueError, match="no server no-such-server"):
        load_known("stand-in", path)


def test_what_is_known_may_hold_for_one_server_only(tmp_path: Path) -> None:
    name = next(iter(CASES))
    path = tmp_path / "known.toml"
    path.write_text(f'[both]\n{name} = ["1"]\n[stand-in]\n{name} = ["2"]\n', "utf-8")
    assert load_known("stand-in", path) == {name: ["1", "2"]}
    assert load_known("livekit-server", path) == {name: ["1"]}


@pytest.mark.parametrize("server", ["stand-in", "livekit-server"])
def test_the_list_of_known_failures_is_valid(server: str) -> None:
    assert load_known(server).keys() <= CASES.keys()


def test_the_table_has_unpatched_beside_patched_and_what_fails_is_repeated() -> None:
    name = next(iter(CASES))
    outcomes = [
        Outcome(name, "1.5.11", "unpatched", ["1 of 2 served"], ["1 of 2 served"], 9.0, "seen"),
        Outcome(name, "1.5.11", "patched", ["0 of 2 served"], ["0 of 2 served"], 9.0, "failed"),
    ]
    assert f"| {name} | 1 of 2 served    | WRONG 0 of 2 served |" in table(outcomes, "a server")
    assert complaints(outcomes, "nox -s e2e --") == [
        f"{name} on 1.5.11: 0 of 2 served",
        f"    nox -s e2e -- 1.5.11 --case {name}",
    ]
