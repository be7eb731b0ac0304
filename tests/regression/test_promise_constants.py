"""Promises 3, 4, 5 and 12: the figures that the pool goes by, each as it is seen from outside."""

from __future__ import annotations

import pytest
from fakes import EPS, Outcome, World, always, play, script
from livekit.agents.job import JobExecutorType

# --- 3: what hangs keeps its place


def test_threads_that_are_stuck_keep_their_places() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        for _ in range(6):
            world.launch()
        await world.ended()
        assert len(world.executors) == 2
        await world.aclose(200.0)

    stuck = always("timeout", close=100.0)  # it has not returned before that
    play(scenario, stuck, concurrency=2, executor_type=JobExecutorType.THREAD)


def test_a_thread_that_returns_gives_its_place_back() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        job = world.launch()
        await world.ended()
        assert job.ran
        await world.aclose()

    outcomes = script(Outcome("timeout", close=5.0), Outcome("ready", 1.0))
    play(scenario, outcomes, executor_type=JobExecutorType.THREAD)


# --- 5: the verdict


def test_no_process_is_spawned_for_a_job_that_is_given_up() -> None:
    """Upstream's own test looks right after the error: no process may be left."""

    async def scenario(world: World) -> None:
        await world.pool.start()
        job = world.launch()
        with pytest.raises(RuntimeError):
            await job.task
        assert not world.pool.processes
        assert 20.12 - EPS <= job.took <= 20.12 + 0.1 + EPS
        await world.aclose()

    play(scenario, always("raise", 5.03))


# --- 4: pacing goes by what a spawn costs


def test_spawns_that_fail_leave_as_much_time_as_they_take() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        for _ in range(30):
            world.launch()
        await world.until(14.5)
        times = [e.created_at for e in world.executors]
        gaps = [after - before for before, after in zip(times, times[1:])]
        # two at once, then one after the other, and after five failures every other second
        assert gaps[0] <= EPS
        assert all(1.0 - EPS <= gap <= 1.2 for gap in gaps[1:5])
        assert all(2.0 - EPS <= gap <= 2.2 for gap in gaps[5:])
        assert 8 <= len(gaps) <= 11

    play(scenario, always("raise", 1.0), concurrency=2)


def exit_when_ready(world: World) -> None:
    """Let processes exit as soon as they have become ready and idle."""
    world.pool.on("process_ready", lambda proc: world.loop.call_later(0.001, proc._exit))


def test_processes_that_exit_idle_are_replaced_less_and_less() -> None:
    async def scenario(world: World) -> None:
        exit_when_ready(world)
        await world.pool.start()
        await world.until(15.0)
        assert 4 <= len(world.executors) <= 25

    play(scenario, always("ready", 0.01), idle=2, concurrency=2)


def test_a_warm_process_that_is_used_ends_the_back_off() -> None:
    async def scenario(world: World) -> None:
        exit_when_ready(world)
        await world.pool.start()
        await world.until(5.0)
        world.pool._events.pop("process_ready")
        while not world.pool._warmed_proc_queue.qsize():
            await world.until(world.now + 0.1)
        await world.until(world.now + 1.0)
        job = world.launch()
        await world.ended()
        assert job.ran
        await world.until(world.now + 0.5)
        assert world.pool._warmed_proc_queue.qsize() == 2

    play(scenario, always("ready", 0.01), idle=2, concurrency=2)


def test_the_cost_of_a_failure_is_forgotten_after_a_success() -> None:
    async def scenario(world: World) -> None:
        exit_when_ready(world)
        await world.pool.start()
        await world.until(20.0)
        times = [e.created_at for e in world.executors[2:6]]
        assert len(times) == 4 and times[-1] - times[0] <= 1.0

    costly = Outcome("raise", 4.0)
    play(scenario, script(costly, costly, Outcome("ready", 0.01)), idle=1)


# --- 12: as many at once as would fit


def test_the_number_at_once_is_halved_once_a_wave() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        for _ in range(8):
            world.launch()
        await world.until(9.9)
        assert len(world.initializing) == 4
        await world.until(19.9)
        assert len(world.initializing) == 2
        await world.until(39.9)
        assert len(world.initializing) == 1

    play(scenario, always("timeout"), concurrency=4)


def test_a_success_that_took_most_of_the_timeout_proves_nothing() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        for _ in range(30):
            world.launch()
        await world.until(15.9)
        assert len(world.initializing) == 4
        await world.until(25.9)
        assert len(world.initializing) == 2

    play(scenario, script(*[Outcome("ready", 6.0)] * 4, Outcome("timeout")), concurrency=4)


def test_two_whole_waves_of_timeouts_count_against_what_was_quick() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        for _ in range(30):
            world.launch()
        await world.until(19.9)
        assert len(world.initializing) == 4
        await world.until(44.9)
        assert len(world.initializing) <= 2

    play(scenario, script(*[Outcome("ready", 1.0)] * 4, Outcome("timeout")), concurrency=4)


def test_more_at_once_again_when_they_are_quick() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        jobs = [world.launch() for _ in range(16)]
        await world.until(11.5)
        world.most_initializing = 0
        await world.ended()
        assert all(job.ran for job in jobs)
        assert world.most_initializing == 4

    slow, quick = Outcome("timeout", close=0.5), Outcome("ready", 1.0)
    play(scenario, lambda index, now: slow if now < 9 else quick, concurrency=4)
