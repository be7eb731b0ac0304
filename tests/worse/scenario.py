"""Let the pool of the release under test fail in one way, and measure what that costs.

    python scenario.py MODE OUT

MODE is a row of modes.toml as JSON. What was measured is written to the file OUT as JSON; see
`Figures`. It runs in the environment of a release, in a session (`setsid`) of its own, so that its
processes are found again. Ends by itself, with whatever the pool has left.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any, Optional

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "regression"))

import real_pools
from jobs import make_job
from prewarms import Plan
from real_pools import make_pool, planned_forks, slow_starts, warm_the_fork_server

# Seconds between two looks; for the pool to close; for what it has left to end by itself.
LOOK, CLOSE, SETTLE = 0.1, 6.0, 2.0


@dataclasses.dataclass
class Figures:
    """What a failing pool costs, beyond what there was before it.

    `spawned` counts executors. `processes`, `threads`, `descriptors` and `executor` (threads of the
    loop's default executor that are in use) are the most at a time, until the pool is closed;
    `cpu` is seconds until then, of children too. `close` is seconds, or None if the pool is not
    closed after `CLOSE`. What is `left` is counted at most `SETTLE` later, zombies too, but not the
    processes that a prewarm has forked. `waiting` jobs had no end when the pool was closed.
    """

    spawned: int = 0
    processes: int = 0
    threads: int = 0
    descriptors: int = 0
    executor: int = 0
    cpu: float = 0.0
    close: Optional[float] = None  # noqa: UP045 - dataclasses read it on Python 3.9
    left_processes: int = 0
    left_threads: int = 0
    left_descriptors: int = 0
    left_executor: int = 0
    launched: int = 0
    failed: int = 0
    waiting: int = 0


def session() -> Iterator[psutil.Process]:
    """Every process of this session, zombies too."""
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) == os.getpid():
                yield psutil.Process(pid)


def executor_in_use(loop: asyncio.AbstractEventLoop) -> int:
    """How many threads of the loop's default executor are at work."""
    executor: Any = getattr(loop, "_default_executor", None)
    if executor is None:
        return 0
    return max(0, int(len(executor._threads) - executor._idle_semaphore._value))


class Watch:
    """Looks at this process and its children from a thread of its own, and keeps the peaks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._me = psutil.Process()
        # the fork server and the resource tracker
        self._helpers = {process.pid for process in session()} - {self._me.pid}
        self.figures = Figures()
        self._own_cpu = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._before = self._look()
        self._cpu_before = self._cpu()
        self._thread.start()

    def _look(self) -> tuple[int, int, int, int]:
        """Processes of the pool, threads, descriptors, and threads of the executor in use."""
        parents = {self._me.pid, *self._helpers}
        children = 0
        for process in session():
            if process.pid not in parents:
                with contextlib.suppress(psutil.NoSuchProcess):
                    children += process.ppid() in parents
        return (
            children,
            self._me.num_threads() - self._thread.is_alive(),
            self._me.num_fds(),
            executor_in_use(self._loop),
        )

    def _cpu(self) -> float:
        """Seconds of CPU of this session, of what has ended too, without this watch's."""
        total = -self._own_cpu
        for process in session():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def _run(self) -> None:
        while not self._stop.wait(LOOK):
            now, figures = self.now(), self.figures
            figures.processes = max(figures.processes, now[0])
            figures.threads = max(figures.threads, now[1])
            figures.descriptors = max(figures.descriptors, now[2])
            figures.executor = max(figures.executor, now[3])
            self._own_cpu = time.thread_time()

    def now(self) -> tuple[int, int, int, int]:
        """What there is beyond what there was before the pool."""
        processes, threads, descriptors, executor = self._look()
        before = self._before
        # a thread of the executor that has nothing to do is kept for the next
        idle = self._executor_threads() - executor
        return (
            processes - before[0],
            threads - before[1] - idle,
            descriptors - before[2],
            executor - before[3],
        )

    def _executor_threads(self) -> int:
        executor: Any = getattr(self._loop, "_default_executor", None)
        return 0 if executor is None else len(executor._threads)

    def end(self) -> None:
        """The peaks and the CPU seconds stand from now on."""
        self._stop.set()
        self._thread.join()
        self.figures.cpu = round(self._cpu() - self._cpu_before, 2)


@contextlib.contextmanager
def no_join_threads() -> Iterator[None]:
    """No thread can be started that is to join a process."""
    original = threading.Thread.start

    def start(self: threading.Thread) -> None:
        if self.name == "proc_join_thread":
            raise RuntimeError("can't start new thread")
        original(self)

    threading.Thread.start = start  # type: ignore[method-assign]
    try:
        yield
    finally:
        threading.Thread.start = original  # type: ignore[method-assign]


async def measure(mode: dict[str, Any], folder: str) -> Figures:
    """Run the scenario of a mode, and return what it cost."""
    plan = Plan(folder, mode["kind"])
    slow_starts[folder] = threading.Event(), threading.Event()  # which is never set
    pool = make_pool(
        idle=mode.get("idle", 1),
        initialize_timeout=mode.get("timeout", 1.0),
        memory_limit_mb=mode.get("memory_limit_mb", 0),
        thread=mode.get("thread", False),
    )
    watch = Watch(asyncio.get_running_loop())
    figures = watch.figures

    def created(executor: Any) -> None:
        figures.spawned += 1
        executor.user_arguments = dataclasses.replace(plan, number=figures.spawned)

    pool.on("process_created", created)
    start = time.monotonic()
    starting = asyncio.ensure_future(pool.start())
    await asyncio.sleep(0)
    jobs = [
        asyncio.ensure_future(pool.launch_job(make_job(f"job_{number}")))
        for number in range(mode.get("jobs", 1))
    ]
    await asyncio.sleep(max(0.0, start + mode.get("window", 8.0) - time.monotonic()))
    watch.end()
    for job in jobs:
        if not job.done():
            figures.waiting += 1
        elif job.cancelled() or job.exception():
            figures.failed += 1
        else:
            figures.launched += 1

    start = time.monotonic()
    closing = asyncio.ensure_future(pool.aclose())
    await asyncio.wait({closing}, timeout=CLOSE)
    if closing.done():
        figures.close = round(time.monotonic() - start, 2)
    left = watch.now()
    while any(left) and time.monotonic() - start < (figures.close or CLOSE) + SETTLE:
        await asyncio.sleep(LOOK)
        gc.collect()  # what only a cycle of references still holds is not left
        left = watch.now()
    left_of = "left_processes", "left_threads", "left_descriptors", "left_executor"
    for name, count in zip(left_of, left):
        setattr(figures, name, max(0, count))
    for task in (starting, closing, *jobs):
        task.cancel()
    return figures


def main() -> None:
    mode: dict[str, Any] = json.loads(sys.argv[1])
    real_pools.guard = 600.0  # a start that hangs does so until the end
    if mode.get("preload", True):
        warm_the_fork_server()
    else:
        forkserver.ensure_running()
        resource_tracker.ensure_running()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(planned_forks())
        if mode["kind"] == "no_join_thread":
            stack.enter_context(no_join_threads())
            mode["kind"] = "ok"
        loop = asyncio.new_event_loop()
        figures = loop.run_until_complete(measure(mode, folder))
        Path(sys.argv[2]).write_text(json.dumps(dataclasses.asdict(figures)), "utf-8")
    sys.stdout.flush()
    # threads and processes may never end by themselves
    for process in session():
        if process.pid != os.getpid():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()
