"""The contract with real children: forkserver, spawn and thread executors.

Nearly every test is an assertion about the `Report` of one scenario.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from unittest import mock

import features
import pytest
from livekit.agents.ipc import job_thread_executor, proc_pool
from prewarms import Plan
from real_pools import (
    SHORT_W,
    Pool,
    Report,
    Scenario,
    T,
    check_nothing_left,
    check_recovered,
    descriptors,
    exists,
    fails_for_good,
    guard,
    planned_forks,
    recovers,
    run_group,
    run_one,
    slow_starts,
    until,
)

pytestmark = [
    pytest.mark.timeout(1200),  # each wait has its own end, and says what did not come
    # a prewarm that raises in a thread executor ends that thread with its exception
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture(autouse=True, scope="module")
def _forks() -> Iterator[None]:
    with planned_forks():
        yield


KINDS = ("hang", "raise", "exit", "sigkill")
IDLE = (0, 2)
VERDICTS: dict[str, Scenario] = {
    **{f"{k}-{i}": fails_for_good(k, i) for k in (*KINDS, "fork") for i in IDLE},
    **{
        f"thread-{k}-{i}": fails_for_good(k, i, thread=True)
        for k in ("hang", "raise")
        for i in IDLE
    },
}
RECOVERIES: dict[str, Scenario] = {
    **{f"recover-{k}-{i}": recovers(k, i, 2) for k in ("hang", "fork") for i in IDLE},
    **{
        f"recover-thread-{k}-{i}": recovers(k, i, 2, thread=True)
        for k in ("hang", "raise")
        for i in IDLE
    },
}
SPAWN: dict[str, Scenario] = {
    "hang-0": fails_for_good("hang", 0, context="spawn"),
    "raise-recover-0": recovers("raise", 0, 1, context="spawn"),
    "exit-recover-1": recovers("exit", 1, 1, context="spawn"),
}


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    return run_group({**VERDICTS, **RECOVERIES})


@pytest.fixture(scope="module")
def spawned() -> dict[str, Report]:
    # Process.start() asks after all other children of this process. Where it learns that one has
    # ended, that one's join(), in another thread, may return before the exit code is known, and its
    # close() then raises: rare, not the pool's doing, and not so with a fork server.
    with mock.patch("multiprocessing.process._cleanup"):
        return run_group(SPAWN)


# -- no process can initialize ---------------------------------------------------------------------


@pytest.mark.xdist_group("reports")
@pytest.mark.parametrize("name", VERDICTS)
def test_a_pool_that_cannot_initialize_ends_the_job(reports: dict[str, Report], name: str) -> None:
    report = reports[name]
    report.check_verdict()
    assert "start" not in report.notes
    report.check_clean()
    check_nothing_left(reports["everything"])


# -- it recovers -----------------------------------------------------------------------------------


@pytest.mark.xdist_group("reports")
def test_pools_that_recover_run_their_jobs(reports: dict[str, Report]) -> None:
    # One test: unpatched, most of these come out either way, and only a prewarm that raises in a
    # thread executor is sure to lose its job.
    broken = {}
    for name in RECOVERIES:
        try:
            check_recovered(reports[name])
        except AssertionError as e:
            broken[name] = str(e).splitlines()[0]
    assert broken == {}
    check_nothing_left(reports["everything"])


def test_a_failed_process_that_lingers_is_killed_soon() -> None:
    async def scenario(plan: Plan) -> Report:
        plan.kind, plan.failures = "linger", 1
        pool = Pool(plan, close_timeout=3 * guard)
        await pool.pool.start()
        await pool.launch()
        pool.report.notes["killed"] = await until(lambda: not exists(pool.created[0].pid))
        await pool.aclose()
        return pool.report

    report = run_one(scenario)
    check_recovered(report)
    assert report.notes["killed"], "the failed process is still there"


def test_a_timeout_is_one_though_the_request_for_its_stacks_ends_the_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The process is closed before it is killed, as where it still imports."""

    async def scenario(plan: Plan) -> Report:
        plan.kind, plan.failures = "hang_unready", 1
        pool = Pool(plan, hang_timeout=1.0)
        await pool.pool.start()
        await pool.launch()
        await pool.aclose()
        return pool.report

    check_recovered(run_one(scenario))
    failed = [r for r in caplog.records if r.getMessage() == "error initializing process"]
    errors = [record.exc_info[0] for record in failed if record.exc_info]
    assert errors == [asyncio.TimeoutError]


def test_the_channel_of_a_process_that_replaces_a_failed_fork_is_read() -> None:
    # alone, so that it gets the descriptors that the failed one had
    check_recovered(run_one(recovers("fork", 0, 2)))


@pytest.mark.parametrize("idle", IDLE)
@pytest.mark.parametrize("kind", ["raise", "exit", "sigkill"])
def test_a_pool_whose_children_are_gone_before_their_failure_is_seen(kind: str, idle: int) -> None:
    """Unpatched, cleaning up such a child may wait forever: this order of events makes it sure."""
    if kind == "raise" and not features.FAILED_CHILDREN_EXIT:
        pytest.skip("in this release a child whose prewarm raised stays until it is killed")

    async def scenario(plan: Plan) -> Report:
        plan.kind, plan.failures = kind, 2
        pool = Pool(plan, idle=idle)
        loop = asyncio.get_running_loop()

        def hold(proc: Any) -> None:
            if proc.user_arguments.fails:  # they need not start in the order they were created in
                # not before initialize() has sent its request, which it does in this tick
                loop.call_soon(pool.wait_for_its_end, proc)

        pool.on_started = hold
        starting = asyncio.ensure_future(pool.pool.start())
        await asyncio.sleep(0)
        await pool.launch()
        await starting
        await pool.aclose()
        return pool.report

    check_recovered(run_one(scenario))


# -- the same with spawn ---------------------------------------------------------------------------


@pytest.mark.costly
def test_spawned_pools_end_or_recover(spawned: dict[str, Report]) -> None:
    # one test, because a recovery with spawn comes out either way on an unpatched release
    spawned["hang-0"].check_verdict()
    spawned["hang-0"].check_clean()
    for name in SPAWN:
        if "recover" in name:
            check_recovered(spawned[name])
    check_nothing_left(spawned["everything"])


# -- a freeze of the whole worker ------------------------------------------------------------------


@pytest.mark.parametrize("thread", [False, True], ids=["process", "thread"])
def test_an_answer_that_came_during_a_freeze_counts(thread: bool) -> None:
    async def scenario(plan: Plan) -> Report:
        plan.kind, plan.hang = "held", guard
        pool = Pool(plan, hang_timeout=guard / 4, thread=thread)
        await pool.pool.start()
        launching = asyncio.ensure_future(pool.launch())
        assert await until(plan.prewarmed.exists), "prewarm never ran"
        plan.released.touch()
        loop: Any = asyncio.get_running_loop()
        while all(key.fd == loop._ssock.fileno() for key, _ in loop._selector.select(guard)):
            pass  # nothing else runs here until the answer is there
        clock = loop.time
        loop.time = lambda: clock() + guard / 2  # and by then the timeout has passed
        await launching
        assert len(pool.created) == 1, "a process that had answered was replaced"
        await pool.aclose()
        return pool.report

    report = run_one(scenario)
    assert report.error is None, report.error
    report.check_clean()


# -- aclose() at a bad moment ----------------------------------------------------------------------


@pytest.mark.parametrize("idle", [0, 2])
def test_close_while_a_process_initializes(idle: int) -> None:
    async def scenario(plan: Plan) -> Report:
        plan.kind = "hang"
        pool = Pool(plan, idle=idle, hang_timeout=guard)
        starting = asyncio.ensure_future(pool.pool.start())
        await asyncio.sleep(0)
        launching = asyncio.ensure_future(pool.launch())
        assert await until(plan.prewarmed.exists), "prewarm never ran"
        await pool.aclose()
        await pool.note_released(launching)
        starting.cancel()
        return pool.report

    report = run_one(scenario)
    assert report.notes["released"], "the waiting job was not released"
    assert report.error is not None
    report.check_clean()


async def _close_while_starting(plan: Plan, kind: str) -> Pool:
    """Close a pool while its first fork is under way; the fork then succeeds, or fails."""
    plan.kind = kind
    entered, release = slow_starts[plan.folder] = threading.Event(), threading.Event()
    pool = Pool(plan)
    await pool.pool.start()
    launching = asyncio.ensure_future(pool.launch())
    try:
        assert await until(entered.is_set), "start() was never called"
        asyncio.get_running_loop().call_later(0.3, release.set)
        await pool.aclose()
    finally:
        release.set()
        del slow_starts[plan.folder]
    await pool.note_released(launching)
    return pool


def test_close_while_a_process_is_started() -> None:
    async def scenario(plan: Plan) -> Report:
        return (await _close_while_starting(plan, "slow_start")).report

    report = run_one(scenario)
    assert report.notes["released"], "the waiting job was not released"
    report.check_clean()


def test_a_start_that_fails_after_it_was_given_up_is_not_reported_by_asyncio() -> None:
    """What asyncio logs of a task's lost exception holds its arguments, and reaches no one."""
    lost: list[dict[str, Any]] = []

    async def scenario(plan: Plan) -> Report:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: lost.append(context))
        pool = await _close_while_starting(plan, "slow_failure")
        for proc in pool.created:
            proc._start_atask = None  # the last reference: asyncio reports what was lost
        gc.collect()
        return pool.report

    report = run_one(scenario)
    report.check_clean()
    assert [context["message"] for context in lost] == []


def test_close_while_a_failed_process_is_cleaned_up() -> None:
    async def scenario(plan: Plan) -> Report:
        plan.kind = "linger"
        pool = Pool(plan)
        await pool.pool.start()
        launching = asyncio.ensure_future(pool.launch())
        assert await until(lambda: any(p._closing for p in pool.created)), "no clean-up"
        assert any(map(exists, pool.pids)), "the child is gone before its clean-up"
        await pool.aclose()
        await pool.note_released(launching)
        return pool.report

    report = run_one(scenario)
    assert report.notes["released"], "the waiting job was not released"
    report.check_clean()


# -- what is stuck keeps its place -----------------------------------------------------------------

CONCURRENCY = 2


def _pool_of_what_is_stuck(plan: Plan, monkeypatch: pytest.MonkeyPatch, **kwargs: Any) -> Pool:
    """Return a pool that initializes two at once, and whose W is `SHORT_W`."""
    monkeypatch.setattr(proc_pool, "MAX_CONCURRENT_INITIALIZATIONS", CONCURRENCY)
    pool = Pool(plan, idle=2, initialize_timeout=T, **kwargs)
    pool.pool._wait_timeout = SHORT_W  # unpatched, there is none
    return pool


def test_starts_that_never_return_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(plan: Plan) -> Report:
        plan.kind = "slow_start"
        _, release = slow_starts[plan.folder] = threading.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(CONCURRENCY + 1))
        before = descriptors()
        pool = _pool_of_what_is_stuck(plan, monkeypatch)
        notes = pool.report.notes
        starting = asyncio.ensure_future(pool.pool.start())
        try:
            await asyncio.sleep(0)
            await pool.launch()
            notes["stuck"] = len(pool.created)  # none of them has got any further
            free = loop.run_in_executor(None, int)
            notes["free"] = await until(free.done, guard / 4)
            await pool.aclose()
        finally:
            release.set()
            del slow_starts[plan.folder]
        starting.cancel()
        notes["descriptors"] = await until(lambda: descriptors() <= before, guard / 4)
        return pool.report

    report = run_one(scenario)
    assert report.notes["stuck"] <= CONCURRENCY, "more starts outstanding than may initialize"
    assert report.notes["free"], "the loop's default executor is used up"
    report.check_verdict()
    report.check_clean()
    assert report.notes["descriptors"], "descriptors left"


def test_threads_that_are_stuck_in_prewarm_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest's holds what the thread's exception refers to: its socket
    monkeypatch.setattr(threading, "excepthook", lambda args: None)

    async def scenario(plan: Plan) -> Report:
        plan.kind = "held"
        before = descriptors()
        pool = _pool_of_what_is_stuck(plan, monkeypatch, thread=True, hang_timeout=SHORT_W / 2)
        notes = pool.report.notes
        starting = asyncio.ensure_future(pool.pool.start())
        try:
            await asyncio.sleep(0)
            await pool.launch()
            notes["stuck"] = len(pool.threads())
            await pool.aclose()
        finally:
            plan.released.touch()
        starting.cancel()
        notes["descriptors"] = await until(lambda: descriptors() <= before, guard / 4)
        return pool.report

    report = run_one(scenario)
    assert report.notes["stuck"] <= CONCURRENCY, "more threads stuck than may initialize"
    report.check_verdict()
    report.check_clean()
    assert report.notes["descriptors"], "descriptors left"


# -- what a failed spawn leaves behind -------------------------------------------------------------


def test_a_process_that_left_a_fork_is_closed() -> None:
    """The fork holds what the process had open, and lives on."""

    async def scenario(plan: Plan) -> Report:
        plan.kind = "leave_a_fork"
        before = descriptors()
        pool = Pool(plan)
        notes = pool.report.notes
        await pool.pool.start()
        launching = asyncio.ensure_future(pool.launch())
        try:
            assert await until(lambda: len(pool.closed) >= 2), "failed spawns are never closed"
            await pool.aclose()
            await pool.note_released(launching)
            notes["threads gone"] = await until(lambda: not pool.threads(), guard / 4)
            notes["descriptors"] = await until(lambda: descriptors() <= before, guard / 4)
            notes["forks"] = sum(map(exists, plan.forks_left()))
        finally:
            for pid in plan.forks_left():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return pool.report

    report = run_one(scenario)
    assert report.notes["forks"] >= 2, "the forks did not outlive their processes"
    assert report.notes["released"], "the waiting job was not released"
    report.check_clean()
    assert report.notes["threads gone"], "threads left"
    assert report.notes["descriptors"], "descriptors left"


def test_a_process_that_no_thread_can_join_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    failures = iter(range(2))

    def start_few(thread: threading.Thread) -> None:
        if thread.name == "proc_join_thread" and next(failures, None) is not None:
            raise RuntimeError("can't start new thread")
        start(thread)

    async def scenario(plan: Plan) -> Report:
        before = descriptors()
        pool = Pool(plan)
        monkeypatch.setattr(threading.Thread, "start", start_few)
        await pool.pool.start()
        await pool.launch()
        await pool.aclose()
        pool.report.notes["descriptors"] = await until(lambda: descriptors() <= before, guard / 4)
        return pool.report

    report = run_one(scenario)
    check_recovered(report)
    assert report.notes["descriptors"], "descriptors left"


@pytest.mark.parametrize("what", ["socket", "thread"])
def test_a_thread_that_cannot_be_started_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    start, failures = threading.Thread.start, iter(range(2))
    sockets: list[socket.socket] = []

    def pair() -> tuple[socket.socket, socket.socket]:
        if what == "socket" and next(failures, None) is not None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        both = socket.socketpair()
        sockets.append(both[0])  # the other is the thread's, and goes with it
        return both

    def start_few(thread: threading.Thread) -> None:
        runner = what == "thread" and thread.name == "job_thread_runner"
        if runner and next(failures, None) is not None:
            raise RuntimeError("can't start new thread")
        start(thread)

    async def scenario(plan: Plan) -> Report:
        pool = Pool(plan, thread=True)
        changed = {**vars(socket), "socketpair": pair}
        monkeypatch.setattr(job_thread_executor, "socket", SimpleNamespace(**changed))
        monkeypatch.setattr(threading.Thread, "start", start_few)
        await pool.pool.start()
        await pool.launch()
        await pool.aclose()
        return pool.report

    check_recovered(run_one(scenario))
    assert [s for s in sockets[:-1] if s.fileno() >= 0] == [], "sockets left"


# -- processes that don't live long ----------------------------------------------------------------

WINDOW = 15.0
MOST_SPAWNS = 25


def _lives_shortly(kind: str, memory_limit_mb: float = 0) -> Scenario:
    async def scenario(plan: Plan) -> Report:
        plan.kind = kind
        pool = Pool(plan, idle=1, memory_limit_mb=memory_limit_mb)
        starting = asyncio.ensure_future(pool.pool.start())
        await until(lambda: len(pool.created) > MOST_SPAWNS, WINDOW)
        pool.report.notes["spawned"] = len(pool.created)
        await pool.aclose()
        starting.cancel()
        return pool.report

    return scenario


@pytest.mark.costly
def test_processes_that_die_idle_are_replaced_with_a_back_off() -> None:
    """Killed for their memory, or by a native crash. Slow hosts spawn fewer."""
    scenarios = {"memory": _lives_shortly("ok", 1.0), "crash": _lives_shortly("die_idle")}
    reports = run_group(scenarios)
    for name in scenarios:
        assert "broken" not in reports[name].notes, reports[name].error
        assert 2 <= reports[name].notes["spawned"] <= MOST_SPAWNS, name
        reports[name].check_clean()
    check_nothing_left(reports["everything"])


# -- children that die by another hand -------------------------------------------------------------


def test_a_child_that_dies_before_its_first_message() -> None:
    async def scenario(plan: Plan) -> Report:
        pool = Pool(plan)
        killed: list[int] = []

        def kill(proc: Any) -> None:
            if len(killed) >= 2:
                return
            killed.append(proc.pid)
            os.kill(proc.pid, signal.SIGKILL)
            pool.wait_for_its_end(proc)  # so that the message finds no one

        pool.on_started = kill
        await pool.pool.start()
        await pool.launch()
        await pool.aclose()
        return pool.report

    check_recovered(run_one(scenario))


def test_a_thread_whose_prewarm_raises_is_not_ready() -> None:
    async def scenario(plan: Plan) -> Report:
        plan.kind = "raise"
        pool = Pool(plan, thread=True)
        await pool.pool.start()
        launching = asyncio.ensure_future(pool.launch())
        assert await until(lambda: bool(pool.ready or len(pool.closed) > 1)), "nothing failed"
        await pool.aclose()
        await pool.note_released(launching)
        pool.report.notes["ready"] = len(pool.ready)
        return pool.report

    report = run_one(scenario)
    assert report.notes["ready"] == 0
    assert report.notes["released"], "the waiting job was not released"
    report.check_clean()


def test_close_while_a_thread_initializes() -> None:
    async def scenario(plan: Plan) -> Report:
        plan.kind, plan.hang = "held", 20.0
        pool = Pool(plan, hang_timeout=guard, thread=True)
        await pool.pool.start()
        launching = asyncio.ensure_future(pool.launch())
        try:
            assert await until(plan.prewarmed.exists), "prewarm never ran"
            await pool.aclose()
            pool.report.notes["stuck"] = len(pool.threads())
        finally:
            plan.released.touch()
        await pool.note_released(launching)
        return pool.report

    report = run_one(scenario)
    assert report.notes["stuck"], "aclose() waited for a thread that is stuck"
    assert report.notes["released"], "the waiting job was not released"
    report.check_clean()


def test_idle_processes_that_were_killed_are_replaced() -> None:
    async def scenario(plan: Plan) -> Report:
        pool = Pool(plan, idle=2)
        await pool.pool.start()
        assert await until(lambda: len(pool.ready) == 2)
        os.kill(pool.ready[0].pid, signal.SIGKILL)
        pool.report.notes["replaced"] = await until(lambda: len(pool.ready) >= 3)
        await pool.aclose()
        return pool.report

    report = run_one(scenario)
    assert report.notes["replaced"], "no replacement for an idle process that was killed"
    report.check_clean()


def test_a_job_is_not_handed_a_process_that_was_killed() -> None:
    async def scenario(plan: Plan) -> Report:
        pool = Pool(plan, idle=3)
        await pool.pool.start()
        assert await until(lambda: len(pool.ready) == 3)
        killed = list(pool.ready)
        for proc in killed:
            os.kill(proc.pid, signal.SIGKILL)
        # as soon as the pool has heard of it, no job may meet the dead
        assert await until(lambda: all(p in pool.closed for p in killed))
        await pool.launch()
        await pool.aclose()
        return pool.report

    report = run_one(scenario)
    assert report.retries == 0, "the job was handed a dead process first"
    check_recovered(report)


def test_a_healthy_pool_runs_its_job() -> None:
    async def scenario(plan: Plan) -> Report:
        pool = Pool(plan, idle=1)
        await pool.pool.start()
        await pool.launch()
        await pool.settle(1)
        await pool.aclose()
        return pool.report

    check_recovered(run_one(scenario))
