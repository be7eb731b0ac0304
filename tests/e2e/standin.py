"""A stand-in for livekit-server: the rules by which it deals out agents' jobs, and no media.

    python standin.py --config server.yaml

It speaks the protocol itself, over HTTP (what livekit-api calls) and a websocket (what a worker
calls), checks each token, and logs one JSON object a line in the real server's words. Its rules are
the real one's, and test_rules.py holds both to them:

- a worker has three seconds to answer; after that the call is lost, whoever else could take it
- a worker that declines is passed over for the next one; one that declines for good ends the call
- workers that say that they are full are not asked; the others are drawn at random, by 1 - load
- when all are full or have a load of 0.7 or more, no worker is asked
- a job that failed has ended: nobody dispatches it again
- deleting a dispatch tells the workers of its jobs, which have ended then

There is no room behind it: an agent that comes to the door (`/rtc`) with the token of its job is
logged as `agent at the door` and sent away. That counts as served.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web
from google.protobuf.message import DecodeError, Message
from livekit import api
from livekit.protocol import agent, agent_dispatch, models, room

# Seconds for a worker's answer, and for its first message.
ANSWER, REGISTER = 3.0, 10.0
# Seconds that a server waits for other nodes when one has answered that it has no worker to ask.
ASKS_AROUND = 0.2

# A server takes a call when one worker at least says that its load is below this.
TARGET_LOAD = 0.7

_ENDED = (agent.JobStatus.JS_SUCCESS, agent.JobStatus.JS_FAILED)


def log(text: str, **fields: Any) -> None:
    """One event, as the real server logs it."""
    print(json.dumps({"msg": text} | fields), flush=True)


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(6)}"


class NotAvailableError(Exception):
    """The worker declines the job, or is gone."""


@dataclass(eq=False)
class Worker:
    """A worker that has registered."""

    socket: web.WebSocketResponse
    name: str
    id: str = field(default_factory=lambda: new_id("AW"))
    status: int = agent.WorkerStatus.WS_AVAILABLE
    load: float = 0.0
    jobs: dict[str, agent.Job] = field(default_factory=dict)
    asked: dict[str, asyncio.Future[agent.AvailabilityResponse]] = field(default_factory=dict)

    async def send(self, **message: Any) -> None:
        await self.socket.send_bytes(agent.ServerMessage(**message).SerializeToString())

    def update_job(self, update: agent.UpdateJobStatus) -> None:
        """Take note of a job's status; of jobs that have ended nobody hears again."""
        job = self.jobs.get(update.job_id)
        if job is None:
            log("received job update for unknown job", jobID=update.job_id)
            return
        job.state.status = update.status
        job.state.error = update.error
        if update.status in _ENDED:
            del self.jobs[update.job_id]
            status = agent.JobStatus.Name(update.status)
            log("job ended", jobID=update.job_id, status=status, error=update.error)

    def gone(self) -> None:
        """It has left: whoever waits for its answer learns so."""
        for answer in self.asked.values():
            if not answer.done():
                answer.set_exception(NotAvailableError("worker closed"))


class StandIn:
    """The rooms, dispatches and workers of one server."""

    def __init__(self, key: str, secret: str) -> None:
        self.key, self.secret = key, secret
        self.workers: list[Worker] = []
        self.rooms: dict[str, models.Room] = {}
        self.dispatches: dict[str, dict[str, agent_dispatch.AgentDispatch]] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def make_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/agent", self.serve_worker)
        app.router.add_get("/rtc", self.at_the_door)
        app.router.add_get("/rtc/{rest:.*}", self.at_the_door)
        calls: dict[str, Callable[[web.Request], Awaitable[Message]]] = {
            "AgentDispatchService/CreateDispatch": self.create_dispatch,
            "AgentDispatchService/DeleteDispatch": self.delete_dispatch,
            "AgentDispatchService/ListDispatch": self.list_dispatch,
            "RoomService/CreateRoom": self.create_room,
            "RoomService/DeleteRoom": self.delete_room,
        }
        for path, call in calls.items():
            app.router.add_post(f"/twirp/livekit.{path}", self._answering(call))
        return app

    def _answering(
        self, call: Callable[[web.Request], Awaitable[Message]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Wrap a call of the HTTP interface: a message comes in and one goes out."""

        async def answer(request: web.Request) -> web.Response:
            body = (await call(request)).SerializeToString()
            return web.Response(body=body, content_type="application/protobuf")

        return answer

    def _grants(self, request: web.Request) -> api.VideoGrants:
        """What the caller's token allows. Raises 401 for a bad one."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = request.query.get("access_token", "")
        try:
            claims = api.TokenVerifier(self.key, self.secret).verify(token)
        except Exception as error:  # PyJWT has one class for each way a token can be bad
            raise web.HTTPUnauthorized(text=f"invalid token: {error}") from None
        if claims.video is None:
            raise web.HTTPUnauthorized(text="permissions denied")
        return claims.video

    def _require(self, request: web.Request, room_name: str | None) -> None:
        """Raise 401 unless the token allows to change the room or, with None, to make rooms."""
        grants = self._grants(request)
        allowed = (
            grants.room_create
            if room_name is None
            else grants.room_admin and grants.room == room_name
        )
        if not allowed:
            raise web.HTTPUnauthorized(text="permissions denied")

    # Rooms and dispatches.

    async def create_room(self, request: web.Request) -> models.Room:
        message = room.CreateRoomRequest.FromString(await request.read())
        self._require(request, None)
        made = self._open(message.name)
        for wanted in message.agents:
            self._add_dispatch(message.name, wanted.agent_name, wanted.metadata)
        return made

    def _open(self, name: str) -> models.Room:
        return self.rooms.setdefault(name, models.Room(sid=new_id("RM"), name=name))

    async def delete_room(self, request: web.Request) -> room.DeleteRoomResponse:
        message = room.DeleteRoomRequest.FromString(await request.read())
        grants = self._grants(request)
        if not grants.room_create:
            raise web.HTTPUnauthorized(text="permissions denied")
        self.rooms.pop(message.room, None)
        self.dispatches.pop(message.room, None)
        return room.DeleteRoomResponse()

    async def create_dispatch(self, request: web.Request) -> Message:
        message = agent_dispatch.CreateAgentDispatchRequest.FromString(await request.read())
        self._require(request, message.room)
        self._open(message.room)
        return self._add_dispatch(message.room, message.agent_name, message.metadata)

    def _add_dispatch(self, name: str, agent_name: str, metadata: str) -> Message:
        made = agent_dispatch.AgentDispatch(
            id=new_id("AD"), room=name, agent_name=agent_name, metadata=metadata
        )
        self.dispatches.setdefault(name, {})[made.id] = made
        task = asyncio.create_task(self._dispatch(made))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return made

    async def list_dispatch(self, request: web.Request) -> Message:
        message = agent_dispatch.ListAgentDispatchRequest.FromString(await request.read())
        self._require(request, message.room)
        found = self.dispatches.get(message.room, {}).values()
        wanted = [d for d in found if message.dispatch_id in ("", d.id)]
        return agent_dispatch.ListAgentDispatchResponse(agent_dispatches=wanted)

    async def delete_dispatch(self, request: web.Request) -> agent_dispatch.AgentDispatch:
        message = agent_dispatch.DeleteAgentDispatchRequest.FromString(await request.read())
        self._require(request, message.room)
        dispatch = self.dispatches.get(message.room, {}).pop(message.dispatch_id, None)
        if dispatch is None:
            raise web.HTTPNotFound(text="dispatch not found")
        for worker in self.workers:
            for job in [j for j in worker.jobs.values() if j.dispatch_id == dispatch.id]:
                await worker.send(termination=agent.JobTermination(job_id=job.id))
                worker.update_job(
                    agent.UpdateJobStatus(job_id=job.id, status=agent.JobStatus.JS_SUCCESS)
                )
        return dispatch

    # Jobs.

    async def _dispatch(self, dispatch: agent_dispatch.AgentDispatch) -> None:
        """Find a worker for the dispatch; tell the log if there is none."""
        if not any(worker.name == dispatch.agent_name for worker in self.workers):
            text = "not dispatching agent job since no worker is available"
            words = {"agentName": dispatch.agent_name, "jobType": "JT_ROOM"}
            log(text, **words, room=dispatch.room)
            return
        job = agent.Job(
            id=new_id("AJ"),
            dispatch_id=dispatch.id,
            type=agent.JobType.JT_ROOM,
            room=self._open(dispatch.room),
            agent_name=dispatch.agent_name,
            metadata=dispatch.metadata,
        )
        if not self._has_room_for(dispatch.agent_name):
            await asyncio.sleep(ASKS_AROUND)
            error = "no servers available (received 1 responses)"
            words = {"agentName": dispatch.agent_name, "jobType": "JT_ROOM"}
            log("failed to send job request", **words, error=error)
            return
        words = {"jobID": job.id, "agentName": job.agent_name, "jobType": "JT_ROOM"}
        words["room"] = job.room.name
        tried: list[Worker] = []
        deadline = asyncio.get_running_loop().time() + ANSWER  # for all of them together
        while (worker := self._draw(dispatch.agent_name, tried)) is not None:
            tried.append(worker)
            try:
                taken = await self._offer(worker, job, deadline)
            except NotAvailableError as error:
                log("failed to assign job to worker", **words, retry=True, error=str(error))
            except TimeoutError:
                late = "context deadline exceeded"
                log("failed to assign job to worker", **words, retry=False, error=late)
                return
            else:
                if taken:
                    log("assigned job to worker", **words, workerID=worker.id)
                dispatch.state.jobs.append(job)
                return
        log("no worker available to handle job", **words)

    def _has_room_for(self, name: str) -> bool:
        """Whether a worker of that name is below the load up to which a server takes calls."""
        return any(
            worker.name == name
            and worker.status == agent.WorkerStatus.WS_AVAILABLE
            and worker.load < TARGET_LOAD
            for worker in self.workers
        )

    def _draw(self, name: str, tried: list[Worker]) -> Worker | None:
        """Draw one of the workers that may be asked, at random, by what they are free."""
        free = {
            worker: max(0.0, 1 - worker.load)
            for worker in self.workers
            if worker.name == name
            and worker not in tried
            and worker.status == agent.WorkerStatus.WS_AVAILABLE
        }
        if not sum(free.values()):
            return None
        return random.choices(list(free), list(free.values()))[0]

    async def _offer(self, worker: Worker, job: agent.Job, deadline: float) -> bool:
        """Offer the job and assign it; False if the worker says that nobody is to have it.

        Raises `NotAvailableError` or `TimeoutError`.
        """
        loop = asyncio.get_running_loop()
        answer = worker.asked[job.id] = loop.create_future()
        job.state.status = agent.JobStatus.JS_RUNNING
        job.state.worker_id = worker.id
        try:
            await worker.send(availability=agent.AvailabilityRequest(job=job))
            async with asyncio.timeout_at(deadline):
                said = await answer
        except ConnectionError as error:
            raise NotAvailableError(str(error)) from None
        finally:
            del worker.asked[job.id]
        if said.terminate:
            job.state.status = agent.JobStatus.JS_SUCCESS
            return False
        if not said.available:
            raise NotAvailableError("worker not available")
        job.state.participant_identity = said.participant_identity
        worker.jobs[job.id] = job
        token = self._agent_token(job.room.name, said)
        await worker.send(assignment=agent.JobAssignment(job=job, token=token))
        return True

    def _agent_token(self, room_name: str, said: agent.AvailabilityResponse) -> str:
        """The token with which the agent may join the room."""
        grants = api.VideoGrants(
            room_join=True, agent=True, room=room_name, can_publish=True, can_subscribe=True
        )
        token = api.AccessToken(self.key, self.secret).with_identity(said.participant_identity)
        token = token.with_name(said.participant_name).with_metadata(said.participant_metadata)
        signed: str = token.with_kind("agent").with_grants(grants).to_jwt()
        return signed

    # Workers and agents.

    async def serve_worker(self, request: web.Request) -> web.WebSocketResponse:
        if not self._grants(request).agent:
            raise web.HTTPUnauthorized(text="permissions denied")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        worker: Worker | None = None
        try:
            async with asyncio.timeout(REGISTER) as limit:
                async for received in socket:
                    if received.type is not WSMsgType.BINARY:
                        break
                    message = agent.WorkerMessage.FromString(received.data)
                    if worker is None and message.HasField("register"):
                        limit.reschedule(None)
                        worker = await self._register(socket, message.register)
                    else:
                        await self._hear(socket, worker, message)
        except (DecodeError, TimeoutError, ConnectionError) as error:
            log("error reading from websocket", error=str(error))
        finally:
            if worker is not None:
                self.workers.remove(worker)
                worker.gone()
                log("closing worker", agentName=worker.name, workerID=worker.id)
        return socket

    async def _register(
        self, socket: web.WebSocketResponse, message: agent.RegisterWorkerRequest
    ) -> Worker:
        worker = Worker(socket, message.agent_name)
        info = models.ServerInfo(protocol=16, agent_protocol=1, version="stand-in", node_id="only")
        await worker.send(
            register=agent.RegisterWorkerResponse(worker_id=worker.id, server_info=info)
        )
        self.workers.append(worker)
        log("worker registered", agentName=worker.name, workerID=worker.id)
        return worker

    async def _hear(
        self, socket: web.WebSocketResponse, worker: Worker | None, message: agent.WorkerMessage
    ) -> None:
        """Take in what a worker says."""
        if message.HasField("ping"):
            pong = agent.WorkerPong(last_timestamp=message.ping.timestamp)
            await socket.send_bytes(agent.ServerMessage(pong=pong).SerializeToString())
        if worker is None:
            return
        if message.HasField("availability"):
            answer = worker.asked.get(message.availability.job_id)
            if answer is not None and not answer.done():
                answer.set_result(message.availability)
        elif message.HasField("update_worker"):
            if message.update_worker.HasField("status"):
                worker.status = message.update_worker.status
            worker.load = message.update_worker.load
        elif message.HasField("update_job"):
            worker.update_job(message.update_job)

    async def at_the_door(self, request: web.Request) -> web.Response:
        """An agent comes to join its room. There is none: it is noted and sent away."""
        grants = self._grants(request)
        if not (grants.room_join and grants.agent):
            raise web.HTTPUnauthorized(text="permissions denied")
        log("agent at the door", room=grants.room)
        raise web.HTTPForbidden(text="this stand-in has no rooms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--config", type=Path, required=True)
    config = json.loads(parser.parse_args().config.read_text("utf-8"))
    [(key, secret)] = config["keys"].items()
    log("starting the stand-in", port=config["port"])
    web.run_app(
        StandIn(key, secret).make_app(),
        host=config["bind_addresses"][0],
        port=config["port"],
        print=None,
        handle_signals=True,
        access_log=None,
        shutdown_timeout=1.0,
    )


if __name__ == "__main__":
    main()
