"""Promises 13, 14 and 15: what the worker tells the server of jobs that wait for a process."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import multiprocessing
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

import features
import pytest
import real_pools
from livekit import agents
from livekit.agents.cli import cli as commands
from livekit.agents.ipc import proc_pool
from livekit.protocol import agent, models
from prewarms import Plan
from real_pools import Pool, Report, run_one
from workers import GUARD, JOB_ID, FakePool, Launch, Worker

pytestmark = pytest.mark.skipif(
    features.COMPILED_CORE, reason="the compiled core keeps the connection, and the jobs"
)
SOON = 3.0
"""Seconds, of which a busy host may use two."""
CLOSED = 42
"""What a process exits with whose worker was closed."""


async def _wait_forever(info: Any) -> None:
    await asyncio.sleep(2 * GUARD)


async def _wait_shortly(info: Any) -> None:
    await asyncio.sleep(0.2)


async def _succeed(info: Any) -> None:
    pass


async def _fail(info: Any) -> None:
    raise RuntimeError("no process")


class Wire:
    """Stands where the queue of messages is; what is in it is sent after a while."""

    def __init__(self, worker: Worker) -> None:
        self.queued: list[agent.WorkerMessage] = []
        self.sent: list[agent.WorkerMessage] = []
        worker.server._queue_msg = self._queue_msg
        worker.server._msg_chan = self
        worker.server._conn_task = asyncio.ensure_future(self._send())
        self._close = worker.server._close_future.set_result

    async def _queue_msg(self, msg: agent.WorkerMessage) -> None:
        self.queued.append(msg)

    async def _send(self) -> None:
        while True:
            await asyncio.sleep(0.3)
            self.sent += self.queued
            self.queued.clear()

    def empty(self) -> bool:
        return not self.queued

    def close(self) -> None:
        self._close(None)


def _ask(worker: Worker, answer: Callable[[Any], Awaitable[None]]) -> None:
    """Have a function of the user's own answer the offers from now on."""
    worker.server._request_fnc = answer
    if hasattr(worker.server, "_opts"):  # a Worker asks its options
        worker.server._opts.request_fnc = answer


def _make_worker(pool: Pool) -> Worker:
    """Make a worker whose pool has real children."""
    worker = Worker(_succeed)
    worker.server._proc_pool = pool.pool
    return worker


def _run(launch: Launch, then: Callable[[Worker], Awaitable[None]]) -> Worker:
    """Offer a job, let `then` happen to it while it is launched."""

    async def main() -> Worker:
        worker = Worker(launch)
        await worker.offer()
        while not worker.pool.launched:
            await asyncio.sleep(0.005)
        await then(worker)
        return worker

    return asyncio.run(asyncio.wait_for(main(), GUARD))


def _failed(messages: list[agent.WorkerMessage]) -> list[str]:
    """Return the jobs that are reported as failed."""
    updates = [msg.update_job for msg in messages if msg.WhichOneof("message") == "update_job"]
    assert all(update.status == agent.JobStatus.JS_FAILED for update in updates)
    return [update.job_id for update in updates]


# --- 13: the server is told


def test_a_drain_that_reaches_its_limit_is_reported() -> None:
    async def drain(worker: Worker) -> None:
        with contextlib.suppress(asyncio.TimeoutError):  # where it waits for launches
            await worker.server.drain(timeout=1)
        await asyncio.wait_for(worker.server.aclose(), SOON)
        assert _failed(worker.sent) == [JOB_ID]
        assert worker.pool.cancelled == 1

    _run(_wait_forever, drain)


class _SlowToDrain:
    """A worker for the `start` command, whose drain reaches its limit."""

    worker_info = mock.Mock()

    def once(self, event: str) -> Callable[[object], object]:
        return lambda callback: callback

    async def run(self, **settings: object) -> None:
        pass

    async def drain(self, **settings: object) -> None:
        raise asyncio.TimeoutError

    async def aclose(self) -> None:
        os._exit(CLOSED)


class _NoArguments:
    """The arguments of a command that was given none."""

    log_level = "ERROR"
    opts = mock.Mock()

    def __getattr__(self, name: str) -> Any:
        return None


def _start_slow_to_drain() -> None:
    if hasattr(commands, "_run_worker"):
        commands._run_worker(_SlowToDrain(), _NoArguments())
        return
    run = importlib.import_module("livekit.agents.cli._run")
    with mock.patch.object(run, "Worker", lambda *_, **__: _SlowToDrain()):
        run.run_worker(_NoArguments())


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_start_closes_the_worker_after_a_drain_that_reached_its_limit() -> None:
    child = multiprocessing.get_context("fork").Process(target=_start_slow_to_drain)
    child.start()
    child.join(GUARD)
    child.kill()
    child.join()
    assert child.exitcode == CLOSED


def test_close_without_a_drain_is_reported_within_a_second() -> None:
    async def close(worker: Worker) -> None:
        began = time.monotonic()
        await asyncio.wait_for(worker.server.aclose(), GUARD / 2)
        assert time.monotonic() - began < SOON
        assert _failed(worker.sent) == [JOB_ID]

    _run(_wait_forever, close)


def test_close_lets_a_launch_end_that_has_a_process() -> None:
    async def close(worker: Worker) -> None:
        await asyncio.wait_for(worker.server.aclose(), GUARD / 2)
        assert not _failed(worker.sent)
        assert worker.pool.cancelled == 0

    _run(_wait_shortly, close)


def test_the_report_is_sent_before_the_connection_is_closed() -> None:
    async def close(worker: Worker) -> None:
        wire = Wire(worker)
        await asyncio.wait_for(worker.server.aclose(), GUARD / 2)
        assert _failed(wire.sent) == [JOB_ID]

    _run(_wait_forever, close)


def test_a_job_that_is_accepted_in_a_task_of_the_user_s_is_reported() -> None:
    async def main() -> None:
        worker = Worker(_wait_forever)
        tasks = []

        async def accept_later(request: Any) -> None:
            tasks.append(asyncio.ensure_future(request.accept()))
            await asyncio.sleep(0.01)  # the answer is given in the next tick

        _ask(worker, accept_later)
        await worker.offer()
        while not worker.pool.launched:
            await asyncio.sleep(0.005)
        wire = Wire(worker)
        await asyncio.wait_for(worker.server.aclose(), GUARD / 2)
        assert _failed(wire.sent) == [JOB_ID]
        await asyncio.wait(tasks)

    asyncio.run(asyncio.wait_for(main(), GUARD))


def test_a_job_that_is_launched_as_its_task_is_cancelled_is_not_reported() -> None:
    async def main() -> None:
        async def launch(info: Any) -> None:
            for task in getattr(worker.server, features.LAUNCH_TASKS):
                asyncio.get_running_loop().call_soon(task.cancel)

        worker = Worker(launch)
        await worker.offer()
        await worker.settle()
        assert len(worker.pool.launched) == 1
        assert worker.pool.cancelled == 0
        assert not worker.reports()

    asyncio.run(asyncio.wait_for(main(), GUARD))


def test_a_launch_that_succeeds_on_the_second_process_is_not_reported_as_failed() -> None:
    async def scenario(plan: Plan) -> Report:
        pool = Pool(plan, idle=1)
        worker = _make_worker(pool)
        updates = []

        def update(proc: Any) -> None:  # as run() has it
            updates.append(asyncio.ensure_future(worker.server._update_job_status(proc)))

        def update_dead(proc: Any) -> None:  # how the job on the other one ends is not asked
            if proc is dead:
                update(proc)

        pool.pool.on("process_started", update)
        pool.pool.on("process_job_launched", update)
        pool.pool.on("process_closed", update_dead)
        await pool.pool.start()
        await real_pools.until(lambda: bool(pool.ready))
        dead = pool.ready[0]
        launch = pool.pool.launch_job

        async def launch_on_the_dead_one(info: Any) -> None:
            os.kill(dead.pid, signal.SIGKILL)
            pool.wait_for_its_end(dead)
            await launch(info)

        pool.pool.launch_job = launch_on_the_dead_one
        await worker.offer()
        await worker.settle()
        assert await real_pools.until(lambda: dead in pool.closed)
        await asyncio.gather(*updates)
        statuses = [report.status for report in worker.reports()]
        await pool.aclose()
        assert statuses == [agent.JobStatus.JS_RUNNING]
        return pool.report

    run_one(scenario).check_clean()


def _make_server() -> Any:
    """Make a whole worker, with what it needs to run, but for a server to connect to."""
    options: dict[str, Any] = {
        "ws_url": "ws://127.0.0.1:1",
        "api_key": "key",
        "api_secret": "secret" * 8,
        "host": "127.0.0.1",
        "port": 0,
        "load_fnc": lambda: 0.0,
        "load_threshold": 1.0,
    }
    if not hasattr(agents, "AgentServer"):
        return agents.Worker(agents.WorkerOptions(entrypoint_fnc=_wait_forever, **options))
    server = agents.AgentServer(**options)
    server.rtc_session(_wait_forever)
    return server


@pytest.mark.skipif(not hasattr(agents, "AgentServer"), reason="a Worker makes its own pool")
def test_any_number_of_launches_may_fail_at_once() -> None:
    """A whole server, without a connection: nobody takes its messages."""
    count = 200

    async def main() -> None:
        failing = asyncio.Event()

        async def launch(info: Any) -> None:
            await failing.wait()
            raise RuntimeError("no process became available after 45.0s")

        async def accept(request: Any) -> None:
            await request.accept()

        pool = FakePool(launch)
        with mock.patch.object(proc_pool, "ProcPool", lambda **options: pool):
            server = _make_server()
            running = asyncio.ensure_future(server.run(unregistered=True))
            while not getattr(server, "_api", None):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
        server._request_fnc = accept
        server._is_available = lambda: True
        for number in range(count):
            job = agent.Job(id=f"AJ_{number}", type=agent.JobType.JT_ROOM, room=models.Room())
            server._handle_availability(agent.AvailabilityRequest(job=job))
            assert (await server._msg_chan.recv()).availability.available
            server._handle_assignment(agent.JobAssignment(job=job))
        while len(pool.launched) < count:
            await asyncio.sleep(0.01)
        failing.set()
        for _ in range(100):
            await asyncio.sleep(0.01)
            if not getattr(server, features.LAUNCH_TASKS):
                break
        left = len(getattr(server, features.LAUNCH_TASKS))
        queued = []
        while not server._msg_chan.empty():
            queued.append(server._msg_chan.recv_nowait())
        assert len(_failed(queued)) == count
        assert not left, f"{left} launches wait for room in the queue"
        await asyncio.wait_for(server.aclose(), 10.0)
        await running

    asyncio.run(asyncio.wait_for(main(), GUARD))


@pytest.mark.parametrize("again", [_succeed, _fail], ids=["launched", "failed"])
def test_a_job_that_is_assigned_again_is_reported_by_its_last_launch(again: Launch) -> None:
    async def main() -> None:
        ends = [asyncio.Event(), asyncio.Event()]
        launches = iter(zip(ends, (_fail, again)))

        async def launch(info: Any) -> None:
            end, ending = next(launches)
            await end.wait()
            await ending(info)

        worker = Worker(launch)
        for count in (1, 2):  # as where the connection was lost meanwhile
            await worker.offer()
            while len(worker.pool.launched) < count:
                await asyncio.sleep(0.005)
        for end in ends:
            end.set()
            await asyncio.sleep(0.05)
        await worker.settle()
        assert len(worker.reports()) == (again is _fail)

    asyncio.run(asyncio.wait_for(main(), GUARD))


# --- 14: a sick worker turns calls away


def test_a_worker_listens_to_its_pool() -> None:
    class StartingPool(FakePool):
        def __init__(self) -> None:
            super().__init__(_succeed)
            self.started = asyncio.Event()
            self.callbacks: dict[str, Callable[[Any], None]] = {}

        def on(self, event: str, callback: Callable[[Any], None]) -> None:
            self.callbacks[event] = callback

        async def start(self) -> None:
            self.started.set()
            await asyncio.sleep(2 * GUARD)

    async def main() -> None:
        pool = StartingPool()
        with mock.patch.object(proc_pool, "ProcPool", lambda *args, **options: pool):
            server = _make_server()
            server._pool_failing = features.RUNS_AGAIN  # as the pool of an earlier run left it
            running = asyncio.ensure_future(server.run())
            await asyncio.wait(
                [running, asyncio.ensure_future(pool.started.wait())],
                timeout=GUARD / 2,
                return_when="FIRST_COMPLETED",
            )
        running.cancel()
        await asyncio.wait([running])
        assert not server._pool_failing
        for sick in (True, False):
            pool.callbacks["failing_changed"](sick)
            assert server._pool_failing == sick

    asyncio.run(asyncio.wait_for(main(), GUARD))


def _answers(worker: Worker) -> list[Any]:
    """Return the answers to offers so far."""
    return [m.availability for m in worker.sent if m.WhichOneof("message") == "availability"]


async def _offer_another(worker: Worker) -> Any:
    """Offer another job; return the answer."""
    count = len(_answers(worker))
    job = agent.Job(id="AJ_another", type=agent.JobType.JT_ROOM, room=models.Room())
    worker.server._handle_availability(agent.AvailabilityRequest(job=job))
    while len(_answers(worker)) == count:
        await asyncio.sleep(0.005)
    return _answers(worker)[-1]


def _record_requests(worker: Worker) -> list[str]:
    """Return the offers that the user's function is asked for from now on; it rejects them."""
    asked = []

    async def reject(request: Any) -> None:
        asked.append(request.id)
        await request.reject()

    _ask(worker, reject)
    return asked


def _declines(answer: Any) -> bool:
    """Whether the server will ask another worker; old protocols have no other way to say no."""
    return not answer.available and not getattr(answer, "terminate", False)


def test_a_sick_worker_declines() -> None:
    async def turn_sick(worker: Worker) -> None:
        asked = _record_requests(worker)
        await _offer_another(worker)
        assert len(asked) == 1
        worker.server._on_pool_failing_changed(True)
        assert _declines(await _offer_another(worker))
        assert len(asked) == 1
        worker.server._on_pool_failing_changed(False)
        await _offer_another(worker)
        assert len(asked) == 2

    _run(_succeed, turn_sick)


def test_a_sick_worker_declines_at_once() -> None:
    async def turn_sick(worker: Worker) -> None:
        async def measure() -> None:  # on a loaded host this takes a while
            await asyncio.sleep(2 * GUARD)

        worker.server._refresh_worker_load = measure
        worker.server._on_pool_failing_changed(True)
        assert _declines(await asyncio.wait_for(_offer_another(worker), SOON))

    _run(_succeed, turn_sick)


def test_a_worker_that_is_being_closed_declines() -> None:
    async def close(worker: Worker) -> None:
        may_end = asyncio.Event()
        worker.server._end_launches = may_end.wait  # the connection is open until then
        closing = asyncio.ensure_future(worker.server.aclose())
        while not worker.server._closed:
            await asyncio.sleep(0.005)
        asked = _record_requests(worker)
        assert _declines(await _offer_another(worker))
        assert not asked
        may_end.set()
        await closing

    _run(_succeed, close)


def test_a_sick_worker_says_that_it_is_full() -> None:
    async def turn_sick(worker: Worker) -> None:
        seen = []
        for sick in (False, True, False):
            worker.server._on_pool_failing_changed(sick)
            await worker.server._update_worker_status()
            seen.append(worker.sent[-1].update_worker.status)
        full, available = agent.WorkerStatus.WS_FULL, agent.WorkerStatus.WS_AVAILABLE
        assert seen == [available, full, available]

    _run(_succeed, turn_sick)


# --- 15: a job that the server ends while it waits


async def _terminate(worker: Worker) -> None:
    await worker.server._handle_termination(agent.JobTermination(job_id=JOB_ID))
    await asyncio.sleep(0.05)


def test_a_job_that_is_ended_while_it_waits_is_not_launched() -> None:
    async def terminate(worker: Worker) -> None:
        await _terminate(worker)
        assert worker.pool.cancelled == 1
        await asyncio.wait_for(worker.settle(), SOON)
        assert not worker.reports()
        assert worker.reserved() == 0

    _run(_wait_forever, terminate)


def test_a_job_that_is_ended_right_behind_its_assignment_is_not_launched() -> None:
    async def main() -> None:
        worker = Worker(_succeed)
        await worker.offer()
        # in the step that handled the assignment, as where both came in one read
        await worker.server._handle_termination(agent.JobTermination(job_id=JOB_ID))
        await asyncio.wait_for(worker.settle(), SOON)
        assert not worker.pool.launched
        assert not worker.reports()
        assert worker.reserved() == 0

    asyncio.run(asyncio.wait_for(main(), GUARD))


def test_a_job_that_is_ended_after_its_launch_is_closed() -> None:
    async def terminate(worker: Worker) -> None:
        await worker.settle()
        process = mock.AsyncMock()
        worker.pool.get_by_job_id = lambda job_id: process  # type: ignore[method-assign]
        await _terminate(worker)
        process.aclose.assert_awaited_once()
        assert not worker.reports()

    _run(_succeed, terminate)


def test_a_job_is_closed_though_another_assignment_of_it_never_came() -> None:
    async def terminate(worker: Worker) -> None:
        await worker.settle()
        process = mock.AsyncMock()
        worker.pool.get_by_job_id = lambda job_id: process  # type: ignore[method-assign]
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        never.cancel()
        worker.server._pending_assignments[JOB_ID] = never
        await _terminate(worker)
        process.aclose.assert_awaited_once()

    _run(_succeed, terminate)


@pytest.mark.parametrize("drained", [False, True], ids=["at once", "after a drain"])
def test_close_ends_while_a_job_is_being_ended(drained: bool) -> None:
    """The job's process is stopped, so that it acknowledges nothing."""

    async def scenario(plan: Plan) -> Report:
        pool = Pool(plan)
        pool.pool.on("process_ready", lambda proc: os.kill(proc.pid, signal.SIGSTOP))
        worker = _make_worker(pool)
        await pool.pool.start()
        await worker.offer()
        await worker.settle()
        [process] = pool.ready
        assert process.running_job.job.id == JOB_ID
        ending = asyncio.ensure_future(
            worker.server._handle_termination(agent.JobTermination(job_id=JOB_ID))
        )
        getattr(worker.server, features.LAUNCH_TASKS).add(ending)
        ending.add_done_callback(getattr(worker.server, features.LAUNCH_TASKS).discard)
        if drained:
            with contextlib.suppress(asyncio.TimeoutError):
                await worker.server.drain(timeout=1)
        await asyncio.wait_for(worker.server.aclose(), real_pools.guard)
        await pool.aclose()
        return pool.report

    run_one(scenario).check_clean()
