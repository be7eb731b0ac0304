"""A process pool of the release under test, with scripted executors in place of processes."""

from __future__ import annotations

import asyncio
import errno
import inspect
import logging
import math
import multiprocessing
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar
from unittest import mock

from jobs import make_job
from livekit.agents.ipc import job_proc_executor, job_thread_executor, proc_pool
from livekit.agents.job import JobExecutorType, RunningJobInfo
from virtual_time import VirtualTimeLoop, run

R = TypeVar("R")

T = 10.0  # initialize_timeout
W = T + 5.0  # the wait timeout
EPS = 1e-6
LOGGER = logging.getLogger("livekit.agents")


@dataclass(frozen=True)
class Outcome:
    """What becomes of one spawn."""

    kind: str = "ready"
    """ready, raise, timeout, exit, fork (start() raises), hang (in start()), stuck (in
    initialize(), for good), create (there is not even an executor), work (shares a `Core`)."""
    delay: float = 0.0
    close: float = 0.0  # how long aclose() takes
    core: Core | None = None  # what the work, `delay` seconds of it, is done on
    stuck: float = 0.0  # how long a fork or a thread goes on that was given up
    lives: float | None = None  # how long after it is ready it exits, if no job is launched


Schedule = Callable[[int, float], Outcome]


def always(kind: str, delay: float = 0.0, close: float = 0.0) -> Schedule:
    return lambda index, now: Outcome(kind, delay, close)


def script(*outcomes: Outcome) -> Schedule:
    """The last one is for every further spawn."""
    return lambda index, now: outcomes[min(index, len(outcomes) - 1)]


class Core:
    """So many cores of a processor, which those who work at the same time share evenly."""

    def __init__(self, cores: int = 1) -> None:
        self._cores = cores
        self._left: dict[asyncio.Future[None], float] = {}
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def _rate(self) -> float:
        """How much of a core each of them has."""
        return min(self._cores / len(self._left), 1.0)

    def _share(self) -> None:
        """Count what was done since the last call, and wake up for whoever is done next."""
        loop = asyncio.get_running_loop()
        for future in self._left:
            self._left[future] -= (loop.time() - self._since) * self._rate()
        self._since = loop.time()
        for future in [f for f, left in self._left.items() if left <= EPS or f.done()]:
            del self._left[future]
            if not future.done():
                future.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._left:
            soonest = min(self._left.values()) / self._rate()
            self._timer = loop.call_later(max(soonest, EPS), self._share)

    async def work(self, seconds: float) -> None:
        """Return when so many seconds of a core's time have been spent."""
        self._share()
        future = asyncio.get_running_loop().create_future()
        self._left[future] = seconds
        self._share()
        try:
            await future
        finally:
            future.cancel()
            self._share()


class FakeExecutor:
    def __init__(self, world: World) -> None:
        self._world = world
        self.index = len(world.executors)
        self.created_at = world.now
        self.outcome = world.schedule(self.index, world.now)
        self.failed_at: float | None = None
        self.returns_at = -math.inf  # when a fork or a thread ends that was given up
        self.ready_at: float | None = None
        self.alive = False  # there is a child
        self.user_arguments: Any = None
        self.running_job: RunningJobInfo | None = None
        self._started = False
        self._closed = asyncio.Event()
        world.on_spawn(self)
        if self.outcome.kind == "create":
            self._fail()
            raise OSError(errno.EMFILE, "no executor for you")

    @property
    def id(self) -> str:
        return f"fake-{self.index}"

    @property
    def started(self) -> bool:
        return self._started

    @property
    def status(self) -> Any:
        raise RuntimeError("job status not available")

    def logging_extra(self) -> dict[str, Any]:
        return {"executor": self.id}

    def _fail(self) -> None:
        self._world.initializing.discard(self)
        self._world.in_flight.discard(self)
        self.failed_at = self._world.now
        if self.outcome.stuck:
            self.returns_at = self._world.now + self.outcome.stuck
            self._world.given_up.append(self)

    async def start(self) -> None:
        world = self._world
        world.initializing.add(self)
        world.most_initializing = max(world.most_initializing, len(world.initializing))
        stuck = sum(world.now < executor.returns_at for executor in world.given_up)
        world.most_outstanding = max(world.most_outstanding, len(world.initializing) + stuck)
        try:
            if self.outcome.kind == "fork":
                await asyncio.sleep(self.outcome.delay)
                raise OSError(errno.EAGAIN, "no process for you")
            if self.outcome.kind == "hang":
                await asyncio.sleep(1e9)
            await asyncio.sleep(0)
            self._started = self.alive = True
        except BaseException:
            self._fail()
            raise

    async def initialize(self) -> None:
        kind = self.outcome.kind
        try:
            if kind == "work":
                assert self.outcome.core is not None
                await asyncio.wait_for(self.outcome.core.work(self.outcome.delay), T)
            else:
                known = {"timeout": T, "stuck": 1e9}
                await asyncio.sleep(known.get(kind, self.outcome.delay))
            if kind == "timeout":
                raise asyncio.TimeoutError("process initialization timed out")
            if kind == "exit":
                raise ConnectionResetError("the process died")
            if kind not in ("ready", "work"):
                raise RuntimeError("process initialization failed")
        except BaseException:
            self._fail()
            raise
        self._world.initializing.discard(self)
        self._world.in_flight.discard(self)
        self.ready_at = self._world.now
        if self.outcome.lives is not None:
            asyncio.get_running_loop().call_later(self.outcome.lives, self._exit_idle)

    async def launch_job(self, info: RunningJobInfo) -> None:
        await asyncio.sleep(0)
        if not self.alive:
            raise RuntimeError("the process is closed")
        self.running_job = info
        self._world.launched[info.job.id] = self._world.now
        asyncio.get_running_loop().call_later(self._world.job_time, self._exit)

    def _exit(self) -> None:
        self.alive = False
        self._closed.set()

    def _exit_idle(self) -> None:
        if self.running_job is None:
            self._exit()

    async def join(self) -> None:
        if self._world.now < self.returns_at:  # a real one returns at once if it is over
            await self._world.until(self.returns_at)
        if not self._started:
            raise RuntimeError("process not started")
        await self._closed.wait()

    async def aclose(self) -> None:
        if not self._started or self._closed.is_set():
            self._world.in_flight.discard(self)
            return
        await asyncio.sleep(self.outcome.close)
        self._exit()


@dataclass
class Job:
    id: str
    called_at: float
    task: asyncio.Task[None]
    ended_at: float | None = None

    @property
    def took(self) -> float:
        assert self.ended_at is not None, f"{self.id} still waits"
        return self.ended_at - self.called_at

    @property
    def ran(self) -> bool:
        return self.task.done() and not self.task.cancelled() and not self.task.exception()

    @property
    def gave_up(self) -> bool:
        if not self.task.done() or self.task.cancelled():
            return False
        error = self.task.exception()
        return isinstance(error, RuntimeError) and str(error).startswith(
            "no process became available after"
        )


class World(logging.Handler):
    """The pool, its fake executors, and everything that was seen to happen."""

    def __init__(
        self,
        schedule: Schedule,
        idle: int,
        concurrency: int,
        job_time: float,
        executor_type: JobExecutorType,
    ) -> None:
        super().__init__()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self.loop = loop
        self.schedule = schedule
        self.idle = idle
        self.concurrency = concurrency
        self.job_time = job_time
        self.executors: list[FakeExecutor] = []
        self.in_flight: set[FakeExecutor] = set()
        self.initializing: set[FakeExecutor] = set()
        self.given_up: list[FakeExecutor] = []  # whose fork or thread goes on, or did
        self.most_initializing = 0
        self.most_outstanding = 0
        self.too_many_in_flight: list[str] = []
        self.jobs: list[Job] = []
        self.failing: list[tuple[float, bool]] = []  # when the pool said that it is, or isn't
        self.launched: dict[str, float] = {}  # in the order of launching
        self.records: Counter[str] = Counter()
        self.logs: list[str] = []  # all that the records hold
        self.created: Counter[Any] = Counter()
        self.closed: Counter[Any] = Counter()

        kwargs: dict[str, Any] = {
            "initialize_process_fnc": lambda proc: None,
            "job_entrypoint_fnc": None,
            "session_end_fnc": None,
            "simulation_end_fnc": None,
            "num_idle_processes": idle,
            "initialize_timeout": T,
            "close_timeout": 10.0,
            "session_end_timeout": 10.0,
            "inference_executor": None,
            "job_executor_type": executor_type,
            "mp_ctx": multiprocessing.get_context("spawn"),
            "memory_warn_mb": 0.0,
            "memory_limit_mb": 0.0,
            "http_proxy": None,
            "loop": loop,
        }
        known = inspect.signature(proc_pool.ProcPool.__init__).parameters
        self.pool: Any = proc_pool.ProcPool(**{k: v for k, v in kwargs.items() if k in known})
        self.pool.on("process_created", lambda proc: self.created.update([proc]))
        self.pool.on("process_closed", lambda proc: self.closed.update([proc]))
        self.pool.on("failing_changed", lambda on: self.failing.append((self.now, on)))

    @property
    def now(self) -> float:
        return self.loop.time()

    @property
    def waiting(self) -> int:
        """The pool's own count of waiting jobs; ours where an unpatched pool keeps none."""
        if hasattr(self.pool, "_jobs_waiting_for_process"):
            return int(self.pool._jobs_waiting_for_process)
        return sum(not job.task.done() and job.id not in self.launched for job in self.jobs)

    def on_spawn(self, executor: FakeExecutor) -> None:
        self.executors.append(executor)
        self.in_flight.add(executor)
        if len(self.in_flight) > max(self.idle, self.waiting):
            self.too_many_in_flight.append(f"{len(self.in_flight)} at {self.now:.3f}")

    def emit(self, record: logging.LogRecord) -> None:
        self.logs.append(f"{record.getMessage()} {vars(record)}")
        failed = record.getMessage().startswith("failed to launch job on process after")
        if failed and record.levelno == logging.ERROR:
            self.records[getattr(record, "job_id", "")] += 1

    def launch(self) -> Job:
        id = f"job-{len(self.jobs)}"
        job = Job(id, self.now, asyncio.ensure_future(self.pool.launch_job(make_job(id))))

        def ended(task: asyncio.Task[None]) -> None:
            job.ended_at = self.now

        job.task.add_done_callback(ended)
        self.jobs.append(job)
        return job

    async def until(self, time: float) -> None:
        await asyncio.sleep(max(0.0, time - self.now))

    async def ended(self, horizon: float = 20 * W) -> None:
        """Wait for every job, but not for ever."""
        if self.jobs:
            await asyncio.wait([job.task for job in self.jobs], timeout=horizon)

    async def aclose(self, within: float = 60.0) -> None:
        """Close the pool; it must leave nothing behind."""
        await asyncio.wait_for(self.pool.aclose(), within)
        await self.ended(1.0)
        self.check_nothing_left()

    def check_nothing_left(self) -> None:
        assert not self.pool.processes
        assert [e.id for e in self.executors if e.alive] == []
        assert self.created == self.closed
        assert all(count == 1 for count in self.created.values())
        assert self.waiting == 0
        assert asyncio.all_tasks(self.loop) == {asyncio.current_task()}

    def check_no_process_lost(self) -> None:
        warm = list(self.pool._warmed_proc_queue._queue)
        lost = [e.id for e in self.executors if e.alive and not e.running_job and e.ready_at]
        lost = [id for id in lost if id not in {proc.id for proc in warm}]
        assert not lost
        assert len(warm) == len({proc.id for proc in warm})
        assert all(proc.alive for proc in warm)
        assert self.waiting == 0


def play(
    scenario: Callable[[World], Coroutine[Any, Any, R]],
    schedule: Schedule,
    *,
    idle: int = 0,
    concurrency: int = 1,
    job_time: float = 1.0,
    executor_type: JobExecutorType = JobExecutorType.PROCESS,
) -> R:
    """Run one scenario in a world of its own."""

    async def main() -> R:
        world = World(schedule, idle, concurrency, job_time, executor_type)

        def create(**kwargs: Any) -> FakeExecutor:
            return FakeExecutor(world)

        LOGGER.addHandler(world)
        try:
            with (
                mock.patch.object(job_proc_executor, "ProcJobExecutor", create),
                mock.patch.object(job_thread_executor, "ThreadJobExecutor", create),
            ):
                return await scenario(world)
        finally:
            LOGGER.removeHandler(world)

    propagate = LOGGER.propagate
    LOGGER.propagate = False
    try:
        with mock.patch.object(proc_pool, "MAX_CONCURRENT_INITIALIZATIONS", concurrency):
            return run(main())
    finally:
        LOGGER.propagate = propagate
