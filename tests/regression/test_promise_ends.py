"""Promises 1, 2, 5, 9 and 11: every launch ends, neither late nor early."""

from __future__ import annotations

import asyncio
import random

import pytest
from fakes import EPS, Outcome, Schedule, T, W, World, always, play
from livekit.agents.job import JobExecutorType

FAILURES = {
    "raise": Outcome("raise", 0.2),
    "timeout": Outcome("timeout", close=0.5),
    "exit": Outcome("exit", 0.3),
    "dies-at-once": Outcome("exit"),
    "fork": Outcome("fork"),
    "hang": Outcome("hang"),
}
FAST = [name for name in FAILURES if name not in ("timeout", "hang")]
TYPES = [JobExecutorType.PROCESS, JobExecutorType.THREAD]
costly = pytest.mark.costly
by_type = pytest.mark.parametrize("executor_type", TYPES, ids=lambda t: t.name.lower())


def failing(kind: str, in_step: bool) -> Schedule:
    outcome = FAILURES[kind]
    if in_step:
        return lambda index, now: outcome
    rng = random.Random(1)
    if kind in ("timeout", "hang"):  # a mixture, so that the failures do not line up
        return lambda index, now: rng.choice([outcome, Outcome("raise", rng.uniform(0, T))])
    return lambda index, now: Outcome(outcome.kind, rng.uniform(0, T))


@by_type
@pytest.mark.parametrize("in_step", [True, False], ids=["in-step", "out-of-step"])
@pytest.mark.parametrize("concurrency", [1, 2, *(pytest.param(n, marks=costly) for n in (3, 4))])
@pytest.mark.parametrize("idle", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("kind", list(FAILURES))
def test_a_job_ends_when_no_process_can_start(
    kind: str, idle: int, concurrency: int, in_step: bool, executor_type: JobExecutorType
) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        for _ in range(3):
            world.launch()
            await world.until(world.now + 3)
        await world.ended(5 * W)
        for job in world.jobs:
            assert job.gave_up, f"{job.id} still waits after {world.now - job.called_at:.0f} s"
            assert W - EPS <= job.took <= 3 * W + EPS
            assert world.records[job.id] == 1

    play(
        scenario,
        failing(kind, in_step),
        idle=idle,
        concurrency=concurrency,
        executor_type=executor_type,
    )


@pytest.mark.parametrize("idle", [0, 1, 2, 4])
@pytest.mark.parametrize("kind", FAST)
def test_fast_failures_bring_a_fast_verdict(kind: str, idle: int) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        jobs = [world.launch() for _ in range(8)]
        await world.ended(5 * W)
        assert all(job.gave_up and W - EPS <= job.took <= 2 * W for job in jobs)

    play(scenario, failing(kind, True), idle=idle, concurrency=2)


def outage(end: float, kind: str) -> Schedule:
    return lambda index, now: FAILURES[kind] if now < end else Outcome("ready", 0.5)


@by_type
@pytest.mark.parametrize("idle", [0, 2])
@pytest.mark.parametrize("kind", FAILURES)
def test_an_outage_shorter_than_w_costs_no_job(
    kind: str, idle: int, executor_type: JobExecutorType
) -> None:
    async def scenario(world: World) -> None:
        starting = asyncio.ensure_future(world.pool.start())
        jobs = [world.launch() for _ in range(3)]
        await world.ended()
        assert all(job.ran for job in jobs)
        await starting

    end = 0.9 * W
    play(scenario, outage(end, kind), idle=idle, concurrency=2, executor_type=executor_type)


@pytest.mark.parametrize("kind", list(FAILURES))
def test_the_pool_recovers_from_an_outage_after_the_verdict(kind: str) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        early = world.launch()
        await world.until(100.0)
        assert early.gave_up
        await world.until(130.0)
        late = world.launch()
        await world.ended()
        assert late.ran
        await world.aclose()

    play(scenario, outage(100.0, kind), idle=1, concurrency=2)


def test_a_job_ends_when_no_executor_can_be_created() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        job = world.launch()
        await world.ended()
        assert job.gave_up and W - EPS <= job.took <= 3 * W + EPS
        assert len(world.executors) <= 90
        await world.aclose()

    play(scenario, always("create"), idle=1)


def test_a_slow_pool_drops_nothing_from_a_burst() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        jobs = [world.launch() for _ in range(40)]
        await world.ended()
        assert all(job.ran for job in jobs)
        # one begins as the one before it is ready, as in an unpatched pool
        assert max(job.took for job in jobs) <= 40 * 6 + EPS

    play(scenario, always("ready", 6.0))


def test_the_wait_ends_where_an_initialization_never_does() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        job = world.launch()
        await world.ended(5 * W)
        assert job.gave_up, "the job still waits"
        assert abs(job.took - 3 * W) <= EPS
        await world.aclose()

    play(scenario, always("stuck"))


def flaky(seed: int, close: float = 0.0) -> Schedule:
    rng = random.Random(seed)
    return lambda index, now: Outcome("raise" if rng.random() < 0.6 else "ready", 0.5, close)


@pytest.mark.parametrize("seed", range(5))
def test_a_flaky_pool_runs_every_job_in_a_row(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        for _ in range(100):
            world.launch()
            await world.ended()
        assert sum(job.ran for job in world.jobs) == 100

    play(scenario, flaky(seed), idle=2, concurrency=2)


@pytest.mark.parametrize("close", [0.0, 60.0])
def test_a_flaky_pool_runs_a_single_job(close: float) -> None:
    async def scenario(world: World) -> bool:
        await world.pool.start()
        job = world.launch()
        await world.ended()
        return job.ran

    assert sum(play(scenario, flaky(seed, close)) for seed in range(300)) > 0.98 * 300


@by_type
@pytest.mark.parametrize("idle", [0, 1, 4])
@pytest.mark.parametrize("kind", list(FAILURES))
def test_start_ends(kind: str, idle: int, executor_type: JobExecutorType) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        assert world.now <= T + 2 + EPS

    play(scenario, failing(kind, True), idle=idle, executor_type=executor_type)
