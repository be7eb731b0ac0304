"""Measure the healthy path on a real livekit-server: from the dispatch of a call to its agent.

    python healthy.py OPTIONS

One worker of each label runs on one server, and they are called in turns, in an order that is drawn
anew for each round, so that whatever else the machine does meets all of them alike. The next
call comes when a new idle process is ready. Runs on the Python of the caller's side, which has the
dependency group `bench`; see `measure/common.py` for the options and what is printed.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "e2e"))

from calls import Caller
from server import Server, real_program
from waiting import until
from worker import Settings, Worker

# Seconds that only end what hangs: until a process is ready, and until a call is served.
_READY, _SERVED = 600.0, 60.0
# T, in seconds: nothing times out here.
TIMEOUT = 60.0
IDLE = 1


def joined(worker: Worker, room: str) -> float | None:
    """Return when the worker's agent had joined a room, in monotonic seconds, or None."""
    found = worker.notes("joined", room)
    return found[0].at if found else None


async def call(worker: Worker, caller: Caller) -> float:
    """Make a call; return the seconds from its dispatch until the agent has joined.

    Both ends are read from the machine's one monotonic clock, the second by the agent itself.
    Raises `TooLateError` if the call is not served.
    """
    ready = len(worker.notes("ready"))
    made = await caller.dispatch()
    await until(lambda: joined(worker, made.room) is not None, _SERVED, "the agent joins")
    at = joined(worker, made.room)
    assert at is not None
    await caller.hang_up(made)
    await until(lambda: len(worker.notes("ready")) > ready, _READY, "the next idle process")
    return at - made.dispatched


async def measure(options: dict[str, Any], folder: Path) -> dict[str, list[float]]:
    """Return the seconds of each call, in the order of the rounds, by release."""
    server = Server(real_program(Path(options["server"])), folder / "server")
    workers: dict[str, Worker] = {}
    rng = random.Random(options["seed"])
    try:
        await server.start()
        for number, (label, python) in enumerate(options["pythons"].items()):
            settings = Settings(timeout=TIMEOUT, idle=IDLE, unlimited=True)
            name = f"worker{number}"
            workers[label] = Worker(Path(python), server, folder / name, name, settings)
            await workers[label].start()
            await until(lambda w=workers[label]: w.notes("ready"), _READY, "a first process")  # type: ignore[misc]
        callers = {label: Caller(server, worker.agent_name) for label, worker in workers.items()}
        found: dict[str, list[float]] = {label: [] for label in workers}
        for label, worker in workers.items():
            await call(worker, callers[label])  # imports what a first call needs
        for number in range(options["rounds"]):
            for label in rng.sample(list(workers), len(workers)):
                found[label].append(await call(workers[label], callers[label]))
            print(f"round {number + 1} of {options['rounds']}", file=sys.stderr, flush=True)
        for caller in callers.values():
            await caller.close()
        return found
    finally:
        for worker in workers.values():
            await worker.kill()
        await server.stop()


def main() -> None:
    """Measure with the options of the command line, and print what was found as JSON."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory(
        prefix="procpool-bench-", ignore_cleanup_errors=True
    ) as folder:
        found = asyncio.run(measure(options, Path(folder)))
    print(json.dumps({"seconds": found}), flush=True)


if __name__ == "__main__":
    main()
