"""Measure how many calls a pool serves through an outage, and where initializations are flaky.

In virtual time, with fake executors, T = 10 s. A call is served if it gets a process within
`PATIENCE`, the time after which a patched pool may give it up. `best.py` says what can be reached.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from typing import Any
from unittest import mock

import best
import common
import fakes
from fakes import FakeExecutor, Outcome, Schedule, T, W, World, play

AT_ONCE = 4
PATIENCE = 3 * W
# Seconds that an initialization takes which succeeds, or raises; one that hangs takes T.
TAKES = 1.0
FAILURES = {"raise": Outcome("raise", TAKES), "hang": Outcome("timeout", close=0.5)}
READY = Outcome("ready", TAKES)
CALLS = 20
# Idle processes wanted.
OUTAGE_IDLE = (0, 2, 4)
# On a flaky pool: seconds between two calls, idle processes wanted.
ARRIVALS = {"in a row": (5.0, 4), "at once": (0.0, 0)}


class Starter(FakeExecutor):
    """Meets its fate when it starts: an unpatched pool creates it long before, where many wait."""

    order = itertools.count()

    async def start(self) -> None:
        self.outcome = self._world.schedule(next(self.order), self._world.now)
        await super().start()


def play_calls(calls: list[float], schedule: Schedule, idle: int) -> list[float | None]:
    """Return how many seconds each call waits for a process; None: longer than `PATIENCE`."""

    async def scenario(world: World) -> list[float | None]:
        world.loop.end = 100 * (calls[-1] + PATIENCE)
        starting = asyncio.ensure_future(world.pool.start())
        for came in calls:
            await world.until(came)
            world.launch()
        await world.until(calls[-1] + PATIENCE)
        starting.cancel()
        waits = [world.launched.get(job.id, 1e9) - job.called_at for job in world.jobs]
        return [waited if waited <= PATIENCE else None for waited in waits]

    with (
        mock.patch.object(fakes, "FakeExecutor", Starter),
        mock.patch.object(Starter, "order", itertools.count()),
    ):
        return play(scenario, schedule, idle=idle, concurrency=AT_ONCE)


def through_outage(seconds: float, kind: str, idle: int, seed: int) -> tuple[list[Any], list[Any]]:
    """Return the waits of calls that come at random times of an outage, and those at best."""
    rng = random.Random(seed)
    calls = sorted(rng.uniform(0, seconds) for _ in range(CALLS))

    def schedule(index: int, now: float) -> Outcome:
        return FAILURES[kind] if now < seconds else READY

    at_best = best.outage(calls, seconds, TAKES, AT_ONCE, PATIENCE)
    return play_calls(calls, schedule, idle), at_best


def fates(share: float, kind: str, seed: int) -> Iterator[Outcome]:
    """Yield what becomes of one initialization after the other."""
    rng = random.Random(seed)
    while True:
        yield FAILURES[kind] if rng.random() < share else READY


def on_flaky_pool(share: float, kind: str, arrival: str, seed: int) -> tuple[list[Any], list[Any]]:
    """Return the waits of calls where such a share of initializations fails, and those at best."""
    gap, idle = ARRIVALS[arrival]
    calls = [gap * number for number in range(CALLS)]
    drawn = fates(share, kind, seed)
    known: list[Outcome] = []

    def schedule(index: int, now: float) -> Outcome:
        while len(known) <= index:
            known.append(next(drawn))
        return known[index]

    outcomes = (
        (one.kind == "ready", T if one.kind == "timeout" else one.delay)
        for one in fates(share, kind, seed)
    )
    at_best = best.serve(calls, best.ready_times(outcomes, AT_ONCE), PATIENCE)
    return play_calls(calls, schedule, idle), at_best


def row(runs: list[tuple[list[Any], list[Any]]], **about: Any) -> dict[str, Any]:
    """Sum up runs: calls served, and the mean seconds to a process of those that were."""
    for name, waits in zip(("", "best_"), zip(*runs, strict=True), strict=True):
        served = [waited for waited in itertools.chain(*waits) if waited is not None]
        about[f"{name}served"] = len(served)
        about[f"{name}mean"] = sum(served) / len(served) if served else None
    return about | {"calls": CALLS * len(runs)}


def measure(options: dict[str, Any]) -> common.Found:
    """Return rows for outages (by seconds and kind) and for flaky pools (by share and kind)."""
    seeds = range(options["seeds"])
    outages = [
        row(
            [through_outage(seconds, kind, idle, seed) for idle in OUTAGE_IDLE for seed in seeds],
            seconds=seconds,
            kind=kind,
        )
        for kind in FAILURES
        for seconds in options["seconds"]
    ]
    flaky = [
        row(
            [on_flaky_pool(share, kind, arrival, seed) for seed in seeds],
            share=share,
            kind=kind,
            arrival=arrival,
        )
        for kind in FAILURES
        for arrival in ARRIVALS
        for share in options["shares"]
    ]
    return {"outages": outages, "flaky": flaky}


if __name__ == "__main__":
    common.main(measure)
