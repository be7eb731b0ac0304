"""A worker whose pool is scripted and whose messages to the LiveKit server are recorded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

import features
from aiohttp import web
from livekit import agents
from livekit.agents import JobRequest
from livekit.agents.ipc import proc_pool
from livekit.protocol import agent, models

JOB_ID = "AJ_promise12"
SECRETS = {
    "identity": "identity-of-jane-doe",
    "name": "Jane Doe the participant",
    "metadata": "metadata-with-a-phone-number",
    "room_metadata": "metadata-of-the-room",
    "token": "eyJhbGciOi.room-token.secret",
}

Launch = Callable[[Any], Awaitable[None]]


class FakePool:
    """Stands where the process pool is, and ends every launch as it is told."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self.launched: list[Any] = []
        self.cancelled = 0
        self.processes: list[Any] = []
        self.closed = False

    async def launch_job(self, info: Any) -> None:
        self.launched.append(info)
        try:
            await self._launch(info)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def get_by_job_id(self, job_id: str) -> Any:
        return None

    def _close_proc(self, proc: Any) -> None:
        self.closing = asyncio.ensure_future(proc.aclose())

    def on(self, event: str, callback: Callable[[Any], None]) -> None:
        pass

    def set_target_idle_processes(self, num_idle_processes: int) -> None:
        pass

    async def start(self) -> None:
        pass

    async def aclose(self) -> None:
        self.closed = True


class FakeClosable:
    async def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


async def _never_called(context: Any) -> None:
    raise AssertionError("no job runs here")


def _make_job(id: str) -> agent.Job:
    room = models.Room(sid="RM_1", name="a room", metadata=SECRETS["room_metadata"])
    return agent.Job(id=id, type=agent.JobType.JT_ROOM, room=room)


async def _answer(request: JobRequest) -> None:
    if request.id != JOB_ID:
        await request.reject()
        return
    await request.accept(
        identity=SECRETS["identity"], name=SECRETS["name"], metadata=SECRETS["metadata"]
    )


# Seconds after which something counts as never coming, on a host however busy.
GUARD = 60.0


async def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


class Worker:
    """A worker without a network: what it would send ends up in `sent`."""

    def __init__(self, launch: Launch) -> None:
        self.pool = FakePool(launch)
        self.sent: list[agent.WorkerMessage] = []
        server = self._make_server()
        self.server = server
        loop = asyncio.get_running_loop()
        closed = loop.create_future()
        values: dict[str, Any] = {
            "_loop": loop,
            "_devmode": False,
            features.LAUNCH_TASKS: set(),
            "_pending_assignments": {},
            "_close_future": closed,
            "_inference_executor": None,
            "_proc_pool": self.pool,
            "_worker_load": 0.0,
            "_reserved_slots": 0,
            "_conn_task": None,
            "_load_task": None,
            "_http_session": FakeClosable(),
            "_http_server": FakeClosable(),
            "_api": FakeClosable(),
            "_prometheus_server": None,
            "_previous_status": agent.WorkerStatus.WS_AVAILABLE,
            # closing the connection is the last step; run() would end then
            "_msg_chan": mock.Mock(close=lambda: closed.set_result(None)),
            "_id": "worker-id",
            "_closed": False,
            "_draining": False,
            "_connecting": False,
            "_request_fnc": _answer,
            "_load_fnc": lambda: 0.0,
            "_queue_msg": self._queue_msg,
        }
        for name, value in values.items():
            setattr(server, name, value)
        if hasattr(server, "_opts"):  # a Worker asks its options
            server._opts.request_fnc = _answer

    @staticmethod
    def _make_server() -> Any:
        """Make an AgentServer or, where there is none, the Worker that it has replaced."""
        options = {"ws_url": "ws://localhost:1", "api_key": "key", "api_secret": "secret"}
        if hasattr(agents, "AgentServer"):
            return agents.AgentServer(load_threshold=1.0, **options)
        worker_options = agents.WorkerOptions(
            entrypoint_fnc=_never_called, load_threshold=1.0, **options
        )
        return agents.Worker(worker_options)

    async def _queue_msg(self, msg: agent.WorkerMessage) -> None:
        copy = agent.WorkerMessage()
        copy.CopyFrom(msg)
        self.sent.append(copy)

    async def offer(self) -> None:
        """Offer a job, as the server does, and assign it once the worker has accepted it."""
        job = _make_job(JOB_ID)
        await self.server._answer_availability(agent.AvailabilityRequest(job=job))
        await _until(
            lambda: JOB_ID in self.server._pending_assignments, "the worker never accepted the job"
        )
        self.server._handle_assignment(agent.JobAssignment(job=job, token=SECRETS["token"]))

    async def settle(self) -> None:
        """Wait for the end of every launch, and of what it reports."""

        async def idle() -> None:
            while tasks := set(getattr(self.server, features.LAUNCH_TASKS)):
                await asyncio.wait(tasks)

        await asyncio.wait_for(idle(), GUARD)
        await self.delivered()

    async def delivered(self) -> None:
        """Let the reports arrive that are under way."""
        for _ in range(20):  # reports sent from a task of their own
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        """Release what the worker holds; here, nothing."""

    def reserved(self) -> int:
        """How much of the worker is still kept for a launch."""
        left = getattr(self.server, features.LAUNCH_TASKS)
        return int(self.server._reserved_slots) + len(self.server._pending_assignments) + len(left)

    def reports(self) -> list[Any]:
        """The job updates that were sent so far."""
        return [m.update_job for m in self.sent if m.WhichOneof("message") == "update_job"]


class CoreWorker(Worker):
    """A worker with a compiled core, which keeps the connection and the jobs.

    It runs whole, against a LiveKit server that is played here.
    """

    def __init__(self, launch: Launch) -> None:
        self.pool = FakePool(launch)
        self.sent: list[agent.WorkerMessage] = []
        self._offers = 0

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        self._socket = web.WebSocketResponse()
        await self._socket.prepare(request)
        async for received in self._socket:
            self.sent.append(agent.WorkerMessage.FromString(received.data))
        return self._socket

    async def _send(self, **message: Any) -> None:
        await self._socket.send_bytes(agent.ServerMessage(**message).SerializeToString())

    def _answered(self, job_id: str) -> bool:
        return any(m.availability.job_id == job_id for m in self.sent)

    async def _ask(self, job_id: str) -> None:
        await self._send(availability=agent.AvailabilityRequest(job=_make_job(job_id)))
        await _until(lambda: self._answered(job_id), f"the worker never answered {job_id}")

    async def offer(self) -> None:
        app = web.Application()
        app.router.add_get("/agent", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.server = agents.AgentServer(
            ws_url=f"ws://{host}:{port}",
            api_key="key",
            api_secret="secret" * 8,
            host=host,
            port=0,
            load_fnc=lambda: 0.0,
            load_threshold=1.0,
        )
        self.server.rtc_session(_never_called, on_request=_answer)
        with mock.patch.object(proc_pool, "ProcPool", lambda **options: self.pool):
            self._running = asyncio.ensure_future(self.server.run())
            await _until(lambda: bool(self.sent), "the worker never registered")
        info = models.ServerInfo(protocol=15)
        await self._send(register=agent.RegisterWorkerResponse(worker_id="w", server_info=info))
        await self._ask(JOB_ID)
        job = _make_job(JOB_ID)
        await self._send(assignment=agent.JobAssignment(job=job, token=SECRETS["token"]))
        await _until(lambda: bool(self.pool.launched), "the worker never launched the job")

    async def settle(self) -> None:
        if not self.pool.closed:
            slots = self.server._conn.snapshot
            await _until(lambda: slots()["reserved_slots"] == 0, "the launch never ended")
            await self.delivered()

    async def delivered(self) -> None:
        # messages keep their order: what was sent before the answer to another offer is here
        self._offers += 1
        await self._ask(f"AJ_{self._offers}")

    async def close(self) -> None:
        await asyncio.wait_for(self.server.aclose(), GUARD)
        await self._running
        await self._runner.cleanup()

    def reserved(self) -> int:
        snapshot = self.server._conn.snapshot()
        return int(snapshot["reserved_slots"] + snapshot["active_jobs"])
