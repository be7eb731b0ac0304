"""What a soak plans from a seed, and how it judges what it has seen; no server is needed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from server import STAND_IN, Server
from soak import parse
from soak_judge import (
    AWAY,
    FLAT,
    Incident,
    Seen,
    counts,
    frozen,
    judge_call,
    judge_flat,
    moment,
    timeline,
)
from soak_plan import KINDS, MOMENTS, Fault, make_plan
from waiting import until
from worker import Worker

BOUND = 25.0
SERVED = Seen("room-1", 100.0, "served", 101.0, workers=(0,), progress=90.0, launches=1)
SILENT = replace(SERVED, outcome="silent", end=150.0, launches=0)


def incident(kind: str, start: float, end: float, worker: int | None = 0) -> Incident:
    return Incident(start, end, kind, worker, kind)


def test_a_seed_makes_one_plan_and_another_seed_another() -> None:
    assert make_plan(1, 600, 3) == make_plan(1, 600, 3)
    assert make_plan(1, 600, 3) != make_plan(2, 600, 3)


def test_a_plan_has_all_kinds_and_moments_on_all_workers_in_order() -> None:
    plan = make_plan(1, 600, 3)
    assert {fault.kind for fault in plan.faults} == set(KINDS)
    assert {fault.kind for fault in plan.faults[: len(KINDS) + 1]} == set(KINDS)
    assert {fault.worker for fault in plan.faults} == {0, 1, 2}
    assert {fault.moment for fault in plan.faults} == {"", *MOMENTS}
    for times in ([f.at for f in plan.faults], [c.at for c in plan.calls]):
        assert times == sorted(times)
    assert all(5 <= fault.at < 570 for fault in plan.faults)
    assert all(0 < call.at < 600 and call.holds > 0 for call in plan.calls)
    assert len(plan.calls) > 400


def test_a_fault_says_what_it_does() -> None:
    assert str(Fault(1.0, "kill-child", 2, moment="idle")) == "kill-child idle of worker 2"
    text = "bad-prewarm slow 1.5 of worker 0 for 3.0 s"
    assert str(Fault(1.0, "bad-prewarm", 0, 3.0, mood="slow 1.5")) == text
    assert str(Fault(1.0, "restart-server", 0)) == "restart-server"


def test_a_call_that_was_served_in_time_breaks_nothing() -> None:
    assert judge_call(SERVED, [], BOUND) == []
    refused = replace(SERVED, outcome="refused", launches=0)
    assert judge_call(refused, [], BOUND) == []
    failed = replace(SERVED, outcome="failed", launches=0, reports=("JS_FAILED",))
    assert judge_call(failed, [], BOUND) == []


@pytest.mark.parametrize(
    ("seen", "broken"),
    [
        (SILENT, "silent after 50.0 s"),
        (replace(SILENT, outcome="lost", end=103.0), "lost after 3.0 s"),
        (replace(SILENT, outcome="not made", end=103.0), "not made after 3.0 s"),
        (replace(SERVED, end=126.0), "served after 26.0 s, its bound was 25.0 s"),
        (replace(SERVED, reports=("JS_FAILED", "JS_FAILED")), "reported 2 times"),
        (replace(SERVED, reports=("JS_FAILED",), unknown=1), "reported 2 times"),
        (replace(SERVED, launches=2), "launched 2 times"),
        (replace(SERVED, outcome="refused"), "refused, and launched"),
    ],
)
def test_each_invariant_is_seen_to_break(seen: Seen, broken: str) -> None:
    assert judge_call(seen, [], BOUND) == [broken]


def test_the_bound_counts_from_the_last_progress_and_without_what_was_stopped() -> None:
    late = replace(SERVED, end=126.0)
    assert judge_call(replace(late, progress=102.0), [], BOUND) == []
    assert judge_call(late, [incident("stop-child", 99.0, 102.0)], BOUND) == []
    assert judge_call(late, [incident("no-fork", 99.0, 102.0)], BOUND) != []
    assert frozen([incident("stop-worker", 90.0, 104.0)], 100.0, 110.0) == 4.0


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_takes_the_voice_away_excuses_silence(kind: str) -> None:
    hit = incident(kind, 101.0, 102.0)
    excuses = kind in ("kill-worker", "restart-server")
    assert bool(judge_call(SILENT, [hit], BOUND)) is not excuses
    excuses |= kind in ("stop-worker", "no-descriptors")
    lost = replace(SILENT, outcome="lost", end=103.0)
    assert bool(judge_call(lost, [hit], BOUND)) is not excuses
    assert bool(judge_call(lost, [incident(kind, 90.0, 98.0)], BOUND)) is not excuses
    assert judge_call(lost, [incident(kind, 80.0, 90.0)], BOUND) != []


def test_what_comes_before_the_call_or_after_it_is_due_excuses_no_silence() -> None:
    assert judge_call(SILENT, [incident("kill-worker", 98.0, 99.0)], BOUND) != []
    assert judge_call(SILENT, [incident("kill-worker", 124.0, 126.0)], BOUND) == []
    assert judge_call(SILENT, [incident("kill-worker", 126.0, 127.0)], BOUND) != []


def test_another_worker_excuses_nothing_unless_nobody_knows_who_was_asked() -> None:
    hit = [incident("kill-worker", 101.0, 102.0, worker=1)]
    assert judge_call(SILENT, hit, BOUND) != []
    assert judge_call(replace(SILENT, workers=(0, 1)), hit, BOUND) == []
    assert judge_call(replace(SILENT, workers=()), hit, BOUND) == []
    server = incident("restart-server", 101.0, 102.0, worker=None)
    assert judge_call(SILENT, [server], BOUND) == []


def test_a_call_may_be_lost_only_while_all_workers_are_away() -> None:
    lost = replace(SILENT, outcome="lost", end=103.0, workers=())
    away = [incident(AWAY, 95.0, 105.0, worker) for worker in (0, 1)]
    assert judge_call(lost, away, BOUND, workers=2) == []
    assert judge_call(lost, away, BOUND, workers=3) != []
    assert judge_call(lost, [*away, incident(AWAY, 104.0, 110.0, 2)], BOUND, workers=3) != []
    assert judge_call(replace(lost, workers=(1,)), away, BOUND, workers=2) != []
    assert judge_call(replace(lost, outcome="silent"), away, BOUND, workers=2) != []


def test_a_worker_must_not_have_grown() -> None:
    before = {"MB": 100.0, "threads": 8.0, "descriptors": 20.0}
    assert before.keys() == FLAT.keys()
    assert judge_flat(before, {"MB": 200.0, "threads": 12.0, "descriptors": 28.0}) == []
    assert judge_flat(before, {"MB": 201.0, "threads": 13.0, "descriptors": 29.0}) == [
        "MB: 100 before the faults, 201 after",
        "threads: 8 before the faults, 13 after",
        "descriptors: 20 before the faults, 29 after",
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "import"),
        (["prewarm"], "prewarm"),
        (["prewarm", "ready"], "idle"),
        (["prewarm", "ready", "job"], "hand-over"),
        (["prewarm", "ready", "job", "joined"], "job"),
    ],
)
def test_a_child_is_at_the_moment_that_it_noted_last(words: list[str], expected: str) -> None:
    assert moment(words) == expected


def test_the_timeline_has_the_call_and_the_faults_around_it_in_order() -> None:
    seen = replace(SILENT, timeline=((100.5, "worker 0, 42: asked"),))
    faults = [
        incident("no-fork", 95.0, 96.0),
        incident("full-disk", 50.0, 60.0),
        incident("stop-child", 120.0, 121.0),
        incident("memory", 120.0, 121.0, worker=1),
    ]
    assert timeline(seen, faults, begin=90.0) == [
        "    5.00 s  fault: no-fork",
        "   10.00 s  dispatched (room-1)",
        "   10.50 s  worker 0, 42: asked",
        "   30.00 s  fault: stop-child",
        "   60.00 s  silent",
    ]


def test_the_summary_counts_outcomes_with_their_times() -> None:
    seen = [SERVED, replace(SERVED, end=104.0), SILENT]
    text = "2 served (median 4.0 s, longest 4.0 s), 1 silent (median 50.0 s, longest 50.0 s)"
    assert counts(seen) == text


def test_the_defaults_are_those_of_the_session(tmp_path: Path) -> None:
    options = parse(["--real", "livekit-server", str(tmp_path)])
    assert (options.minutes, options.seed, options.workers) == (10.0, 1, 3)


SLEEPS = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
# Its main thread has ended and waits for the other one, as a process does whose worker was killed
# in the moment in which its call began.
FORWARDS_LOG = """
import faulthandler, os, signal, threading, time

def _forward_logs():
    threading.main_thread().join()
    print(os.getpid(), flush=True)
    time.sleep(600)

faulthandler.register(signal.SIGUSR2, all_threads=True)
threading.Thread(target=_forward_logs).start()
"""


@pytest.mark.parametrize(
    ("code", "note", "seconds", "stays"),
    [
        (SLEEPS, "", 0.5, True),
        (SLEEPS, "prewarm hang", 60.0, False),
        (FORWARDS_LOG, "job room-1", 0.5, False),
    ],
    ids=["listens", "hangs-in-prewarm", "forwards-its-log"],
)
def test_only_what_hears_of_nothing_may_outlive_a_worker_that_is_killed(
    tmp_path: Path, code: str, note: str, seconds: float, stays: bool
) -> None:
    worker = Worker(Path("python"), Server(STAND_IN, tmp_path), tmp_path, "agent")
    said = tmp_path / "said"
    with said.open("wb") as out, (tmp_path / "worker.log").open("wb") as log:
        worker.process = subprocess.Popen(
            ["sh", "-c", '"$@" & wait', "sh", sys.executable, "-c", code],
            stdout=out,
            stderr=log,
            start_new_session=True,
        )
    asyncio.run(until(lambda: said.read_text("utf-8").endswith("\n"), 60.0, "the child"))
    if note:
        (tmp_path / "notes").write_text(
            f"1.000 {said.read_text('utf-8').strip()} {note}\n", "utf-8"
        )
    _, left, stuck = asyncio.run(worker.kill_alone(seconds))
    command = f"{sys.executable} -c {code}"
    assert left == ([f"sleeping: {command[-90:]}"] if stays else [])
    assert stuck == (code == FORWARDS_LOG)
