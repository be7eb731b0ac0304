"""The best that any policy could do: what the measured pools are held against.

A policy decides when to start initializations, and which call gets which process. What becomes of
an initialization it cannot change: in an outage that follows from when it starts, on a flaky pool
from how many were started before it. `ready_times` knows each outcome beforehand. It has the pool's
limit of initializations at once, keeps its places free for the moment when an outage ends, never
pauses, starts ahead of calls without bound, and keeps every process until a call takes it. So the
n-th process is ready no later than with any other policy. `serve` gives the processes to the calls
in their order, which serves as many as can be, since all calls have the same patience. A pool knows
no outcome and wants only so many idle processes, so it may not reach this; nothing can exceed it.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence


def ready_times(
    outcomes: Iterable[tuple[bool, float]], at_once: int, not_before: float = 0.0
) -> Iterator[float]:
    """Yield when processes are ready at best, in seconds and in their order, without end.

    `outcomes` says of each initialization, in the order of their starts and without end, whether it
    leads to a process and how many seconds it takes; `at_once` may run side by side, none before
    `not_before`. Raises `ValueError` if `at_once` is below 1.
    """
    if at_once < 1:
        raise ValueError(f"at least one must run at once, not {at_once}")
    free = [not_before] * at_once
    ready: list[float] = []
    for leads_to_one, seconds in outcomes:
        start = heapq.heappop(free)
        # nothing that starts later is ready before this
        while ready and ready[0] <= start:
            yield heapq.heappop(ready)
        heapq.heappush(free, start + seconds)
        if leads_to_one:
            heapq.heappush(ready, start + seconds)


def serve(calls: Sequence[float], ready: Iterator[float], patience: float) -> list[float | None]:
    """Return how many seconds each call waits for its process; None: longer than `patience`.

    `calls` says when they come, in seconds and in order; each takes one process.
    """
    waits: list[float | None] = []
    at = next(ready)
    for came in calls:
        if at > came + patience:
            waits.append(None)
            continue
        waits.append(max(0.0, at - came))
        at = next(ready)
    return waits


def outage(
    calls: Sequence[float], seconds: float, takes: float, at_once: int, patience: float
) -> list[float | None]:
    """Serve calls where what starts in the first `seconds` fails, and later takes `takes`."""
    outcomes = itertools.repeat((True, takes))
    return serve(calls, ready_times(outcomes, at_once, seconds), patience)
