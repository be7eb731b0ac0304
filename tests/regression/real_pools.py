"""A process pool of the release under test with real children, and what one scenario saw in it.

Scenarios that must wait for a verdict run side by side on one event loop (`run_group`), so that the
waits cost their time once. Where a verdict is wanted T is a quarter of a second, and W half a one.

No outcome depends on how fast the host is. What must time out has T, what must not has `guard`, and
that is also how long a test waits for what it expects. How long things take under load is nothing
that these tests could say: the ones in virtual time hold the pool to its bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import gc
import inspect
import logging
import multiprocessing as mp
import os
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from livekit.agents import job
from livekit.agents.ipc.job_proc_executor import ProcJobExecutor
from livekit.agents.ipc.proc_pool import ProcPool

sys.path.insert(0, str(Path(__file__).resolve().parent))  # children import prewarms by name

import prewarms
from jobs import make_job
from prewarms import Plan

T = 0.25
SHORT_W = 0.5
"""W where a verdict is waited for, in seconds. That it is T + 5 is tested in virtual time."""
CLOSE_TIMEOUT = 0.5
guard = 120.0
"""Seconds after which something counts as never coming. In a control run much does: it has less."""
THREADS = ("proc_join_thread", "ipc_log_listener", "job_thread_runner")


# -- what is alive ---------------------------------------------------------------------------------


def _children() -> set[int]:
    """Pids of every descendant, zombies too."""
    return {p.pid for p in psutil.Process().children(recursive=True)}


def _threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name in THREADS}


def descriptors() -> int:
    """How many are open, but for what only a cycle of references still holds."""
    gc.collect()
    return int(psutil.Process().num_fds())


def exists(pid: int) -> bool:
    return bool(psutil.pid_exists(pid))


async def until(condition: Callable[[], bool], timeout: float | None = None) -> bool:
    """Wait for `condition`, for `guard` by default, and return whether it came."""
    deadline = time.monotonic() + (guard if timeout is None else timeout)
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


@dataclass
class Baseline:
    children: set[int] = field(default_factory=_children)
    threads: set[threading.Thread] = field(default_factory=_threads)

    def leaked_children(self) -> set[int]:
        return _children() - self.children

    def leaked_threads(self) -> set[str]:
        return {t.name for t in _threads() - self.threads}

    def kill_leftovers(self) -> None:
        for pid in self.leaked_children():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


# -- one pool and what happened in it --------------------------------------------------------------


@dataclass
class Report:
    """What one scenario saw, and what it left behind."""

    launched: bool = False
    ran: bool = False
    error: BaseException | None = None
    elapsed: float = 0.0
    error_records: list[logging.LogRecord] = field(default_factory=list)
    retries: int = 0
    unpaired: int = 0
    """Executors whose process_created and process_closed do not pair."""
    closed_in_time: bool = False
    executors_left: int = 0
    children_left: set[int] = field(default_factory=set)
    notes: dict[str, Any] = field(default_factory=dict)

    def check_clean(self) -> None:
        assert self.closed_in_time, f"aclose() still running after {guard} s"
        assert self.children_left == set(), "children or zombies left"
        assert self.executors_left == 0, "entries left in pool.processes"
        assert self.unpaired == 0, "process_created and process_closed do not pair"

    def check_verdict(self) -> None:
        assert not self.launched, "the job was launched on a process that never became ready"
        assert isinstance(self.error, RuntimeError), f"no verdict: {self.error!r}"
        assert str(self.error).startswith("no process became available after")
        assert len(self.error_records) == 1, f"{len(self.error_records)} error records"
        assert self.elapsed >= 0.75 * SHORT_W, f"verdict after {self.elapsed:.1f} s"


class _Records(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


def make_pool(
    *,
    context: str = "forkserver",
    idle: int = 0,
    initialize_timeout: float,
    close_timeout: float = CLOSE_TIMEOUT,
    memory_limit_mb: float = 0,
    thread: bool = False,
) -> ProcPool:
    """Make a ProcPool of the release under test; `initialize_timeout` is T, in seconds."""
    executor = job.JobExecutorType.THREAD if thread else job.JobExecutorType.PROCESS
    kwargs: dict[str, Any] = {
        "initialize_process_fnc": prewarms.prewarm,
        "job_entrypoint_fnc": prewarms.entrypoint,
        "session_end_fnc": None,
        "simulation_end_fnc": None,
        "num_idle_processes": idle,
        "job_executor_type": executor,
        "initialize_timeout": initialize_timeout,
        "close_timeout": close_timeout,
        "session_end_timeout": 5.0,
        "inference_executor": None,
        "memory_warn_mb": 0,
        "memory_limit_mb": memory_limit_mb,
        "http_proxy": None,
        "mp_ctx": mp.get_context(context),
        "loop": asyncio.get_running_loop(),
    }
    known = inspect.signature(ProcPool.__init__).parameters
    return ProcPool(**{k: v for k, v in kwargs.items() if k in known})


class Pool:
    """A ProcPool of the release under test, a plan for its children, ears for its events."""

    def __init__(
        self,
        plan: Plan,
        *,
        context: str = "forkserver",
        idle: int = 0,
        initialize_timeout: float | None = None,
        close_timeout: float = CLOSE_TIMEOUT,
        hang_timeout: float = T,
        thread: bool = False,
        memory_limit_mb: float = 0,
    ) -> None:
        """`initialize_timeout` is the pool's, from which it has its bounds; `guard` by default.
        A process that hangs has `hang_timeout`, and every other one `guard`.
        """
        self.pool = make_pool(
            context=context,
            idle=idle,
            initialize_timeout=initialize_timeout or guard,
            close_timeout=close_timeout,
            memory_limit_mb=memory_limit_mb,
            thread=thread,
        )
        self.plan = plan
        self._hang_timeout = hang_timeout
        self.report = Report()
        self._threads_before = _threads()
        self.created: list[Any] = []
        self.ready: list[Any] = []
        self.closed: list[Any] = []
        self.pids: set[int] = set()
        self.on_started: Callable[[Any], None] | None = None
        self.pool.on("process_created", self._created)
        self.pool.on("process_started", self._started)
        self.pool.on("process_ready", self.ready.append)
        self.pool.on("process_closed", self.closed.append)

    def _created(self, proc: Any) -> None:
        self.created.append(proc)
        plan = dataclasses.replace(self.plan, number=len(self.created))
        proc.user_arguments = plan
        proc._opts.initialize_timeout = self._hang_timeout if plan.hangs else guard

    def _started(self, proc: Any) -> None:
        if getattr(proc, "pid", None):
            self.pids.add(proc.pid)
        if self.on_started is not None:
            self.on_started(proc)

    def threads(self) -> set[threading.Thread]:
        """What runs now and did not before there was this pool."""
        return _threads() - self._threads_before

    def wait_for_its_end(self, proc: Any) -> None:
        """Block the event loop until a child is dead and its join thread has said so.

        The loop then sees the death before it sees what the child sent, as on a busy host.
        """
        deadline = time.monotonic() + guard
        while time.monotonic() < deadline:
            joining = sum(t.name == "proc_join_thread" for t in self.threads())
            alive = sum(exists(p.pid) for p in self.created if p.pid)
            if not exists(proc.pid) and joining <= alive:
                return
            time.sleep(0.002)
        raise AssertionError("the child did not die")

    async def launch(self) -> None:
        """Launch one job; how it ends goes to the report."""
        report = self.report
        info = make_job("job_" + uuid.uuid4().hex)
        records: list[logging.LogRecord] = []
        handler = _Records(records)
        logger = logging.getLogger("livekit.agents")
        logger.addHandler(handler)
        start = time.monotonic()
        try:
            await asyncio.wait_for(self.pool.launch_job(info), guard)
            report.launched = True
        except Exception as e:
            report.error = e
        finally:
            logger.removeHandler(handler)
            report.elapsed = time.monotonic() - start
        mine = [r for r in records if getattr(r, "job_id", None) == info.job.id]
        report.error_records = [
            r
            for r in mine
            if r.levelno == logging.ERROR
            and r.getMessage().startswith("failed to launch job on process after")
        ]
        report.retries = sum("retrying with a new process" in r.getMessage() for r in mine)
        if report.launched:
            report.ran = await until(lambda: info.job.id in self.plan.jobs_run())

    async def settle(self, idle: int) -> None:
        """Wait until nothing initializes: closing at such a moment has tests of its own."""

        def settled() -> bool:
            done = set(map(id, self.ready + self.closed))
            return len(self.ready) > idle and all(id(p) in done for p in self.created)

        await until(settled)

    async def aclose(self) -> None:
        report = self.report
        closing = asyncio.ensure_future(self.pool.aclose())
        await asyncio.wait({closing}, timeout=guard)
        report.closed_in_time = closing.done()
        if closing.done():
            closing.result()
        else:
            closing.cancel()
        # the fork server reaps its children in its own time
        await until(lambda: not any(map(exists, self.pids)), guard / 4 if closing.done() else 0)
        report.children_left = set(filter(exists, self.pids))
        report.executors_left = len(self.pool.processes)
        seen = set(map(id, self.created + self.closed))
        report.unpaired = sum(
            [id(p) for p in self.created].count(i) != 1
            or [id(p) for p in self.closed].count(i) != 1
            for i in seen
        )

    async def note_released(self, launching: asyncio.Future[None]) -> None:
        """Note whether a launch that was waiting has ended when aclose() returns."""
        for _ in range(100):  # its task may have a few steps to go
            await asyncio.sleep(0)
        self.report.notes["released"] = launching.done()
        launching.cancel()


Scenario = Callable[[Plan], Awaitable[Report]]


def run_group(scenarios: dict[str, Scenario]) -> dict[str, Report]:
    """Run scenarios side by side.

    The report `everything` tells what all of them left behind.
    """
    warm_the_fork_server()
    base = Baseline()
    everything = Report()

    async def main(folder: str) -> dict[str, Report]:
        me = asyncio.current_task()

        async def one(name: str, scenario: Scenario) -> Report:
            path = Path(folder, name)
            path.mkdir()
            try:
                # one may come to its guard more than once
                return await asyncio.wait_for(scenario(Plan(str(path))), 3 * guard)
            except Exception as e:  # a broken scenario fails its own test, not the others
                return Report(error=e, notes={"broken": e})

        reports = await asyncio.gather(*(one(n, s) for n, s in scenarios.items()))

        def tasks() -> set[Any]:
            return {t for t in asyncio.all_tasks() if t is not me}

        def clean() -> bool:
            return not (tasks() or base.leaked_children() or base.leaked_threads())

        await until(clean, guard / 4 if all(r.closed_in_time for r in reports) else 0)
        everything.children_left = base.leaked_children()
        everything.notes["threads"] = base.leaked_threads()
        everything.notes["tasks"] = [repr(t) for t in tasks()]

        # whatever is left must not reach the next test
        for _ in range(20):
            base.kill_leftovers()
            for task in tasks():
                task.cancel()
            await asyncio.sleep(0.05)
            if clean():
                break
        return {name: reports[i] for i, name in enumerate(scenarios)}

    with tempfile.TemporaryDirectory() as folder:
        try:
            results = asyncio.run(main(folder))
        finally:
            base.kill_leftovers()
    results["everything"] = everything
    return results


def run_one(scenario: Scenario) -> Report:
    results = run_group({"it": scenario})
    report = results["it"]
    if "broken" in report.notes:
        raise report.notes["broken"]
    check_nothing_left(results["everything"])
    return report


def check_nothing_left(report: Report) -> None:
    assert report.children_left == set(), "children or zombies left"
    assert report.notes["threads"] == set(), "threads left"
    assert report.notes["tasks"] == [], "tasks left"


@functools.cache
def warm_the_fork_server() -> None:
    """Have the imports behind us: a child that pays for them cannot be ready within T."""
    context: Any = mp.get_context("forkserver")
    # what the worker preloads; the fork server passes over a module that the release lacks
    preload = ["livekit.agents", "livekit.agents.ipc._preload", "prewarms"]
    context.set_forkserver_preload(preload)
    for name in ("forkserver", "spawn"):  # the second starts the resource tracker, if none runs
        context = mp.get_context(name)
        child = context.Process(target=prewarms.nothing)
        child.start()
        child.join()
        child.close()


# -- forks that fail, forks that take long ---------------------------------------------------------


@contextlib.contextmanager
def planned_forks() -> Iterator[None]:
    """Let a plan's kind say what `Process.start` does: fail, block, or block and then fail."""
    original = ProcJobExecutor._create_process

    def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        process: Any = original(self, *args, **kwargs)
        plan = self.user_arguments
        if plan.kind == "fork":

            def fail() -> None:
                if plan.fails:
                    raise OSError(11, "Resource temporarily unavailable")
                del process.start  # it must not travel to the child
                process.start()

            process.start = fail
        elif plan.kind in ("slow_start", "slow_failure"):
            entered, release = slow_starts[plan.folder]

            def block() -> None:
                entered.set()
                release.wait(3 * guard)  # longer than a close is waited for
                if plan.kind == "slow_failure":
                    raise OSError(11, "Resource temporarily unavailable")
                del process.start  # it must not travel to the child
                process.start()

            process.start = block
        return process

    ProcJobExecutor._create_process = create
    try:
        yield
    finally:
        ProcJobExecutor._create_process = original


slow_starts: dict[str, tuple[threading.Event, threading.Event]] = {}


# -- scenarios -------------------------------------------------------------------------------------


def fails_for_good(kind: str, idle: int, **pool_kwargs: Any) -> Scenario:
    async def scenario(plan: Plan) -> Report:
        plan.kind = kind
        if pool_kwargs.get("thread"):
            plan.hang = T + 2  # a thread cannot be killed
        pool = Pool(plan, idle=idle, initialize_timeout=T, **pool_kwargs)
        pool.pool._wait_timeout = SHORT_W  # unpatched, there is none
        starting = asyncio.ensure_future(pool.pool.start())
        await asyncio.sleep(0)
        await pool.launch()
        if not await until(starting.done):
            pool.report.notes["start"] = "start() still runs"
            starting.cancel()
        await pool.aclose()
        return pool.report

    return scenario


def recovers(kind: str, idle: int, failures: int, **pool_kwargs: Any) -> Scenario:
    async def scenario(plan: Plan) -> Report:
        plan.kind, plan.failures = kind, failures
        if pool_kwargs.get("thread"):
            plan.hang = T + 2
        pool = Pool(plan, idle=idle, **pool_kwargs)
        starting = asyncio.ensure_future(pool.pool.start())
        await asyncio.sleep(0)
        await pool.launch()
        await starting
        if pool.report.launched and not pool_kwargs:
            await pool.settle(idle)
        await pool.aclose()
        return pool.report

    return scenario


def check_recovered(report: Report) -> None:
    assert report.launched, f"not launched: {report.error!r}"
    assert report.ran, "the entrypoint never ran"
    assert report.error_records == []
    report.check_clean()
