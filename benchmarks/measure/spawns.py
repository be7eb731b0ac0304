"""Measure what an outage costs: processes spawned and CPU seconds burnt, children included.

No process can initialize, T = 10 s: prewarm raises at once, and each spawn imports the release, as
where nothing is preloaded, or finds it imported. Two jobs wait, two idle processes are wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from multiprocessing import forkserver, resource_tracker
from typing import Any

import common
import psutil
from children import Fate
from jobs import make_job
from real_pools import make_pool, warm_the_fork_server
from scenario import session

IDLE, JOBS, TIMEOUT = 2, 2, 10.0


def cpu() -> float:
    """Return the seconds of CPU that this session has used, and its processes that have ended."""
    total = 0.0
    for process in session():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


async def outage(kind: str, seconds: float, every: float) -> common.Found:
    """Watch a pool; return what was spawned and burnt until each look, and the time of each."""
    pool = make_pool(idle=IDLE, initialize_timeout=TIMEOUT)
    spawned = 0

    def created(executor: Any) -> None:
        nonlocal spawned
        spawned += 1
        executor.user_arguments = Fate(kind)

    pool.on("process_created", created)
    before, start, own = cpu(), time.monotonic(), 0.0
    starting = asyncio.ensure_future(pool.start())
    jobs = [asyncio.ensure_future(pool.launch_job(make_job(f"job_{n}"))) for n in range(JOBS)]
    found: dict[str, list[float]] = {"seconds": [0.0], "spawned": [0], "cpu": [0.0]}
    while found["seconds"][-1] < seconds:
        await asyncio.sleep(max(0.0, start + len(found["cpu"]) * every - time.monotonic()))
        looking = time.thread_time()
        found["cpu"].append(round(cpu() - before - own, 3))
        found["seconds"].append(round(time.monotonic() - start, 2))
        found["spawned"].append(spawned)
        own += time.thread_time() - looking  # what this watch costs
    # only now: a task that nobody holds may vanish
    for task in (starting, *jobs):
        task.cancel()
    return {**found, "kind": kind}


def measure(options: dict[str, Any]) -> common.Found:
    """Return what one outage cost."""
    if options["preload"]:
        warm_the_fork_server()
    else:
        forkserver.ensure_running()
        resource_tracker.ensure_running()
    with common.failing_children():
        return common.run(outage(options["kind"], options["seconds"], options["every"]))


if __name__ == "__main__":
    common.main(measure)
