"""Measure the CPU that the event loop uses for each job of a burst that waits.

The executors are ready after 20 ms, which pass in virtual time, and cost next to nothing: what is
left is the pool's own work. No garbage is collected meanwhile: that costs what all that was ever
imported costs, and falls on one burst or another by chance. A burst is left out if, going by those
before it, it would take too long.
"""

from __future__ import annotations

import asyncio
import gc
import math
import multiprocessing
import time
from typing import Any
from unittest import mock

import common
import virtual_time
from jobs import make_job
from livekit.agents.ipc import job_proc_executor
from real_pools import make_pool

READY = 0.02  # seconds
AT_ONCE = 4


class Executor:
    """Ready after 20 ms; its job ends at once."""

    started = True
    running_job = None
    user_arguments: Any = None

    def __init__(self, **options: Any) -> None:
        self.id = str(id(self))
        self._closed = asyncio.Event()

    async def start(self) -> None:
        pass

    async def initialize(self) -> None:
        await asyncio.sleep(READY)

    async def launch_job(self, info: Any) -> None:
        self._closed.set()

    async def join(self) -> None:
        await self._closed.wait()

    async def aclose(self) -> None:
        self._closed.set()

    def logging_extra(self) -> dict[str, Any]:
        return {}


async def burst(jobs: int) -> float:
    """Return the seconds of CPU that the event loop uses while so many jobs wait and run."""
    pool = make_pool(idle=0, initialize_timeout=10.0)
    await pool.start()
    infos = [make_job(f"job_{number}") for number in range(jobs)]
    gc.collect()
    gc.disable()
    try:
        start = time.thread_time()
        await asyncio.gather(*(pool.launch_job(info) for info in infos))
        used = time.thread_time() - start
    finally:
        gc.enable()
    await pool.aclose()
    return used


def expected(jobs: int, before: list[tuple[int, float]]) -> float:
    """Return how many seconds a burst will take, going by the two bursts before it, or the one."""
    if not before:
        return 0.0
    (many, seconds) = before[-1]
    growth = jobs / many
    if len(before) == 1:
        return seconds * growth
    (few, shorter) = before[-2]
    exponent = max(1.0, math.log(seconds / shorter) / math.log(many / few))
    return float(seconds * growth**exponent)


def measure(options: dict[str, Any]) -> common.Found:
    """Return the ms of CPU a job by the size of the burst; None: more than `most` seconds."""
    found: dict[str, float | None] = {}
    taken: list[tuple[int, float]] = []
    multiprocessing.get_context("forkserver")
    with (
        mock.patch.object(job_proc_executor, "ProcJobExecutor", Executor),
        mock.patch("livekit.agents.ipc.proc_pool.MAX_CONCURRENT_INITIALIZATIONS", AT_ONCE),
    ):
        for jobs in options["jobs"]:
            if expected(jobs, taken) > options["most"]:
                found[str(jobs)] = None
                continue
            used = virtual_time.run(burst(jobs))
            taken.append((jobs, used))
            found[str(jobs)] = used / jobs * 1000
    return {"cpu": found}


if __name__ == "__main__":
    common.main(measure)
