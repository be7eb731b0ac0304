"""A caller: joins a new room, has an agent dispatched to it, and sees what becomes of that."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass, field

from livekit import api, rtc
from livekit.protocol import agent
from server import ALL_FULL, Server
from waiting import TooLateError, until

# How often the caller tries to come into a room, which is not what is tested. The library limits
# the time of each; a try that is cancelled would end this process ("FFI Panic").
_JOINS = 5
# Seconds that a server waits at least for one of its nodes to say that it has a worker, less what
# its clock and ours may differ.
_ASKS_AROUND = 0.15
# Seconds to leave one.
_LEAVE = 5.0
# Seconds until a server has noted the job of a dispatch.
_NOTED = 10.0


@dataclass
class Call:
    """One call and its end. Times are seconds since the dispatch.

    `outcome` is one of
    - `served`: the agent has joined the room (at the stand-in: has come to its door)
    - `refused`: no worker takes it, and the server knows
    - `failed`: a worker had taken it, and has reported that it cannot serve it
    - `lost`: a worker, or the server itself, did not answer in time
    - `silent`: none of these within the bound
    """

    room: str
    dispatched: float = 0.0
    dispatch_id: str = ""
    outcome: str = "silent"
    seconds: float = 0.0
    error: str = ""
    # When and why the server asked no worker, where it did not.
    not_asked: tuple[float, str] | None = None


@dataclass
class Caller:
    """Makes calls on one server, for one agent's name."""

    server: Server
    agent_name: str
    calls: list[Call] = field(default_factory=list)
    _http: api.LiveKitAPI | None = None
    _joined: dict[str, rtc.Room] = field(default_factory=dict)

    def http(self) -> api.LiveKitAPI:
        """The server's HTTP interface."""
        if self._http is None:
            self._http = api.LiveKitAPI(self.server.url, self.server.key, self.server.secret)
        return self._http

    async def _join(self, room: str) -> None:
        """Be in the room, where the server has rooms that can be joined."""
        if not self.server.program.rooms:
            return
        grants = api.VideoGrants(room_join=True, room=room)
        token = api.AccessToken(self.server.key, self.server.secret)
        token = token.with_identity("caller").with_grants(grants)
        for _ in range(_JOINS):
            joined = rtc.Room()
            try:
                await asyncio.shield(joined.connect(self.server.url, token.to_jwt()))
            except rtc.ConnectError:
                continue
            self._joined[room] = joined
            return
        raise TooLateError(f"the caller joins its room: not in {_JOINS} tries")

    async def dispatch(self, *, join: bool = True) -> Call:
        """Join a new room and ask for the agent; return at once with the call."""
        call = Call(f"room-{secrets.token_hex(4)}")
        if join:
            await self._join(call.room)
        call.dispatched = time.monotonic()
        made = await self.http().agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(agent_name=self.agent_name, room=call.room)
        )
        call.dispatch_id = made.id
        self.calls.append(call)
        return call

    def served(self, call: Call) -> float | None:
        """When the agent was seen in the room or at its door, or None."""
        if (came := self.server.at_the_door(call.room)) is not None:
            return came
        room = self._joined.get(call.room)
        if room is not None and any(
            other.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
            for other in room.remote_participants.values()
        ):
            return time.monotonic()
        return None

    def _match(self) -> None:
        """Find the calls that no worker was asked for: what the server says of them has no room.

        It says so soon, so the last call that may be meant is.
        """
        found = self.server.without_room(self.agent_name)
        known = sum(call.not_asked is not None for call in self.calls)
        for at, said in found[known:]:
            for call in reversed(self.calls):
                unclear = call.outcome == "silent" and call.not_asked is None
                asked_around = call.dispatched <= at - _ASKS_AROUND
                if unclear and asked_around and not self.server.jobs(call.room):
                    call.not_asked = at, said
                    break

    def look(self, call: Call) -> bool:
        """Whether the call has come to its end; if so, write that into it."""
        self._match()
        seen = self.served(call)
        failed = [end for end in self.server.ended(call.room) if end.status == "JS_FAILED"]
        if seen is not None:
            call.outcome = "served"
        elif failed:
            call.outcome, seen, call.error = "failed", failed[0].at, failed[0].error
        elif (seen := self.server.refused(call.room)) is not None:
            call.outcome = "refused"
        elif call.not_asked is not None:
            seen, said = call.not_asked
            call.outcome = "refused" if said.startswith(ALL_FULL) else "lost"
        elif (seen := self.server.unanswered(call.room)) is not None:
            call.outcome = "lost"
        if seen is not None:
            call.seconds = seen - call.dispatched
        return seen is not None

    async def follow(self, call: Call, seconds: float) -> Call:
        """Wait for the end of the call, at most `seconds` from its dispatch, and hang up."""
        left = call.dispatched + seconds - time.monotonic()
        with contextlib.suppress(TooLateError):
            await until(lambda: self.look(call), max(0.0, left), "the end of the call")
        if call.outcome == "silent":
            call.seconds = time.monotonic() - call.dispatched
        else:
            await self.hang_up(call)
        return call

    async def call(self, seconds: float) -> Call:
        """Make a call and wait for its end, at most `seconds` from its dispatch."""
        return await self.follow(await self.dispatch(), seconds)

    async def hang_up(self, call: Call) -> None:
        """Leave the room and delete it."""
        if (room := self._joined.pop(call.room, None)) is not None:
            await _leave(room)
        with contextlib.suppress(api.TwirpError):  # gone by itself
            await self.http().room.delete_room(api.DeleteRoomRequest(room=call.room))

    async def listed(self, call: Call) -> list[agent.JobState]:
        """The states of the jobs that the server shows for a call's dispatch."""
        with contextlib.suppress(api.TwirpError):  # it may be writing what it is to show
            found = await self.http().agent_dispatch.get_dispatch(call.dispatch_id, call.room)
            return [job.state for job in found.state.jobs] if found is not None else []
        return []

    async def noted(self, call: Call) -> None:
        """Wait until the server has noted the job of a call that a worker has taken.

        It does so some 50 ms after the worker took it. Raises `TooLateError`.
        """
        await until(lambda: self.listed(call), _NOTED, "the server notes the job")

    async def delete_dispatch(self, call: Call) -> None:
        """Delete the dispatch of a call that a worker has taken, when the server has noted the job.

        Where it is deleted before, the worker is told nothing. Raises `TooLateError`.
        """
        await self.noted(call)
        await self.http().agent_dispatch.delete_dispatch(call.dispatch_id, call.room)

    async def close(self) -> None:
        """Leave every room and end the connections."""
        for room in self._joined.values():
            await _leave(room)
        self._joined.clear()
        if self._http is not None:
            await self._http.aclose()
            self._http = None


async def _leave(room: rtc.Room) -> None:
    """Leave a room, also one whose server has gone."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(room.disconnect(), _LEAVE)
