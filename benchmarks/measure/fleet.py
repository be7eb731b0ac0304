"""Measure a fleet: many workers of which a tenth is sick, calls, and a server that chooses by load.

In virtual time, with the release's own worker and pool, and fake executors: T = 2 s, so W = 7 s. On
the sick ones prewarm raises, from the beginning. A while later calls come, two a worker, and go on
to the end. The server does what a real one does (tests/e2e/test_rules.py): it chooses among the
workers that said last, every 2.5 s, that they are available, at random by 1 - load; who declines is
not asked again for that call, and where nobody is left the call is refused.

With the option `worker`, the path of a worker.py, that one takes the place of the release's own: so
the patched pool is measured with the unpatched worker.
"""

from __future__ import annotations

import asyncio
import bisect
import importlib.abc
import importlib.machinery
import importlib.util
import math
import random
import sys
import time
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import common
import virtual_time

T = 2.0
W = T + 5.0
# Seconds: until calls come, in which they come, and the time that a call has for its end. All
# workers say how they are as often as this.
BEFORE, DURING, PATIENCE, STATUS = W + 5.0, 10.0, 3 * W + 1.0, 2.5
CALLS, SICK = 2, 0.1
IDLE, AT_ONCE, ROOM = 1, 4, 8
TAKES = 1.0
# Until when the answers are counted.
WITHIN = [tenths / 10 for tenths in range(21)] + [5.0, 10.0, 15.0, 20.0]


class OtherWorker(importlib.abc.MetaPathFinder):
    """Has `livekit.agents.worker` come from another file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "livekit.agents.worker":
            return None
        return importlib.util.spec_from_file_location(fullname, self._path)


class Executor:
    """Ready after a while, or failing, as its worker is well or sick; its job does not end."""

    started = True
    user_arguments: Any = None

    def __init__(self, member: Any) -> None:
        self.id = str(id(self))
        self._member = member
        self._closed = asyncio.Event()
        self.running_job: Any = None

    @property
    def status(self) -> Any:
        raise RuntimeError("job status not available")

    def logging_extra(self) -> dict[str, Any]:
        return {}

    async def start(self) -> None:
        pass

    async def initialize(self) -> None:
        await asyncio.sleep(TAKES)
        if self._member.sick:
            raise RuntimeError("process initialization failed")

    async def launch_job(self, info: Any) -> None:
        self.running_job = info
        self._member.jobs += 1
        self._member.fleet.launched(info.job.id)

    async def join(self) -> None:
        await self._closed.wait()

    async def aclose(self) -> None:
        self._closed.set()


def make_member_class() -> Any:
    """Return the class of the fleet's workers; only now may the release be imported."""
    import workers
    from livekit.protocol import agent, models
    from real_pools import make_pool

    class Member(workers.Worker):
        """A worker with a pool of its own; what it says goes to the fleet's server."""

        def __init__(self, fleet: Fleet, sick: bool) -> None:
            super().__init__(None)  # type: ignore[arg-type]  # the pool is replaced
            self.fleet, self.sick, self.jobs = fleet, sick, 0
            self.load, self.available = 0.0, True
            server = self.server
            pool: Any = make_pool(idle=IDLE, initialize_timeout=T)
            pool._initialize_process_fnc = self  # by which the executors know whose they are
            server._proc_pool = pool
            server._num_idle_processes = IDLE
            server._request_fnc = self._accept
            server._refresh_worker_load = self._refresh
            server._simulation = False
            if hasattr(server, "_on_pool_failing_changed"):
                pool.on("failing_changed", server._on_pool_failing_changed)
            self.starting = asyncio.ensure_future(pool.start())

        async def _refresh(self) -> None:
            self.server._worker_load = self.jobs / ROOM

        async def _accept(self, request: Any) -> None:
            await request.accept(name="agent")

        async def _queue_msg(self, msg: Any) -> None:
            kind = msg.WhichOneof("message")
            if kind == "availability":
                self.fleet.answered(msg.availability.job_id, msg.availability.available)
            elif kind == "update_job" and msg.update_job.status == agent.JobStatus.JS_FAILED:
                self.fleet.failed(msg.update_job.job_id)
            elif kind == "update_worker":
                self.load = msg.update_worker.load
                self.available = msg.update_worker.status == agent.WorkerStatus.WS_AVAILABLE

        async def say_how_it_is(self) -> None:
            await self._refresh()
            await self.server._update_worker_status()

        async def ask(self, id: str, answer: asyncio.Future[bool]) -> bool:
            """Offer a call; return whether the worker takes it, in which case it has it."""
            room = models.Room(sid="RM_1", name="a room")
            job = agent.Job(id=id, type=agent.JobType.JT_ROOM, room=room)
            await self.server._answer_availability(agent.AvailabilityRequest(job=job))
            if not await answer:
                return False
            self.server._handle_assignment(agent.JobAssignment(job=job, token="token"))
            return True

    return Member


def quantile(answers: Sequence[float], silent: int, share: float) -> float | None:
    """Return within which time such a share of all calls is answered; None if it never is.

    `answers` are the times of those that are, in order; `silent` is the number of the others.
    """
    rank = math.ceil(share * (len(answers) + silent) - 1e-9)
    return answers[rank - 1] if rank <= len(answers) else None


class Fleet:
    """The workers, the server that chooses among them, and what became of the calls."""

    def __init__(self, size: int, seed: int) -> None:
        self._rng = random.Random(seed)
        member = make_member_class()
        sick = set(self._rng.sample(range(size), int(size * SICK)))
        self.members: list[Any] = [member(self, number in sick) for number in range(size)]
        self._answers: dict[str, asyncio.Future[bool]] = {}
        self._came: dict[str, float] = {}
        self.served: dict[str, float] = {}
        self.told: dict[str, float] = {}  # refused or failed

    def _since(self, id: str) -> float:
        return asyncio.get_running_loop().time() - self._came[id]

    def answered(self, id: str, available: bool) -> None:
        """Hear a worker's answer to a call."""
        if id in self._answers and not self._answers[id].done():
            self._answers[id].set_result(available)

    def launched(self, id: str) -> None:
        """Hear that the agent of a call has a process."""
        self.served.setdefault(id, self._since(id))

    def failed(self, id: str) -> None:
        """Hear that a worker could not serve a call."""
        self.told.setdefault(id, self._since(id))

    def choose(self, asked: set[int]) -> int | None:
        """Return the number of a worker to ask, at random by 1 - load; None if there is none."""

        def weight(number: int) -> float:
            one = self.members[number]
            free = one.available and number not in asked
            return max(0.0, 1.0 - one.load) if free else 0.0

        for _ in range(100):  # this is the same choice, and cheap where most are free
            number = self._rng.randrange(len(self.members))
            if self._rng.random() < weight(number):
                return number
        weights = [weight(number) for number in range(len(self.members))]
        if not any(weights):
            return None
        return self._rng.choices(range(len(weights)), weights)[0]

    async def call(self, id: str) -> None:
        """Find a worker for a call."""
        loop = asyncio.get_running_loop()
        self._came[id] = loop.time()
        asked: set[int] = set()
        while (number := self.choose(asked)) is not None:
            asked.add(number)
            self._answers[id] = loop.create_future()
            if await self.members[number].ask(id, self._answers[id]):
                return
        self.told[id] = self._since(id)

    async def statuses(self) -> None:
        """Have every worker say how it is, again and again."""
        while True:
            for one in self.members:
                await one.say_how_it_is()
            await asyncio.sleep(STATUS)

    async def run(self) -> common.Found:
        """Let the calls come; return what became of them."""
        loop = asyncio.get_running_loop()
        telling = asyncio.ensure_future(self.statuses())
        await asyncio.sleep(BEFORE)
        count = CALLS * len(self.members)
        begin, tasks = loop.time(), []
        for number, at in enumerate(sorted(self._rng.uniform(0, DURING) for _ in range(count))):
            await asyncio.sleep(max(0.0, begin + at - loop.time()))
            tasks.append(asyncio.ensure_future(self.call(f"AJ_{number}")))
        await asyncio.sleep(PATIENCE)
        telling.cancel()
        answers = sorted((self.told | self.served).values())
        silent = count - len(answers)
        return {
            "calls": count,
            "served": len(self.served),
            "told": len(self.told.keys() - self.served.keys()),
            "silent": silent,
            "median": quantile(answers, silent, 0.5),
            "p95": quantile(answers, silent, 0.95),
            "p99": quantile(answers, silent, 0.99),
            "slowest": answers[-1] if answers else None,
            # how many are answered within each of these times
            "within": [[at, bisect.bisect(answers, at + 1e-6)] for at in WITHIN],
        }


def measure(options: dict[str, Any]) -> common.Found:
    """Return a row for each size of the fleet, with the CPU seconds that it took to simulate."""
    if options.get("worker"):
        sys.meta_path.insert(0, OtherWorker(options["worker"]))
    from livekit.agents.ipc import job_proc_executor

    def create(**given: Any) -> Executor:
        return Executor(given["initialize_process_fnc"])

    async def main(size: int) -> common.Found:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual_time.VirtualTimeLoop)
        loop.end = 1e6
        return await Fleet(size, options["seed"]).run()

    rows = []
    with (
        mock.patch.object(job_proc_executor, "ProcJobExecutor", create),
        # a worker of the suite has one, which costs more than all else of it
        mock.patch("unittest.mock.Mock", SimpleNamespace),
        mock.patch("livekit.agents.ipc.proc_pool.MAX_CONCURRENT_INITIALIZATIONS", AT_ONCE),
    ):
        for size in options["sizes"]:
            start = time.process_time()
            found = virtual_time.run(main(size))
            rows.append({"workers": size, **found, "cpu": time.process_time() - start})
    return {"rows": rows}


if __name__ == "__main__":
    common.main(measure)
