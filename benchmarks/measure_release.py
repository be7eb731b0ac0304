"""Measure one release, patched or not, with the Python that it is installed for; print JSON.

Two things: what the scenario of `scripts/doctor.py` sees with real processes, and the CPU time of
the event loop for each job of a burst that waits, with executors that take 20 ms to be ready and
cost nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

BURSTS = (25, 100, 250)
REPEATS = 2


class Executor:
    """Ready after 20 ms; its job ends at once."""

    started = True
    user_arguments: Any = None

    def __init__(self, **options: Any) -> None:
        self.id = str(id(self))
        self._closed = asyncio.Event()

    async def start(self) -> None:
        pass

    async def initialize(self) -> None:
        await asyncio.sleep(0.02)

    async def launch_job(self, info: Any) -> None:
        self._closed.set()

    async def join(self) -> None:
        await self._closed.wait()

    async def aclose(self) -> None:
        self._closed.set()

    def logging_extra(self) -> dict[str, Any]:
        return {}


async def burst(jobs: int) -> float:
    """Return the milliseconds of CPU a job that the event loop uses for a burst of `jobs`."""
    from doctor import make_job, make_pool

    pool = make_pool(num_idle_processes=0)
    await pool.start()
    start = time.thread_time()
    await asyncio.gather(*(pool.launch_job(make_job(f"job-{n}")) for n in range(jobs)))
    used = time.thread_time() - start
    await pool.aclose()
    return used / jobs * 1000


def main() -> None:
    """Print as JSON the versions, "cpu": {jobs: ms}, and what `reproduce()` returns."""
    from doctor import reproduce
    from livekit.agents import version
    from livekit.agents.ipc import job_proc_executor

    logging.getLogger("livekit.agents").setLevel(logging.CRITICAL)
    with mock.patch.object(job_proc_executor, "ProcJobExecutor", Executor):
        cpu = {jobs: min(asyncio.run(burst(jobs)) for _ in range(REPEATS)) for jobs in BURSTS}
    with contextlib.redirect_stdout(io.StringIO()):
        seen = asyncio.run(reproduce())
    versions = {"version": version.__version__, "python": platform.python_version()}
    print(json.dumps({**versions, "cpu": cpu, **seen}), flush=True)
    os._exit(0)  # an unpatched pool may keep threads that never end


if __name__ == "__main__":
    main()
