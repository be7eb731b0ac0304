"""Promise 12, and promise 2's figures: initializations that time out, and why they do."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from fakes import Core, Outcome, Schedule, T, W, World, play

# Seconds between two jobs, and how many idle processes are wanted.
ARRIVALS = {"far-apart": (15.0, 4), "close": (3.0, 0), "burst": (0.2, 0)}
# Seconds of a core's time that an initialization takes.
WORK = [2.4, 4.0, 6.0, 9.0]
# The same, cores, and how many at once are the best fixed number: as many as fit T.
BEST = [(2.4, 1, 4), (3.2, 1, 3), (4.0, 1, 2), (6.0, 1, 1), (9.0, 1, 1), (6.0, 2, 3), (9.0, 2, 2)]
# Seconds after which the pool has had the time to try 4, 2 and 1 at once.
SETTLED = 4 * T


@dataclass(frozen=True)
class Run:
    """What became of the jobs, and of the spawns once the pool had settled."""

    served: int
    spawns: int
    timeouts: int
    throughput: float
    """Seconds of work that led to a process, in a second: as many as there are cores at best, or as
    initialize at once if these are fewer."""
    said_to_fail: bool
    """The pool said that it is failing."""


def contended(
    work: float, gaps: Sequence[float], idle: int, concurrency: int = 4, cores: int = 1
) -> Run:
    """Launch jobs with these gaps (seconds), where all initializations share so many cores."""

    async def scenario(world: World) -> Run:
        world.loop.end = 2000.0
        starting = asyncio.ensure_future(world.pool.start())
        for gap in gaps:
            world.launch()
            await world.until(world.now + gap)
        await world.ended(1000.0)
        served = sum(job.ran for job in world.jobs)
        settled = [e for e in world.executors if e.created_at >= SETTLED]
        timeouts = sum(e.failed_at is not None for e in settled)
        ready = [e.ready_at for e in world.executors if (e.ready_at or 0.0) >= SETTLED]
        last = max((at for at in ready if at is not None), default=world.now)
        throughput = len(ready) * work / max(last - SETTLED, work)
        await starting
        await world.aclose(200.0)
        return Run(served, len(settled), timeouts, throughput, bool(world.failing))

    outcome = Outcome("work", work, core=Core(cores))
    return play(
        scenario, lambda index, now: outcome, idle=idle, concurrency=concurrency, job_time=0.5
    )


@pytest.mark.parametrize("arrival", ARRIVALS)
@pytest.mark.parametrize("work", WORK)
def test_a_contended_host_is_served(work: float, arrival: str) -> None:
    gap, idle = ARRIVALS[arrival]
    assert contended(work, [gap] * 20, idle).served == 20


@pytest.mark.parametrize(("work", "cores", "best"), BEST)
def test_a_contended_host_is_used_well(work: float, cores: int, best: int) -> None:
    run = contended(work, [0.2] * 60, 0, cores=cores)
    assert run.served == 60
    assert 10 * run.timeouts <= run.spawns
    assert run.throughput >= 0.9 * min(best, cores)


def test_one_that_was_quick_alone_proves_nothing_of_four() -> None:
    run = contended(4.0, [60.0, *[0.0] * 8], 0)
    assert run.timeouts <= 4, "more than one wave of time-outs before there are fewer at once"


def test_many_at_once_are_one_at_a_time_before_the_jobs_end() -> None:
    assert contended(9.0, [0.0] * 60, 0, concurrency=8).served == 60


@pytest.mark.parametrize("seed", range(16))
def test_a_contended_host_is_served_whenever_jobs_come(seed: int) -> None:
    rng = random.Random(seed)
    work, cores = rng.uniform(0.05, 0.95) * T, rng.choice([1, 1, 2])
    gaps = [rng.expovariate(rng.uniform(0.3, 1.0) * cores / work) for _ in range(30)]
    idle = rng.choice([0, 0, 1, 2, 4])
    assert contended(work, gaps, idle, cores=cores).served == 30


@pytest.mark.parametrize(("work", "concurrency"), [(6.0, 2), (9.0, 2), (4.0, 4)])
def test_a_contended_host_that_serves_declines_nothing(work: float, concurrency: int) -> None:
    run = contended(work, [20.0] * 4, concurrency, concurrency)
    assert run.served == 4
    assert not run.said_to_fail


@pytest.mark.parametrize(
    "first",
    [Outcome("timeout", close=0.5), Outcome("raise", W + 1.0)],
    ids=["timeout", "longer than W"],
)
@pytest.mark.parametrize("idle", [1, 2])
def test_a_cold_start_before_a_slow_success_is_no_failing_pool(first: Outcome, idle: int) -> None:
    async def scenario(world: World) -> None:
        starting = asyncio.ensure_future(world.pool.start())
        await world.until(40.0)
        assert world.failing == []
        await starting
        await world.aclose()

    slow = Outcome("ready", 8.0)
    play(scenario, lambda index, now: first if index < idle else slow, idle=idle, concurrency=idle)


def test_a_pool_without_a_timeout_runs_its_job() -> None:
    async def scenario(world: World) -> None:
        world.pool._initialize_timeout = math.inf
        await world.pool.start()
        job = world.launch()
        await world.ended()
        assert job.ran
        await world.aclose()

    play(scenario, lambda index, now: Outcome("ready", 1.0))


def hanging(share: float, seed: int) -> Schedule:
    """Return a schedule in which so many initializations hang for all of T, at random."""
    rng = random.Random(seed)
    hangs, ready = Outcome("timeout", close=0.5), Outcome("ready", 1.0)
    return lambda index, now: hangs if rng.random() < share else ready


def served(share: float, seed: int, jobs: int = 60) -> int:
    """Launch a burst of jobs on such a pool; return how many of them run."""

    async def scenario(world: World) -> int:
        world.loop.end = 3000.0
        await world.pool.start()
        for _ in range(jobs):
            world.launch()
        await world.ended(2000.0)
        return sum(job.ran for job in world.jobs)

    return play(scenario, hanging(share, seed), concurrency=4)


@pytest.mark.costly
@pytest.mark.parametrize(("share", "least"), [(0.4, 0.99), (0.6, 0.90), (0.8, 0.24)])
def test_what_hangs_at_random_does_not_slow_the_pool_down(share: float, least: float) -> None:
    seeds = range(20)
    assert sum(served(share, seed) for seed in seeds) / (60 * len(seeds)) >= least
