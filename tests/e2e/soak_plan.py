"""What happens in a soak, drawn from a seed: when calls come, and which faults hit whom."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

# What is done to a worker or to the server.
KINDS = (
    "kill-child",  # SIGKILL of a process of the pool
    "stop-child",  # SIGSTOP of one, then SIGCONT
    "kill-worker",  # SIGKILL of the worker alone, which is started again
    "end-worker",  # SIGTERM, with a drain of 3 s; it is started again
    "stop-worker",  # SIGSTOP of the worker, then SIGCONT
    "memory",  # processes of the pool grow past their limit, and are killed for it
    "no-fork",  # no process can be started: EAGAIN
    "no-descriptors",  # the worker can open nothing: EMFILE
    "full-disk",  # prewarms and the worker's own log find no space
    "bad-prewarm",  # prewarms fail for a while
    "restart-server",
)
# What a process of the pool does when it is hit.
MOMENTS = ("import", "prewarm", "idle", "hand-over", "job")
# How prewarms fail: the moods of agent.py.
MOODS = ("raise", "hang", "exit", "fork", "die", "slow 1.5")

# Seconds: between two faults and between two calls, on average; how long a fault lasts; that all is
# well before the first and after the last.
_FAULTS, _CALLS = 5.0, 1.3
_LASTS = {
    "stop-child": (1.0, 6.0),
    "stop-worker": (1.0, 10.0),
    "memory": (4.0, 12.0),
    "no-fork": (2.0, 12.0),
    "no-descriptors": (2.0, 8.0),
    "full-disk": (2.0, 8.0),
    "bad-prewarm": (5.0, 30.0),
}
_BEFORE, _AFTER = 5.0, 30.0


@dataclass(frozen=True)
class Fault:
    """A fault: `at` and `lasts` in seconds of the soak; `worker` is a number from 0.

    `moment` says which child is hit, and `mood` how prewarms fail, where the kind asks for it.
    """

    at: float
    kind: str
    worker: int
    lasts: float = 0.0
    moment: str = ""
    mood: str = ""

    def __str__(self) -> str:
        what = " ".join(word for word in (self.kind, self.moment, self.mood) if word)
        where = "" if self.kind == "restart-server" else f" of worker {self.worker}"
        return f"{what}{where}" + (f" for {self.lasts:.1f} s" if self.lasts else "")


@dataclass(frozen=True)
class PlannedCall:
    """A call that comes `at` seconds and, once served, lasts `holds` seconds."""

    at: float
    holds: float


@dataclass(frozen=True)
class Plan:
    """What happens in a soak, in order of time."""

    calls: tuple[PlannedCall, ...]
    faults: tuple[Fault, ...]


def make_plan(seed: int, seconds: float, workers: int) -> Plan:
    """Draw what happens in a soak of so many seconds on so many workers; the same every time."""
    # Two streams, so that a fault more or less leaves the calls where they are.
    calls, faults = random.Random(f"{seed} calls"), random.Random(f"{seed} faults")
    last = max(_BEFORE, seconds - _AFTER)
    return Plan(
        tuple(PlannedCall(at, calls.uniform(0.5, 6.0)) for at in _times(calls, _CALLS, 0, seconds)),
        tuple(_fault(faults, at, kind, workers) for at, kind in _dealt(faults, last)),
    )


def _times(draw: random.Random, every: float, start: float, end: float) -> Iterator[float]:
    """Yield times at random, so many seconds apart on average."""
    at = start + draw.expovariate(1 / every)
    while at < end:
        yield at
        at += draw.expovariate(1 / every)


def _dealt(draw: random.Random, end: float) -> Iterator[tuple[float, str]]:
    """Yield times and kinds; all kinds come, at random, before they come again.

    What the project is about, prewarms that fail, comes twice as often as each other kind.
    """
    deck: list[str] = []
    for at in _times(draw, _FAULTS, _BEFORE, end):
        deck = deck or draw.sample([*KINDS, "bad-prewarm"], len(KINDS) + 1)
        yield at, deck.pop()


def _fault(draw: random.Random, at: float, kind: str, workers: int) -> Fault:
    worker, lasts = draw.randrange(workers), draw.uniform(*_LASTS.get(kind, (0.0, 0.0)))
    moment, mood = draw.choice(MOMENTS), draw.choice(MOODS)
    return Fault(
        at,
        kind,
        worker,
        lasts,
        moment if kind in ("kill-child", "stop-child") else "",
        mood if kind == "bad-prewarm" else "",
    )
