"""The verdicts on cases, and the table."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from pathlib import Path

import pytest
import run
from bench import Bench
from calls import Call
from cases import CASES, Case
from run import (
    Outcome,
    Runner,
    Task,
    complaints,
    deal,
    judge,
    load_known,
    make_tasks,
    parse,
    table,
)
from server import STAND_IN, Server
from waiting import TooLateError


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


def test_what_was_found_at_first_stays_when_a_case_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served = [0, 2, 2]
    paces = []

    async def run_case(chosen: Case, bench: Bench) -> None:
        paces.append(bench.pace)
        count = served.pop(0)
        bench.expect(count == 2, f"{count} of 2 served")

    async def nothing(_: Server) -> None:
        pass

    monkeypatch.setattr(run, "run_case", run_case)
    monkeypatch.setattr(Server, "start", nothing)
    monkeypatch.setattr(Server, "stop", nothing)
    first, second = list(CASES.values())[:2]
    runner = Runner(STAND_IN, tmp_path, {}, 1.5)
    # a process of the second imports the package
    released = [(first, "1.5.11"), (second, "1.0.20")]
    tasks = [Task(case, release, "patched", tmp_path) for case, release in released]
    asyncio.run(runner.run(tasks, 1))
    assert paces == [1.5, 6.0, 3.0]
    assert [(one.case, one.verdict, one.found, one.first) for one in runner.outcomes] == [
        (second.name, "passed", ["2 of 2 served"], []),
        (first.name, "passed", ["2 of 2 served"], ["0 of 2 served"]),
    ]
    shown = "2 of 2 served (repeated; at first: 0 of 2 served)"
    assert f"| {shown} |" in table(runner.outcomes, "a server")
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize(
    ("outcomes", "seconds", "wrong"),
    [
        (["refused", "lost", "served"], 1.0, ""),
        (["silent", "served"], 1.0, "silent"),
        (["failed", "served"], 1.0, "failed"),
        (["refused"] * 30, 4.0, "refused"),
    ],
)
def test_the_first_call_is_made_again_until_the_server_knows_that_the_worker_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcomes: list[str], seconds: float, wrong: str
) -> None:
    now = [0.0]

    async def call(_: float) -> Call:
        now[0] += seconds
        return Call("room", outcome=outcomes.pop(0))

    async def sleep(_: float) -> None:
        pass

    bench = Bench("a", "1.5.11", Server(STAND_IN, tmp_path), tmp_path, tmp_path)
    monkeypatch.setattr(bench.caller, "call", call)
    monkeypatch.setattr("bench.time.monotonic", lambda: now[0])
    monkeypatch.setattr("bench.asyncio.sleep", sleep)
    with contextlib.ExitStack() as stack:
        if wrong:
            stack.enter_context(pytest.raises(TooLateError, match=f"the first call: {wrong}"))
        asyncio.run(bench.first_call())


def test_cases_are_dealt_out_in_turn_and_none_is_forgotten() -> None:
    others = {case.name for case in CASES.values() if not (case.bulk or case.alone)}
    bulk = {case.name for case in CASES.values() if case.bulk}
    releases = [str(number) for number in range(105)]
    dealt = deal(releases, 2)
    assert all(bulk < cases and len(cases - bulk) == 2 for cases in dealt.values())
    for first in range(94):
        run_of_twelve = releases[first : first + 12]
        assert set().union(*(dealt[release] for release in run_of_twelve)) == bulk | others
    counts = Counter(name for cases in dealt.values() for name in cases - bulk)
    assert counts.keys() == others and min(counts.values()) >= 8
    assert deal(["1"], None) == {"1": bulk}


def test_a_deal_makes_the_tasks_of_each_release(tmp_path: Path) -> None:
    path = tmp_path / "environments.json"
    path.write_text(json.dumps([{"release": r, "patched": "python"} for r in ("1", "2")]))
    tasks = make_tasks(parse([str(path), "--deal", "2"]))
    dealt = deal(["1", "2"], 2)
    assert {(task.release, task.case.name) for task in tasks} == {
        (release, name) for release, names in dealt.items() for name in names
    }
    assert len(tasks) == 6
    assert {task.case.bulk for task in make_tasks(parse([str(path), "--bulk"]))} == {True}
