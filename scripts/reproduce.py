"""Show whether a job stalls on the livekit-agents that is installed: run it with that Python.

A pool wants four idle processes and none can initialize: prewarm raises after a time that differs
from process to process, so that the failures do not line up and some process is always being
started. Three jobs come, one second apart. Prints what it sees; exits with 1 if a job has neither
been launched nor got an error after three times the wait timeout (initialize_timeout, 1 s here,
plus 5 s), and with 0 if each has its verdict. Needs nothing but livekit-agents 1.x.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import logging
import multiprocessing
import os
import sys
import time
from typing import Any

T = 1.0
LIMIT = 3 * (T + 5) + 1
"""Seconds within which a job must end; one for a slow machine."""


def prewarm(proc: Any) -> None:
    """Fail after 0.1 to 0.7 s, by process."""
    time.sleep(0.1 + os.getpid() % 4 * 0.2)
    raise RuntimeError("this process cannot initialize")


async def entrypoint(context: Any) -> None:
    """Never run: no process initializes."""


def make_pool(num_idle_processes: int) -> Any:
    """Return a pool of the release that is installed, whose processes cannot initialize."""
    from livekit.agents import job
    from livekit.agents.ipc.proc_pool import ProcPool

    options = {
        "initialize_process_fnc": prewarm,
        "job_entrypoint_fnc": entrypoint,
        "num_idle_processes": num_idle_processes,
        "job_executor_type": job.JobExecutorType.PROCESS,
        "initialize_timeout": T,
        "close_timeout": 1.0,
        "session_end_timeout": 5.0,
        "memory_warn_mb": 0,
        "memory_limit_mb": 0,
        "mp_ctx": multiprocessing.get_context("forkserver"),
        "loop": asyncio.get_running_loop(),
    }
    parameters = list(inspect.signature(ProcPool.__init__).parameters)[1:]
    return ProcPool(**{name: options.get(name) for name in parameters})


def make_job(id: str) -> Any:
    """Return a job of the release that is installed."""
    from livekit.agents import job
    from livekit.protocol import agent

    fields = inspect.signature(job.RunningJobInfo).parameters
    values = {
        "job": agent.Job(id=id, type=agent.JobType.JT_ROOM),
        "accept_arguments": job.JobAcceptArguments(name="", identity="", metadata=""),
        "url": "",
        "token": "",
        "worker_id": "",
        "fake_job": True,
    }
    return job.RunningJobInfo(**{k: v for k, v in values.items() if k in fields})


async def reproduce() -> dict[str, float]:
    """Run the scenario and print what happens.

    Returns how many jobs are `stalled`, the seconds until the `slowest` verdict, 0 if there was
    none, and how many processes were `spawned` in so many `seconds`.
    """
    from livekit.agents import version

    pool = make_pool(num_idle_processes=4)
    spawned: list[Any] = []
    pool.on("process_created", spawned.append)
    print(f"livekit-agents {version.__version__}: no process can initialize, 3 jobs wait")
    start = time.monotonic()
    starting = asyncio.ensure_future(pool.start())  # before 1.4.2 it blocks for ever

    async def launch(number: int) -> float | None:
        await asyncio.sleep(number)
        info = make_job(f"job-{number}")
        called = time.monotonic()
        try:
            await asyncio.wait_for(pool.launch_job(info), LIMIT)
        except asyncio.TimeoutError:
            print(f"job-{number}: STALLED, still waiting after {LIMIT:.0f} s")
            return None
        except Exception as error:
            print(f"job-{number}: {error} (after {time.monotonic() - called:.1f} s)")
        return time.monotonic() - called

    verdicts = await asyncio.gather(*(launch(number) for number in range(3)))
    seen = {
        "stalled": verdicts.count(None),
        "slowest": max((verdict or 0.0 for verdict in verdicts), default=0.0),
        "spawned": len(spawned),
        "seconds": time.monotonic() - start,
    }
    print(f"{seen['spawned']} processes were spawned in {seen['seconds']:.0f} s")
    closing = asyncio.ensure_future(pool.aclose())
    await asyncio.wait([closing, starting], timeout=10)
    if not closing.done():
        print("the pool does not close")
    return seen


def main() -> None:
    """Run the scenario and exit: 1 if a job stalled, else 0."""
    summary = __doc__.splitlines()[0] if __doc__ else None
    argparse.ArgumentParser(description=summary).parse_args()
    try:
        import livekit.agents  # noqa: F401
    except ImportError as error:
        print(
            f"error: livekit-agents cannot be imported ({error}): run this with the Python that"
            " it is installed for",
            file=sys.stderr,
        )
        sys.exit(2)
    # four failing processes at a time would fill the screen with their tracebacks
    logging.getLogger("livekit.agents").setLevel(logging.CRITICAL)
    stalled = asyncio.run(reproduce())["stalled"]
    print(f"{stalled} of 3 jobs stalled")
    sys.stdout.flush()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(1 if stalled else 0)  # an unpatched pool may keep threads that never end


if __name__ == "__main__":
    main()
