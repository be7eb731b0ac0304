"""Measure for how long jobs wait when no process can initialize.

In virtual time, with fake executors, T = 10 s: every way to fail, in step and out of step, with 0
to 4 idle processes wanted. With real processes, T = 1 s: the same, several pools side by side.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import common
from children import Fate
from fakes import Outcome, Schedule, T, World, play
from jobs import make_job
from real_pools import make_pool, warm_the_fork_server

KINDS = ("raise", "exit", "hang")
STEPS = ("in step", "out of step")
# Initializations at once, in virtual time: the most that a release allows.
AT_ONCE = 4
JOBS = 3
# Real: T, and how many seconds lie between two jobs.
REAL_T, REAL_GAP = 1.0, 0.7


def schedule(kind: str, step: str, seed: int) -> Schedule:
    """Return how spawns fail; in virtual time.

    In step, each takes as long as any other: a second, or T where it hangs. Out of step, each takes
    a random time below T; of those that hang, half do, and the others raise.
    """
    rng = random.Random(seed)
    hang = Outcome("timeout", close=0.5)
    if step == "in step":
        same = hang if kind == "hang" else Outcome(kind, 1.0)
        return lambda index, now: same
    if kind == "hang":
        return lambda index, now: rng.choice([hang, Outcome("raise", rng.uniform(0, T))])
    return lambda index, now: Outcome(kind, rng.uniform(0, T))


def virtual(kind: str, step: str, idle: int, seed: int, horizon: float) -> list[float | None]:
    """Return how long each job waited, in seconds; None: more than `horizon`."""
    rng = random.Random(seed)

    async def scenario(world: World) -> list[float | None]:
        world.loop.end = 10 * horizon
        starting = asyncio.ensure_future(world.pool.start())
        for _ in range(JOBS):
            await world.until(world.now + rng.uniform(0, 6))
            world.launch()
        await world.until(world.now + horizon)
        starting.cancel()
        return [
            job.took if job.ended_at is not None and job.took <= horizon else None
            for job in world.jobs
        ]

    return play(scenario, schedule(kind, step, seed), idle=idle, concurrency=AT_ONCE)


def fate(kind: str, step: str, number: int) -> Fate:
    """Return what becomes of the `number`th process of a real pool."""
    if step == "in step":
        return Fate(kind, 0.0 if kind == "hang" else 0.3)
    if kind == "hang" and number % 2:
        return Fate("hang")
    # the failures do not line up
    return Fate("raise" if kind == "hang" else kind, 0.1 + number % 4 * 0.2)


async def real(kind: str, step: str, idle: int, horizon: float) -> list[float | None]:
    """Return how long each job of one pool waited, in seconds; None: more than `horizon`."""
    pool = make_pool(idle=idle, initialize_timeout=REAL_T)
    count = 0

    def created(executor: Any) -> None:
        nonlocal count
        count += 1
        executor.user_arguments = fate(kind, step, count)

    pool.on("process_created", created)
    starting = asyncio.ensure_future(pool.start())  # before 1.4.2 it may not end

    async def launch(number: int) -> float | None:
        await asyncio.sleep(number * REAL_GAP)
        start = time.monotonic()
        job = asyncio.ensure_future(pool.launch_job(make_job(f"job_{number}")))
        await asyncio.wait({job}, timeout=horizon)
        if not job.done():
            return None
        assert job.exception() is not None, "a job was launched on a process that never was ready"
        return time.monotonic() - start

    waits = await asyncio.gather(*(launch(number) for number in range(JOBS)))
    starting.cancel()
    return list(waits)


async def side_by_side(kinds: list[str], idle: list[int], horizon: float) -> list[Any]:
    """Return the rows of every real pool."""
    pools = [(kind, step, number) for kind in kinds for step in STEPS for number in idle]
    waits = await asyncio.gather(*(real(*pool, horizon) for pool in pools))
    return [
        {"kind": kind, "step": step, "idle": number, "waits": waited}
        for (kind, step, number), waited in zip(pools, waits, strict=True)
    ]


def measure(options: dict[str, Any]) -> common.Found:
    """Return a row for each scenario: how the pool fails, and for how long its jobs waited."""
    horizon: float = options["horizon"]
    if options["clock"] == "real":
        warm_the_fork_server()
        with common.failing_children():
            return {"rows": common.run(side_by_side(options["kinds"], options["idle"], horizon))}
    return {
        "rows": [
            {
                "kind": kind,
                "step": step,
                "idle": idle,
                "waits": [
                    waited
                    for seed in range(options["seeds"])
                    for waited in virtual(kind, step, idle, seed, horizon)
                ],
            }
            for kind in KINDS
            for step in STEPS
            for idle in options["idle"]
        ]
    }


if __name__ == "__main__":
    common.main(measure)
