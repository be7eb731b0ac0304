"""Measure a pool whose initializations share a core, beside fixed numbers at once.

With real processes, pinned to one core: one initialization fits T alone, several side by side do
not. In virtual time: promise 12's model, T = 10 s, where the figures are the same on every machine.

`fixed` is how many initialize at once, whatever happens: a patched pool that cannot adapt. Which of
them is best depends on the work, which nobody knows beforehand.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import common
from children import Fate, burn
from fakes import World
from jobs import make_job
from livekit.agents.ipc import proc_pool
from real_pools import make_pool, warm_the_fork_server
from spawns import cpu
from test_promise_contended import ARRIVALS, WORK, contended

# Initializations at once that the pool begins with: the most that a release allows.
AT_ONCE = 4


@contextlib.contextmanager
def at_once(fixed: int | None) -> Iterator[None]:
    """Have a pool begin with `AT_ONCE` at once and adapt, if it can, or keep to a fixed number."""
    with contextlib.ExitStack() as stack:
        limit = AT_ONCE if fixed is None else fixed
        stack.enter_context(mock.patch.object(proc_pool, "MAX_CONCURRENT_INITIALIZATIONS", limit))
        if fixed is not None:
            for name in ("_on_init_timeout", "_on_init_done"):
                keep = mock.patch.object(proc_pool.ProcPool, name, lambda self, *seen: None)
                stack.enter_context(keep)
        yield


async def burst(jobs: int, work: float, timeout: float, horizon: float) -> common.Found:
    """Launch jobs at once; return how many ran and when, what was spawned, and the CPU for it."""
    pool = make_pool(idle=0, initialize_timeout=timeout)
    spawned = 0

    def created(executor: Any) -> None:
        nonlocal spawned
        spawned += 1
        executor.user_arguments = Fate("burn", work)

    pool.on("process_created", created)
    await pool.start()
    before, start = cpu(), time.monotonic()

    async def launch(number: int) -> float | None:
        task = asyncio.ensure_future(pool.launch_job(make_job(f"job_{number}")))
        await asyncio.wait({task}, timeout=horizon)
        ran = task.done() and not task.cancelled() and task.exception() is None
        return round(time.monotonic() - start, 2) if ran else None

    waits = await asyncio.gather(*(launch(number) for number in range(jobs)))
    return {
        "waits": sorted(waited for waited in waits if waited is not None),
        "jobs": jobs,
        "spawned": spawned,
        "cpu": round(cpu() - before, 2),
        "timeout": round(timeout, 2),
    }


def model(fixed: int | None, works: list[float], jobs: int) -> list[common.Found]:
    """Return a row of promise 12's model for each amount of work and each way that jobs come."""

    async def leave_it(world: World, within: float) -> None:
        """In place of closing the pool, which must leave nothing behind: an unpatched one may."""

    rows = []
    for work in works:
        for arrival, (gap, idle) in ARRIVALS.items():
            with mock.patch.object(World, "aclose", leave_it):
                run = contended(work, [gap] * jobs, idle, fixed or AT_ONCE)
            rows.append({"work": work, "arrival": arrival, "jobs": jobs, **vars(run)})
    return rows


def measure(options: dict[str, Any]) -> common.Found:
    """Return what became of a burst, or with `clock` "virtual" the rows of the model."""
    fixed = options.get("fixed")
    if options["clock"] == "virtual":
        with at_once(fixed):
            return {"rows": model(fixed, options.get("works", WORK), options["jobs"])}
    warm_the_fork_server()
    # how long the work takes here and now: what else runs on this core must not decide
    start = time.monotonic()
    burn(options["work"])
    timeout = 1.5 * (time.monotonic() - start) + 0.3
    with common.failing_children(), at_once(fixed):
        horizon = options["timeouts"] * timeout
        return common.run(burst(options["jobs"], options["work"], timeout, horizon))


if __name__ == "__main__":
    common.main(measure)
