"""Wait for a condition, with a bound."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable

POLL = 0.05


class TooLateError(Exception):
    """What was waited for did not happen in time."""


async def until(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Return how many seconds it took until `condition()` was true; it may be a coroutine function.

    Raises `TooLateError`, which names `what`, when `seconds` have passed.
    """
    start = time.monotonic()
    while not (await found if inspect.iscoroutine(found := condition()) else found):
        if time.monotonic() - start > seconds:
            raise TooLateError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(POLL)
    return time.monotonic() - start


async def holds(condition: Callable[[], object], seconds: float) -> bool:
    """Whether `condition()` stays true for `seconds`; returns as soon as it does not."""
    try:
        await until(lambda: not condition(), seconds, "")
    except TooLateError:
        return True
    return False
