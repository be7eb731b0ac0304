"""The contract's bounds as properties of random schedules."""

from __future__ import annotations

import asyncio

from fakes import EPS, Outcome, W, World, play
from hypothesis import given
from hypothesis import strategies as st

delays = st.floats(0, 12, allow_nan=False).map(lambda x: round(x, 2))
outcomes = st.builds(
    Outcome,
    kind=st.sampled_from(["ready", "raise", "timeout", "exit", "fork", "hang"]),
    delay=delays,
    close=st.sampled_from([0.0, 0.5, 8.0]),
)
bad = outcomes.filter(lambda outcome: outcome.kind != "ready")
arrivals = st.lists(
    st.tuples(delays, st.one_of(st.none(), delays)),  # since the last one; cancelled after
    min_size=1,
    max_size=8,
)


def check_verdicts(world: World) -> None:
    ready = [e.ready_at for e in world.executors if e.ready_at is not None]
    for job in world.jobs:
        if job.task.cancelled():
            continue
        assert job.ended_at is not None, f"{job.id} still waits"
        anchor = max([job.called_at, *(t for t in ready if t <= job.ended_at)])
        assert job.ended_at <= anchor + 3 * W + EPS
        if job.ran:
            assert not world.records[job.id]
            continue
        assert job.gave_up
        assert world.records[job.id] == 1
        late = [e for e in world.executors if e.created_at >= anchor + W - EPS]
        excused = any(e.failed_at is not None and e.failed_at <= job.ended_at for e in late)
        assert excused or job.ended_at >= anchor + 3 * W - EPS, f"{job.id} was given up early"


@given(
    cycle=st.lists(outcomes, min_size=1, max_size=6),
    prefix=st.lists(bad, max_size=12),
    coming=arrivals,
    idle=st.integers(0, 4),
    concurrency=st.integers(1, 4),
)
def test_random_schedules(
    cycle: list[Outcome],
    prefix: list[Outcome],
    coming: list[tuple[float, float | None]],
    idle: int,
    concurrency: int,
) -> None:
    def schedule(index: int, now: float) -> Outcome:
        if index < len(prefix):
            return prefix[index]
        return cycle[(index - len(prefix)) % len(cycle)]

    async def scenario(world: World) -> None:
        starting = asyncio.ensure_future(world.pool.start())
        for gap, cancelled_after in coming:
            await asyncio.sleep(gap)
            job = world.launch()
            if cancelled_after is not None:
                world.loop.call_later(cancelled_after, job.task.cancel)
        await world.ended(30 * W)
        check_verdicts(world)
        assert world.most_initializing <= concurrency
        order = [int(id.rpartition("-")[2]) for id in world.launched]
        assert order == sorted(order)
        assert world.waiting == 0
        await starting
        await world.aclose(100.0)

    play(scenario, schedule, idle=idle, concurrency=concurrency)
