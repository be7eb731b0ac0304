"""An event loop whose clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import selectors
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar
from unittest import mock

R = TypeVar("R")
MAX_ITERATIONS_AT_ONE_TIME = 100_000
MAX_TIME = 400.0
"""Seconds. The longest scenario takes 240; unpatched, some go on for ever."""


class Stuck(Exception):
    """No timer is left to wait for, or time has stopped because something spins."""


class _Selector(selectors.SelectSelector):
    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.loop.advance(timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._now = 0.0
        self.end = MAX_TIME
        self._idle_iterations = 0
        self.iterations = 0
        self.on_iteration: Callable[[int], None] | None = None
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def freeze(self, seconds: float) -> None:
        """Let so many seconds pass in which nothing runs, as while the process is stopped."""
        self._now += seconds

    def advance(self, timeout: float | None) -> None:
        if timeout is None:
            raise Stuck("every task waits for something that no timer brings about")
        self._idle_iterations = 0 if timeout > 0 else self._idle_iterations + 1
        if self._idle_iterations > MAX_ITERATIONS_AT_ONE_TIME:
            raise Stuck(f"busy loop at {self._now:.3f} s")
        if self._now + timeout > self.end:
            raise Stuck(f"still running at {self._now:.0f} s")
        self._now += max(timeout, 0.0)
        self.iterations += 1
        if self.on_iteration is not None:
            self.on_iteration(self.iterations)

    @contextlib.contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """Count how many callbacks are scheduled meanwhile: the measure of work done."""
        count = 0

        def counted(schedule: Callable[..., R]) -> Callable[..., R]:
            def call(*args: Any, **kwargs: Any) -> R:
                nonlocal count
                count += 1
                return schedule(*args, **kwargs)

            return call

        with (
            mock.patch.object(self, "call_soon", counted(self.call_soon)),
            mock.patch.object(self, "call_at", counted(self.call_at)),
        ):
            yield lambda: count


def run(main: Coroutine[Any, Any, R]) -> R:
    """Like asyncio.run(), in virtual time."""
    loop = VirtualTimeLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.end = math.inf
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=1000.0))
        asyncio.set_event_loop(None)
        loop.close()
