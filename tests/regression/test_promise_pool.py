"""Promises 3, 4, 6, 7, 8, 10 and 11: what the pool does while it keeps its word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fakes import EPS, Outcome, Schedule, T, W, World, always, play, script
from jobs import TOKEN
from livekit.agents.job import JobExecutorType

TYPES = [JobExecutorType.PROCESS, JobExecutorType.THREAD]
by_type = pytest.mark.parametrize("executor_type", TYPES, ids=lambda t: t.name.lower())


# --- 3: it respawns


@by_type
def test_a_failed_spawn_is_replaced_before_it_is_cleaned_up(executor_type: JobExecutorType) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        job = world.launch()
        await world.ended()
        assert job.ran and job.took < 5
        await world.aclose()

    slow = Outcome("raise", 0.1, close=30.0)
    play(scenario, script(slow, Outcome("ready", 1.0)), executor_type=executor_type)


@pytest.mark.parametrize("jobs", [1, 3, 12])
@pytest.mark.parametrize("concurrency", [1, 2, 4])
@pytest.mark.parametrize("idle", [0, 2, 4])
def test_spawns_in_flight_are_bounded(idle: int, concurrency: int, jobs: int) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        for _ in range(jobs):
            world.launch()
            await world.until(world.now + 0.05)
        await world.until(world.now + 60)
        assert not world.too_many_in_flight
        assert world.most_initializing <= concurrency

    outcomes = [Outcome("raise", 0.3), Outcome("ready", 2.0), Outcome("exit", 0.7, close=2.0)]
    play(scenario, lambda i, now: outcomes[i % 3], idle=idle, concurrency=concurrency)


@pytest.mark.parametrize("jobs", [2, 12])
@pytest.mark.parametrize("concurrency", [1, 2, 4])
@pytest.mark.parametrize(
    ("kind", "executor_type"),
    [("hang", JobExecutorType.PROCESS), ("timeout", JobExecutorType.THREAD)],
    ids=["start", "thread"],
)
def test_what_hangs_keeps_its_place(
    kind: str, executor_type: JobExecutorType, concurrency: int, jobs: int
) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        early = [world.launch() for _ in range(jobs)]
        await world.ended(5 * W)
        assert world.most_outstanding <= concurrency
        assert all(job.gave_up and job.took <= 3 * W + EPS for job in early)
        await world.until(returns)
        late = world.launch()
        await world.ended()
        assert late.ran
        await world.aclose()

    returns = 100.0
    play(
        scenario,
        lambda i, now: Outcome(kind, stuck=returns - now) if now < 90 else Outcome("ready", 1.0),
        concurrency=concurrency,
        executor_type=executor_type,
    )


# --- 4: it paces itself


@pytest.mark.parametrize("lives", [0.05, 1.0, 5.0])
@pytest.mark.parametrize("idle", [1, 2, 4])
def test_processes_that_exit_idle_are_replaced_at_a_pace(idle: int, lives: float) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        await world.until(15.0)
        assert idle < len(world.executors) <= 25
        await world.aclose()

    play(scenario, always_exiting(lives), idle=idle, concurrency=4)


def test_idle_processes_that_exited_once_slow_no_pool_down_that_serves() -> None:
    """Calls come too fast for one of them to find a warm process."""

    async def scenario(world: World) -> None:
        await world.pool.start()
        await world.until(5.0)
        assert sum(not e.alive for e in world.executors) == 8  # the out-of-memory killer, say
        for _ in range(90):
            world.launch()
            await world.until(world.now + 1 / 3)
        await world.ended()
        assert all(job.ran and job.took <= 3.0 for job in world.jobs)
        await world.aclose()

    def schedule(index: int, now: float) -> Outcome:
        return Outcome("ready", 0.5, lives=None if index >= 8 else 4.4 - now)

    play(scenario, schedule, idle=8, concurrency=4)


def always_exiting(lives: float) -> Schedule:
    return lambda index, now: Outcome("ready", 0.1, lives=lives)


@pytest.mark.parametrize("took", [0.5, 1.0, 1.9])
def test_spawns_that_fail_leave_time_to_others(took: float) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        for _ in range(2):
            world.launch()
        await world.until(20.0)
        spent = sum(min(20.0 - e.created_at, took) for e in world.executors)
        assert spent <= 18
        await world.aclose()

    play(scenario, always("raise", took), concurrency=2)


@pytest.mark.parametrize("close", [5.0, 60.0])
def test_spawns_wait_for_failed_processes_that_are_slow_to_end(close: float) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        job = world.launch()
        await world.ended()
        times = [e.created_at for e in world.executors]
        gaps = [after - before for before, after in zip(times, times[1:])]
        # the first replacement comes at once
        assert gaps[0] <= 0.2 + EPS and min(gaps[1:]) >= 1.0 - EPS
        assert job.gave_up and job.took <= 2 * W
        await world.aclose(2 * close)

    play(scenario, always("raise", 0.1, close=close), concurrency=4)


@by_type
@pytest.mark.parametrize("waiting", [1, 8])
@pytest.mark.parametrize("idle", [1, 2, 4])
def test_a_pool_that_can_start_nothing_spawns_little(
    idle: int, waiting: int, executor_type: JobExecutorType
) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        await world.until(40.0)
        for _ in range(waiting):
            world.launch()
        await world.until(85.0)
        assert len(world.executors) <= 90

    play(
        scenario,
        always("raise", 0.01),
        idle=idle,
        concurrency=4,
        executor_type=executor_type,
    )


@pytest.mark.parametrize("waiting", [0, 1])
def test_failures_back_off(waiting: int) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        world.executors.clear()
        for _ in range(waiting):
            world.launch()
        await world.until(world.now + 14)
        times = [e.created_at for e in world.executors]
        gaps = [times[i + 1] - times[i] for i in range(len(times) - 1)]
        assert len(gaps) >= (5 if waiting else 1)
        assert len(gaps) <= 30
        if waiting:
            assert gaps[1] <= 0.1 + 0.1 + EPS  # seen by a task that looks ten times a second
            assert gaps[-1] > 5 * min(gaps) + EPS
            assert max(gaps) <= 5.0  # a cap, so that the end of an outage is noticed

    play(scenario, always("raise"), idle=0 if waiting else 1)


def test_an_idle_pool_that_can_start_nothing_rests() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        await world.until(100.0)
        before = len(world.executors)
        await world.until(160.0)
        assert 11 <= len(world.executors) - before <= 13

    play(scenario, always("raise", 0.01), idle=2, concurrency=2)


def test_a_burst_does_not_outrun_the_back_off() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        for _ in range(12):
            world.launch()
        await world.until(1.0)
        assert len(world.executors) <= 6

    play(scenario, always("raise", 0.01))


@pytest.mark.parametrize("took", [0.1, 2.0])
def test_the_first_replacement_comes_at_once(took: float) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        world.launch()
        await world.ended()
        first, second = world.executors[:2]
        assert first.failed_at is not None
        # unpatched releases look ten times a second
        assert second.created_at - first.failed_at <= 0.1 + EPS

    play(scenario, script(Outcome("raise", took), Outcome("ready", 1.0)))


def test_success_resets_the_back_off() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        world.launch()
        await world.ended()
        world.launch()
        await world.ended()
        failed = world.executors[9]
        assert failed.failed_at is not None
        assert world.executors[10].created_at - failed.failed_at <= 0.1 + EPS

    outcomes = [Outcome("raise", 0.01)] * 8 + [Outcome("ready", 0.1), Outcome("raise", 0.01)]
    play(scenario, script(*outcomes, Outcome("ready", 0.1)))


def test_a_job_that_comes_during_the_back_off_gets_a_spawn_at_once() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        await world.until(33.37)
        before = len(world.executors)
        while len(world.executors) == before or world.in_flight:
            await asyncio.sleep(0.01)
        before, now = len(world.executors), world.now  # right after a failure
        world.launch()
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(world.executors) > before
        assert world.now <= now + EPS

    play(scenario, always("raise", 0.01), idle=2, concurrency=2)


# --- 6: first come, first served


@pytest.mark.parametrize("concurrency", [1, 3])
def test_first_come_first_served(concurrency: int) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        for _ in range(12):
            world.launch()
            await world.until(world.now + 0.1)
        world.jobs[3].task.cancel()
        await world.ended()
        assert list(world.launched) == [job.id for job in world.jobs if job.id != "job-3"]

    outcomes = [Outcome("ready", d) for d in (3.0, 0.9, 1.7)] + [Outcome("raise", 0.4)]
    play(scenario, lambda i, now: outcomes[i % 4], concurrency=concurrency)


# --- 7: cancel


async def cancel_at(world: World, iteration: int) -> int:
    """Cancel the first of two jobs so many loop iterations after its call."""
    starting = asyncio.ensure_future(world.pool.start())
    await world.until(0.5)
    first, second = world.launch(), world.launch()
    base = world.loop.iterations

    def cancel(now: int) -> None:
        if now == base + iteration:
            first.task.cancel()

    world.loop.on_iteration = cancel
    await asyncio.wait([first.task], timeout=100.0)
    iterations = world.loop.iterations - base
    await world.until(30.0)
    await starting
    assert first.task.done()
    assert second.ran
    world.check_no_process_lost()
    await world.aclose()
    return iterations


@by_type
@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("idle", [0, 1, 2])
def test_cancel_at_every_await(idle: int, concurrency: int, executor_type: JobExecutorType) -> None:
    def once(iteration: int) -> int:
        return play(
            lambda world: cancel_at(world, iteration),
            script(Outcome("raise", 0.7, close=0.2), Outcome("ready", 0.8)),
            idle=idle,
            concurrency=concurrency,
            executor_type=executor_type,
        )

    iterations = once(-1)
    assert iterations > 3
    for iteration in range(iterations + 3):
        once(iteration)


def after_ticks(world: World, ticks: int, callback: Callable[[], object]) -> None:
    """Call `callback` after so many iterations of the loop; at once after none."""
    if ticks:
        world.loop.call_soon(after_ticks, world, ticks - 1, callback)
    else:
        callback()


@pytest.mark.parametrize("ticks", [0, 1])
@pytest.mark.parametrize("idle", [0, 1])
def test_cancel_in_the_tick_of_the_hand_over(idle: int, ticks: int) -> None:
    async def scenario(world: World) -> None:
        starting = asyncio.ensure_future(world.pool.start())
        first, second = world.launch(), world.launch()

        world.pool.once(
            "process_ready", lambda proc: after_ticks(world, ticks + 1, first.task.cancel)
        )
        await world.until(30.0)
        assert first.task.done()
        assert second.ran
        await starting
        world.check_no_process_lost()

    play(scenario, always("ready", 1.0), idle=idle)


# --- 7: close


@by_type
@pytest.mark.parametrize("idle", [0, 2])
@pytest.mark.parametrize("kind", ["ready", "raise", "timeout", "hang"])
def test_close_releases_waiting_jobs(kind: str, idle: int, executor_type: JobExecutorType) -> None:
    async def scenario(world: World) -> None:
        starting = asyncio.ensure_future(world.pool.start())
        jobs = [world.launch() for _ in range(4)]
        await world.until(4.5)
        closing = asyncio.ensure_future(world.pool.aclose())
        await world.until(5.5)
        assert all(job.gave_up and world.records[job.id] == 1 for job in jobs)
        await asyncio.wait_for(closing, 30.0)
        await asyncio.wait_for(starting, 30.0)
        world.check_nothing_left()

    play(scenario, always(kind, 9.0, 0.5), idle=idle, executor_type=executor_type)


@pytest.mark.parametrize("idle", [0, 2])
def test_close_while_a_failed_spawn_is_cleaned_up(idle: int) -> None:
    async def scenario(world: World) -> None:
        starting = asyncio.ensure_future(world.pool.start())
        job = world.launch()
        await world.until(1.5)
        await asyncio.wait_for(world.pool.aclose(), 60.0)
        await asyncio.sleep(1.0)
        assert job.gave_up
        await asyncio.wait_for(starting, 30.0)
        world.check_nothing_left()

    play(scenario, always("raise", 1.0, close=3.0), idle=idle, concurrency=2)


@pytest.mark.parametrize("how", ["at-once", "twice", "cancelled"])
def test_close_however_it_is_called(how: str) -> None:
    async def scenario(world: World) -> None:
        starting = asyncio.ensure_future(world.pool.start())
        await asyncio.sleep(0)
        if how != "at-once":
            await world.until(1.5)
        job = world.launch()
        await asyncio.sleep(0)
        closing = [asyncio.ensure_future(world.pool.aclose())]
        if how == "twice":
            closing.append(asyncio.ensure_future(world.pool.aclose()))
        if how == "cancelled":
            await asyncio.sleep(0.2)
            closing[0].cancel()
            closing.append(asyncio.ensure_future(world.pool.aclose()))
        await asyncio.wait(closing, timeout=60.0)
        await asyncio.wait_for(starting, 30.0)
        assert all(c.done() for c in closing)
        assert job.gave_up
        world.check_nothing_left()

    play(scenario, always("ready", 9.0, close=1.0), idle=2)


def test_no_job_is_taken_after_close() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        await world.pool.aclose()
        job = world.launch()
        await world.ended(1.0)
        assert job.gave_up

    play(scenario, always("ready"), idle=1)


def test_close_in_the_tick_of_a_spawn() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        world.launch()
        await asyncio.sleep(0)  # now a process has been asked for, and is not there yet
        await world.pool.aclose()  # in this very step; in a task of its own it comes too late
        await world.aclose()

    play(scenario, always("ready", 1.0))


@pytest.mark.parametrize("which", ["idle", "failed"])
def test_close_goes_on_when_an_executor_fails_to(which: str) -> None:
    async def fail(executor: Any) -> None:
        await asyncio.sleep(1.5)  # the others close in less
        executor._exit()
        raise RuntimeError("on purpose")

    async def scenario(world: World) -> None:
        if which == "failed":
            await world.pool.start()
        world.pool.once("process_created", lambda proc: setattr(proc, "aclose", lambda: fail(proc)))
        if which == "idle":
            await world.pool.start()
        else:
            world.launch()
        await world.until(world.now + 0.3)
        await world.aclose()
        assert any("on purpose" in log for log in world.logs), "nobody hears of it"

    outcomes = [Outcome("ready", 0.1, close=1.0)] * 2 + [Outcome("raise", 0.1)]
    play(scenario, script(*outcomes), idle=2, concurrency=2)


def test_close_does_not_wait_for_a_process_that_it_could_not_close() -> None:
    async def fail() -> None:
        raise OSError("this one lives on")

    async def scenario(world: World) -> None:
        await world.pool.start()
        world.executors[0].aclose = fail  # type: ignore[method-assign]
        closing_at = world.now
        await world.pool.aclose()
        assert world.now - closing_at <= 1.0 + 0.1 + EPS  # the main task looks every 0.1 s
        assert "this one lives on" in "".join(world.logs)

    play(scenario, always("ready", 1.0), idle=2)


# --- 8: it leaks nothing


@by_type
@pytest.mark.parametrize("kind", ["raise", "exit", "fork", "timeout"])
def test_a_failed_spawn_leaves_nothing(kind: str, executor_type: JobExecutorType) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        world.launch()
        await world.ended()
        await world.until(world.now + 5.0)
        assert not world.pool.processes
        assert [e.id for e in world.executors if e.alive] == []
        assert world.created == world.closed
        assert set(world.created.values()) == {1}

    bad = Outcome(kind, 0.1, close=1.0)
    play(scenario, script(bad, bad, Outcome("ready", 0.5)), executor_type=executor_type)


# --- 10: waiting is cheap


def callbacks_per_job(jobs: int) -> float:
    async def scenario(world: World) -> float:
        await world.pool.start()
        with world.loop.counting() as callbacks:
            for _ in range(jobs):
                world.launch()
            await world.ended(1000.0)
        assert all(job.ran for job in world.jobs)
        return callbacks() / jobs

    return play(scenario, always("ready", 0.1), concurrency=4)


@pytest.mark.costly
def test_waiting_is_cheap() -> None:
    few = callbacks_per_job(25)
    for jobs in (100, 400, 4000):  # where every job watches every spawn, the last takes gigabytes
        assert callbacks_per_job(jobs) < 2 * few


def test_the_warm_path_is_short() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        await world.until(5.0)
        with world.loop.counting() as callbacks:
            job: Any = world.launch()
            while job.ended_at is None:
                await asyncio.sleep(0)
                assert world.now <= 5.0 + EPS
        assert callbacks() <= 15

    play(scenario, always("ready", 0.1), idle=1)


# --- 13: logs


def test_the_pool_logs_no_token() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        world.pool.on("process_ready", lambda proc: setattr(proc, "alive", False))
        jobs = [world.launch() for _ in range(2)]
        await world.ended()
        assert not any(job.ran for job in jobs)
        jobs = [world.launch()]
        await world.until(world.now + 0.5)
        await world.aclose()
        assert jobs[0].gave_up
        assert "failed to launch job on process after" in str(world.logs)
        assert TOKEN not in str(world.logs)

    play(scenario, script(Outcome("raise", 0.1), Outcome("ready", 1.0)))


# --- processes that die or fail to take a job


def test_an_idle_process_that_exits_is_replaced_and_gets_no_job() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        dead = world.executors[0]
        dead._exit()
        await world.until(world.now + 2)
        assert world.pool._warmed_proc_queue.qsize() == 2
        jobs = [world.launch() for _ in range(2)]
        await world.ended(0.05)  # at once, on two processes that are warm
        assert all(job.ran for job in jobs)
        assert dead.running_job is None
        await world.aclose()

    play(scenario, always("ready", 0.1), idle=2)


def check_order(jobs: int, dying: int, schedule: Schedule, concurrency: int = 1) -> None:
    """Launch `jobs` jobs, 1 ms apart; the first `dying` processes die before they can take one."""

    async def scenario(world: World) -> None:
        await world.pool.start()

        def die(executor: Any) -> None:  # after its hand-over, before it takes the job
            if executor.index < dying:
                world.loop.call_soon(setattr, executor, "alive", False)

        world.pool.on("process_ready", die)
        for _ in range(jobs):
            world.launch()
            await world.until(world.now + 0.001)
        await world.ended()
        assert all(job.ran for job in world.jobs)
        assert list(world.launched) == [job.id for job in world.jobs]
        await world.aclose()

    play(scenario, schedule, concurrency=concurrency)


def test_a_job_whose_process_fails_to_take_it_keeps_its_place() -> None:
    check_order(3, 1, always("ready", 1.0))


def test_jobs_whose_processes_fail_together_keep_their_order() -> None:
    # two become ready at once and die, then one after the other
    one_by_one = [Outcome("ready", 1.0)] * 2 + [Outcome("ready", 1.0 + i) for i in range(2, 6)]
    check_order(4, 2, script(*one_by_one), concurrency=2)


@pytest.mark.parametrize("cancel", range(4))
@pytest.mark.parametrize("exit", range(1, 5))
def test_a_process_that_exits_as_its_job_is_cancelled_is_not_kept(exit: int, cancel: int) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        first = world.launch()

        def on_ready(proc: Any) -> None:
            after_ticks(world, exit, proc._exit)
            after_ticks(world, cancel, first.task.cancel)

        world.pool.once("process_ready", on_ready)
        await world.until(5.0)
        assert first.task.done()
        world.check_no_process_lost()

    play(scenario, always("ready", 1.0))


# --- 14: it says when it is failing


@pytest.mark.parametrize("idle", [0, 2])
@pytest.mark.parametrize("kind", ["raise", "timeout", "create"])
def test_a_failing_pool_says_so_and_probes(kind: str, idle: int) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        job = world.launch()
        await world.until(60.0)
        assert job.gave_up
        [(at, on)] = world.failing
        spawn = T if kind == "timeout" else 0.2
        assert on and W - EPS <= at <= W + spawn + 0.2
        before = len(world.executors)
        await world.until(100.0)
        # without a job it probes, and not much
        assert 40.0 / max(spawn + 0.2, 5.3) - 1 <= len(world.executors) - before <= 10
        await world.until(130.0)
        assert [on for _, on in world.failing] == [True, False]
        assert world.failing[1][0] <= 100.0 + max(spawn, 5.0) + 1.2  # by the first ready process
        assert sum("keep failing to initialize" in log for log in world.logs) == 1
        await world.aclose()

    failing, ready = Outcome(kind, 0.2), Outcome("ready", 1.0)
    play(scenario, lambda i, now: failing if now < 100 else ready, idle=idle, concurrency=2)


@pytest.mark.parametrize(
    "schedule",
    [
        always("ready", 9.0),  # slow
        lambda i, now: Outcome("raise", 0.2) if now < 0.9 * W else Outcome("ready", 0.2),
        lambda i, now: Outcome("raise", 0.2) if i % 2 else Outcome("ready", 5.0),
    ],
    ids=["slow", "short outage", "flaky"],
)
@pytest.mark.parametrize("idle", [0, 2])
def test_a_pool_that_serves_is_not_failing(schedule: Schedule, idle: int) -> None:
    async def scenario(world: World) -> None:
        starting = asyncio.ensure_future(world.pool.start())
        for _ in range(10):
            world.launch()
            await world.until(world.now + 2.0)
        await world.ended()
        await world.until(world.now + 40.0)
        assert world.failing == []
        await starting
        await world.aclose()

    play(scenario, schedule, idle=idle, concurrency=2, job_time=15.0)


def test_a_pool_with_a_warm_process_is_not_failing() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        await world.until(60.0)
        assert world.failing == []
        world.launch()
        await world.until(80.0)
        assert [on for _, on in world.failing] == [True]
        await world.aclose()

    play(scenario, script(Outcome("ready", 1.0), Outcome("raise", 0.2)), idle=2)


async def check_that_old_failures_count_for_nothing(world: World) -> None:
    """They are old at 3 W, and the pool wants no process."""
    await world.until(3 * W)
    assert world.failing == []
    job = world.launch()  # now it does
    await world.until(5 * W)
    [(at, on)] = world.failing
    assert on and W - 0.1 - EPS <= at - job.called_at <= W + 0.4  # a spawn may be under way
    await world.aclose()
    assert job.ran or job.gave_up


def test_a_pool_that_wants_no_process_is_not_failing() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        job = world.launch()
        await world.until(3.0)
        job.task.cancel()
        await check_that_old_failures_count_for_nothing(world)

    play(scenario, always("raise", 0.2))


def test_a_pool_whose_last_warm_process_is_taken_is_not_failing_at_once() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        await world.until(2.5)
        assert len(world.executors) >= 1 + 3  # one is warm, three have failed
        world.pool.set_target_idle_processes(1)
        await check_that_old_failures_count_for_nothing(world)

    play(scenario, script(Outcome("ready", 1.0), Outcome("raise", 0.2)), idle=2)


def test_the_time_in_which_no_process_is_wanted_does_not_count() -> None:
    async def scenario(world: World) -> None:
        starting = asyncio.ensure_future(world.pool.start())
        await world.until(2.5)
        world.pool.set_target_idle_processes(1)  # which is warm
        await world.until(W + 1.0)
        world.launch()
        await world.until(5 * W)
        [(at, on)] = world.failing
        assert on and 2 * W + 1.0 - 2.5 - EPS <= at <= 2 * W + 1.0 + 0.2
        await starting
        await world.aclose()

    play(scenario, script(Outcome("ready", 1.0), Outcome("raise", 0.2)), idle=2)


@pytest.mark.parametrize("kind", ["raise", "timeout"])
def test_an_idle_target_that_flaps_does_not_hide_a_failing_pool(kind: str) -> None:
    async def scenario(world: World) -> None:
        starting = asyncio.ensure_future(world.pool.start())
        for _ in range(8):  # as the load may have it: a tenth of the time
            await world.until(world.now + 4.5)
            world.pool.set_target_idle_processes(0)
            await world.until(world.now + 0.5)
            world.pool.set_target_idle_processes(2)
        [(at, on)] = world.failing
        assert on and at <= 1.2 * W + (T if kind == "timeout" else 0.2)
        await starting
        await world.aclose()

    play(scenario, always(kind, 0.2), idle=2)


# --- 1: a freeze judges nobody


@pytest.mark.parametrize("jobs", [1, 3])
def test_after_a_freeze_jobs_get_what_became_ready(jobs: int) -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        for _ in range(jobs):
            world.launch()
        await world.until(1.0)
        world.loop.freeze(4 * W)
        await world.ended()
        assert all(job.ran for job in world.jobs)
        await world.aclose()

    play(scenario, always("ready", 2.0), concurrency=4)


def test_a_freeze_puts_the_verdict_off_once() -> None:
    async def scenario(world: World) -> None:
        await world.pool.start()
        job = world.launch()
        await world.until(1.0)
        world.loop.freeze(4 * W)
        await world.ended()
        assert job.gave_up and job.took <= 4 * W + 1.0 + 0.2 + EPS
        await world.aclose()

    play(scenario, always("stuck"))


@pytest.mark.parametrize("seconds", [0.5, 0.9, 1.2, 3.0])
def test_a_freeze_of_any_length_judges_nobody(seconds: float) -> None:
    limit = 3 * W

    async def scenario(world: World) -> None:
        await world.pool.start()
        job = world.launch()
        await world.until(limit - 0.75)
        world.loop.freeze(seconds)
        await world.ended()
        assert job.ran
        await world.aclose()

    # Time-outs, then one that answers before the limit, and is read after it.
    play(
        scenario,
        lambda index, now: (
            Outcome("ready", limit - 0.4 - now) if limit - now < T else Outcome("timeout")
        ),
        concurrency=1,
    )
