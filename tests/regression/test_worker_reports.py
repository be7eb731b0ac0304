"""Promise 12: when a job cannot be launched, the worker tells the server so, once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

import features
import pytest
from livekit import agents
from livekit.agents import JobRequest
from livekit.protocol import agent, models

JOB_ID = "AJ_promise12"
SECRETS = {
    "identity": "identity-of-jane-doe",
    "name": "Jane Doe the participant",
    "metadata": "metadata-with-a-phone-number",
    "room_metadata": "metadata-of-the-room",
    "token": "eyJhbGciOi.room-token.secret",
}


class FakePool:
    """Stands where the process pool is, and ends every launch as it is told."""

    def __init__(self, launch: Callable[[Any], Awaitable[None]]) -> None:
        self._launch = launch
        self.launched: list[Any] = []
        self.processes: list[Any] = []
        self.closed = False

    async def launch_job(self, info: Any) -> None:
        self.launched.append(info)
        await self._launch(info)

    def get_by_job_id(self, job_id: str) -> Any:
        return None

    async def aclose(self) -> None:
        self.closed = True


class FakeClosable:
    async def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


async def _succeed(info: Any) -> None:
    await asyncio.sleep(0)


async def _fail(info: Any) -> None:
    await asyncio.sleep(0.05)
    raise RuntimeError("no process became available after 3 attempts")


async def _fail_with_secrets(info: Any) -> None:
    raise RuntimeError(f"cannot launch {info!r} for " + ", ".join(SECRETS.values()))


def _make_server(**options: Any) -> Any:
    """Make an AgentServer or, where there is none, the Worker that it has replaced."""
    options = {"ws_url": "ws://localhost:1", "api_key": "key", "api_secret": "secret", **options}
    if hasattr(agents, "AgentServer"):
        return agents.AgentServer(load_threshold=1.0, **options)
    worker_options = agents.WorkerOptions(
        entrypoint_fnc=_never_called, load_threshold=1.0, **options
    )
    return agents.Worker(worker_options)


async def _never_called(context: Any) -> None:
    raise AssertionError("no job runs here")


class Worker:
    """A worker without a network: what it would send ends up in `sent`."""

    def __init__(self, launch: Callable[[Any], Awaitable[None]]) -> None:
        self.pool = FakePool(launch)
        self.sent: list[agent.WorkerMessage] = []
        server = _make_server()
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
            "_request_fnc": self._request,
            "_load_fnc": lambda: 0.0,
            "_queue_msg": self._queue_msg,
        }
        for name, value in values.items():
            setattr(server, name, value)
        if hasattr(server, "_opts"):  # a Worker asks its options
            server._opts.request_fnc = self._request

    async def _request(self, request: JobRequest) -> None:
        await request.accept(
            identity=SECRETS["identity"], name=SECRETS["name"], metadata=SECRETS["metadata"]
        )

    async def _queue_msg(self, msg: agent.WorkerMessage) -> None:
        copy = agent.WorkerMessage()
        copy.CopyFrom(msg)
        self.sent.append(copy)

    async def offer(self) -> None:
        """Offer a job, as the server does, and assign it once the worker has accepted it."""
        job = agent.Job(
            id=JOB_ID,
            type=agent.JobType.JT_ROOM,
            room=models.Room(sid="RM_1", name="a room", metadata=SECRETS["room_metadata"]),
        )
        await self.server._answer_availability(agent.AvailabilityRequest(job=job))
        deadline = time.monotonic() + 5
        while JOB_ID not in self.server._pending_assignments:
            assert time.monotonic() < deadline, "the worker never accepted the job"
            await asyncio.sleep(0.005)
        self.server._handle_assignment(agent.JobAssignment(job=job, token=SECRETS["token"]))

    async def settle(self) -> None:
        async def idle() -> None:
            while tasks := set(getattr(self.server, features.LAUNCH_TASKS)):
                await asyncio.wait(tasks)

        await asyncio.wait_for(idle(), 5)
        for _ in range(20):  # reports sent from a task of their own
            await asyncio.sleep(0.001)

    def reports(self) -> list[Any]:
        return [m.update_job for m in self.sent if m.WhichOneof("message") == "update_job"]


def _run(
    launch: Callable[[Any], Awaitable[None]],
    then: Callable[[Worker], Awaitable[None]] | None = None,
) -> Worker:
    async def main() -> Worker:
        worker = Worker(launch)
        await worker.offer()
        if then is not None:
            await then(worker)
        await worker.settle()
        return worker

    return asyncio.run(asyncio.wait_for(main(), 9))


def test_a_job_that_cannot_be_launched_is_reported_as_failed_once() -> None:
    worker = _run(_fail)
    reports = worker.reports()
    assert len(worker.pool.launched) == 1
    assert len(reports) == 1, f"{len(reports)} reports"
    assert reports[0].job_id == JOB_ID
    assert reports[0].status == agent.JobStatus.JS_FAILED
    assert reports[0].error.strip()


def test_a_job_that_is_launched_is_not_reported_as_failed() -> None:
    worker = _run(_succeed)
    assert len(worker.pool.launched) == 1
    assert worker.reports() == []


@pytest.mark.parametrize("launch", [_fail, _fail_with_secrets])
def test_the_error_text_carries_no_personal_data(
    launch: Callable[[Any], Awaitable[None]],
) -> None:
    reports = _run(launch).reports()
    assert len(reports) == 1
    for what, secret in SECRETS.items():
        assert secret not in reports[0].error, f"the error text gives away the {what}"


def test_the_logs_carry_no_personal_data(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="livekit.agents")
    _run(_fail)
    text = "\n".join(record.getMessage() for record in caplog.records)
    for what, secret in SECRETS.items():
        assert secret not in text, f"a log message gives away the {what}"


def test_drain_ends_and_the_failing_launch_is_reported() -> None:
    async def drain(worker: Worker) -> None:
        await asyncio.wait_for(worker.server.drain(timeout=None), 5)
        if features.DRAIN_WAITS_FOR_LAUNCHES:
            assert len(worker.reports()) == 1

    assert len(_run(_fail, drain).reports()) == 1


def test_aclose_ends_and_the_failing_launch_is_reported() -> None:
    async def close(worker: Worker) -> None:
        await asyncio.wait_for(worker.server.aclose(), 5)
        assert worker.pool.closed

    assert len(_run(_fail, close).reports()) == 1


def test_a_failed_launch_leaves_nothing_reserved() -> None:
    worker = _run(_fail)
    if features.RESERVES_SLOTS:
        assert worker.server._reserved_slots == 0
    assert worker.server._pending_assignments == {}
    assert not getattr(worker.server, features.LAUNCH_TASKS)
