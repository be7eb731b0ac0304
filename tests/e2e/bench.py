"""What a case works with: a server, workers on it, a caller; and what it found out.

Seconds of a case are those of a machine that has nothing else to do. On a slower one T and every
limit are longer, `pace` times as long: see `run.measure_pace`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from calls import Call, Caller
from server import Server
from waiting import TooLateError, until
from worker import Settings, Worker

# Workers that import their release at the same time would only slow each other down.
_STARTS = asyncio.Semaphore(2)

# A call is lost when a worker, or the server, does not answer within three seconds: on a busy
# machine a well one may not, so what only prepares a case is tried so often.
_TRIES = 5
# Seconds in which a call is tried again that no worker takes: a fork server may need longer than W
# to import the release, so that its worker begins as a sick one, and the server hears every 2.5 s
# only how a worker is.
_HEARD = 15.0

# Seconds for a worker to import its release and register, and for its first process to become
# ready, which includes the start of the fork server. No case is about either, so these only end
# what hangs: up to 1.4.1 an unpatched worker whose prewarms fail never registers.
_REGISTER, _READY = 120.0, 600.0


@dataclass
class Bench:
    """One run of one case. It ends all that it has started.

    `name` is the agent's, by which the run is told from others on the same server.
    """

    name: str
    release: str
    server: Server
    interpreter: Path
    folder: Path
    pace: float = 1.0
    # For a case that needs a core of its own.
    core: int | None = None
    wrong: list[str] = field(default_factory=list)
    # The case did not come to its end: what it is about was not seen.
    cut_short: bool = False
    found: list[str] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    _own: Server | None = None

    def __post_init__(self) -> None:
        self.caller = Caller(self.server, self.name)

    async def __aenter__(self) -> Bench:
        return self

    async def __aexit__(self, error: object, *_: object) -> None:
        try:
            if error is not None:
                for worker in self.workers:
                    await worker.note_stacks()
            await self.caller.close()
        finally:
            for worker in self.workers:
                await worker.kill()
            if self._own is not None:
                await self._own.stop()

    async def own_server(self) -> Server:
        """Start a server for this case alone, which may end it."""
        self.server = self._own = Server(self.server.program, self.folder / "server")
        self.caller = Caller(self.server, self.name)
        await self.server.start()
        return self.server

    async def worker(self, *, ready: bool = False, **settings: Any) -> Worker:
        """Start a worker and wait until it is registered and its first prewarm has begun.

        What comes before that, the start of the fork server, is slow on a busy machine, and is not
        what the cases are about. With `ready`, wait until a process is ready.
        """
        name = f"worker{len(self.workers) + 1}"
        chosen = Settings(**settings)
        chosen = replace(chosen, timeout=chosen.timeout * self.pace)
        worker = Worker(self.interpreter, self.server, self.folder / name, self.name, chosen)
        self.workers.append(worker)
        async with _STARTS:
            await worker.start(_REGISTER * self.pace)
            if ready:
                await until(lambda: worker.notes("ready"), _READY, "a first process is ready")
            elif worker.settings.idle:
                await until(lambda: worker.notes("prewarm"), _READY, "a first spawn")
        return worker

    def say(self, text: str) -> None:
        """Add to what the table shows."""
        self.found.append(text)

    def expect(self, right: bool, text: str) -> None:
        """Add to what the table shows, and to what is wrong unless it is right."""
        self.found.append(text)
        if not right:
            self.wrong.append(text)

    async def sick_for(self, worker: Worker, seconds: float) -> None:
        """Wait until spawns of the worker have failed for so long."""
        first = worker.notes("prewarm")[0].at
        await until(lambda: time.monotonic() - first > seconds, seconds + 1, "the outage")

    async def first_call(self) -> None:
        """Have a call served: by the warm process, so that the next waits, or by a first."""
        start = time.monotonic()
        while True:
            call = await self.caller.call(30 * self.pace)
            if call.outcome == "served":
                return
            late = time.monotonic() - start > _HEARD * self.pace
            if call.outcome not in ("lost", "refused") or late:
                raise TooLateError(f"the first call: {call.outcome}")
            await asyncio.sleep(0.5)  # the caller's pause

    async def waiting_calls(self, count: int, *, join: bool = True) -> list[Call]:
        """Make calls, and wait until a worker has accepted each of them."""
        accepted: list[Call] = []
        for _ in range(_TRIES):
            calls = [await self.caller.dispatch(join=join) for _ in range(count - len(accepted))]
            await until(
                partial(self._all_answered, calls),
                self.pace * (10 + count / 10),
                f"an answer for {count} calls",
            )
            accepted += [call for call in calls if self.server.jobs(call.room)]
            if len(accepted) == count:
                return accepted
        raise TooLateError(f"a worker accepts {count} calls: {len(accepted)}")

    def _all_answered(self, calls: list[Call]) -> bool:
        """Whether a worker has accepted each call, or nobody will."""
        return all(self.server.jobs(call.room) or self.caller.look(call) for call in calls)
