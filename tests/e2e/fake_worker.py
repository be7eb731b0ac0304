"""A worker that says what a test tells it to, in the protocol, to either server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import aiohttp
from livekit import api
from livekit.protocol import agent
from server import Server
from waiting import until

# What a worker answers to an offer; None: nothing.
Answer = Callable[[agent.AvailabilityRequest], Awaitable[agent.AvailabilityResponse | None]]

WAIT = 15.0


async def accept(offer: agent.AvailabilityRequest) -> agent.AvailabilityResponse:
    """Take the job."""
    identity = f"agent-{offer.job.id}"
    return agent.AvailabilityResponse(
        job_id=offer.job.id, available=True, participant_identity=identity
    )


async def decline(offer: agent.AvailabilityRequest) -> agent.AvailabilityResponse:
    """Leave the job to another worker."""
    return agent.AvailabilityResponse(job_id=offer.job.id, available=False)


async def reject(offer: agent.AvailabilityRequest) -> agent.AvailabilityResponse:
    """End the call: nobody is to have the job."""
    return agent.AvailabilityResponse(job_id=offer.job.id, available=False, terminate=True)


def late(seconds: float) -> Answer:
    """Take the job, so many seconds later."""

    async def answer(offer: agent.AvailabilityRequest) -> agent.AvailabilityResponse:
        await asyncio.sleep(seconds)
        return await accept(offer)

    return answer


class FakeWorker:
    """A worker on the server, from `async with` to its end."""

    def __init__(self, server: Server, name: str, answer: Answer = accept) -> None:
        self.server, self.name, self.answer = server, name, answer
        self.offers: list[agent.Job] = []
        self.assignments: list[agent.JobAssignment] = []
        self.terminations: list[str] = []
        self.id = ""
        self.answered = 0
        self._pongs = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FakeWorker:
        token = api.AccessToken(self.server.key, self.server.secret)
        token = token.with_grants(api.VideoGrants(agent=True))
        self._http = aiohttp.ClientSession()
        try:
            self._socket = await self._http.ws_connect(
                f"{self.server.url}/agent",
                headers={"Authorization": f"Bearer {token.to_jwt()}"},
                autoping=True,
            )
        except BaseException:
            await self._http.close()
            raise
        await self.send(register=agent.RegisterWorkerRequest(agent_name=self.name, version="1"))
        self._keep(self._listen())
        await until(lambda: self.id, WAIT, "the server registers the worker")
        await self._heard()  # only now do calls find it
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self._socket.close()
        await self._http.close()
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks)

    def _keep(self, what: Awaitable[None]) -> None:
        task = asyncio.ensure_future(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send(self, **message: Any) -> None:
        """Say something: the name of a field of WorkerMessage, and its value."""
        await self._socket.send_bytes(agent.WorkerMessage(**message).SerializeToString())

    async def status(self, *, full: bool = False, load: float = 0.0) -> None:
        """Say how busy it is, and have the server take that in."""
        status = agent.WorkerStatus.WS_FULL if full else agent.WorkerStatus.WS_AVAILABLE
        await self.send(update_worker=agent.UpdateWorkerStatus(status=status, load=load))
        await self._heard()

    async def _heard(self) -> None:
        """Wait until the server has taken in what was said so far: it keeps the order."""
        before = self._pongs
        await self.send(ping=agent.WorkerPing(timestamp=1))
        await until(lambda: self._pongs > before, WAIT, "the server answers a ping")

    async def report(self, job_id: str, status: agent.JobStatus, error: str = "") -> None:
        """Say how a job goes."""
        await self.send(update_job=agent.UpdateJobStatus(job_id=job_id, status=status, error=error))

    async def _listen(self) -> None:
        async for received in self._socket:
            message = agent.ServerMessage.FromString(received.data)
            if message.HasField("register"):
                self.id = message.register.worker_id
            elif message.HasField("availability"):
                self.offers.append(message.availability.job)
                self._keep(self._reply(message.availability))
            elif message.HasField("assignment"):
                self.assignments.append(message.assignment)
            elif message.HasField("termination"):
                self.terminations.append(message.termination.job_id)
            elif message.HasField("pong"):
                self._pongs += 1

    async def _reply(self, offer: agent.AvailabilityRequest) -> None:
        said = await self.answer(offer)
        if said is not None:
            await self.send(availability=said)
            self.answered += 1

    def took(self, job_id: str) -> bool:
        """Whether the job was assigned to it."""
        return any(assignment.job.id == job_id for assignment in self.assignments)

    async def leave(self) -> None:
        """End the connection."""
        await self._socket.close()
