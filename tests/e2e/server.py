"""A LiveKit server on loopback: the real one, or the stand-in. Start, read its log, restart, stop.

Both are programs that log one JSON object a line, with the same words for the same events, so that
what a server heard is read in one way. The rest of the tests does not know which of them it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from waiting import until

HERE = Path(__file__).parent
# What is started by this does not outlive this process.
GUARD = (sys.executable, "-I", "-S", str(HERE / "guard.py"), str(os.getpid()))

# Seconds that end what hangs: until a server answers on its port, and to end.
_START, _STOP = 600.0, 60.0
# How often a start is tried.
_STARTS = 20

# What is logged when a call finds no worker: every one declined it; none is registered; all are
# full, which is logged without the room; one did not answer in time, which ends the call, whoever
# else could take it.
_FULL = "failed to send job request"
_DECLINED = "no worker available to handle job"
_NO_WORKER = "not dispatching agent job since no worker is available"
_ONE_SAID_NO = "failed to assign job to worker"
_ASSIGNED = "assigned job to worker"
_ENDED = "job ended"
_UNKNOWN_JOB = "received job update for unknown job"
ALL_FULL = "no servers available"
_JOB_TYPE = "JT_ROOM"
_REGISTERED = "worker registered"
_AT_THE_DOOR = "agent at the door"
# All else that is logged is passed over.
_HEARD = {
    *(_FULL, _DECLINED, _NO_WORKER, _ONE_SAID_NO, _ASSIGNED, _ENDED, _UNKNOWN_JOB),
    *(_REGISTERED, _AT_THE_DOOR),
}


@dataclass(frozen=True)
class Program:
    """A server to start: its name, its command, and whether a room can be joined there."""

    name: str
    command: tuple[str, ...]
    rooms: bool


STAND_IN = Program("stand-in", (sys.executable, str(HERE / "standin.py")), rooms=False)


def real_program(binary: Path) -> Program:
    """The livekit-server at the path `binary`."""
    return Program("livekit-server", (str(binary),), rooms=True)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port of 127.0.0.1 that was free just now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Event:
    """One line of a server's log: when it was read (monotonic seconds), its text, its fields."""

    at: float
    text: str
    fields: dict[str, Any]


@dataclass
class Ended:
    """How a job ended, as the server heard it: when, its status and its error text."""

    at: float
    status: str
    error: str


@dataclass
class Server:
    """A running server, which keeps its port and keys over a restart."""

    program: Program
    folder: Path
    key: str = field(default_factory=lambda: f"key{secrets.token_hex(6)}")
    secret: str = field(default_factory=lambda: secrets.token_hex(24))
    port: int = field(default_factory=free_port)
    # What was logged about a room, an agent's name or a job: many cases share a server.
    _about: defaultdict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    _process: subprocess.Popen[bytes] | None = None
    _reader: asyncio.Task[None] | None = None
    _read: int = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def _write_config(self) -> Path:
        """Write the configuration: loopback only, and no server outside is asked for an address."""
        config = {
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "keys": {self.key: self.secret},
            "logging": {
                "json": True,
                "level": "info",
                "pion_level": "error",
                "component_levels": {"agents": "debug"},
            },
            "room": {"auto_create": True, "empty_timeout": 300, "departure_timeout": 1},
            "rtc": {
                "udp_port": free_port(socket.SOCK_DGRAM),
                "tcp_port": free_port(),
                "node_ip": "127.0.0.1",
                "use_external_ip": False,
                "enable_loopback_candidate": True,
                "interfaces": {"includes": ["lo"]},
                "ips": {"includes": ["127.0.0.1/32"]},
                # With none, clients are given a public one.
                "stun_servers": [f"127.0.0.1:{self.port}"],
            },
        }
        path = self.folder / "server.yaml"
        path.write_text(json.dumps(config, indent=2), "utf-8")  # JSON is YAML
        return path

    async def start(self) -> None:
        """Start it and wait until it answers. Raises `TooLateError` or `RuntimeError`.

        A port may be held for a moment: who connects to one of this range while nobody listens may
        meet itself there. So it is tried more than once.
        """
        for left in reversed(range(_STARTS)):
            try:
                return await self._start_once()
            except RuntimeError:
                if not left:
                    raise
                await asyncio.sleep(0.5)

    async def _start_once(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self._write_config()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *GUARD,
                    *(*self.program.command, "--config", str(config)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if self._reader is None:
            self._reader = asyncio.create_task(self._follow())
        await until(self._answers, _START, f"{self.program.name} answers on its port")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            end = self.log.read_text("utf-8", "replace")[-600:]
            raise RuntimeError(f"{self.program.name} ended by itself: {end}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    async def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            await asyncio.to_thread(self._process.wait, _STOP)

    async def stop(self) -> None:
        """End it and the reading of its log."""
        await self.kill()
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
            self._reader = None
        self._read_new()

    async def _follow(self) -> None:
        while True:
            self._read_new()
            await asyncio.sleep(0.02)

    def _read_new(self) -> None:
        """Take in the whole lines that the log has grown by."""
        with self.log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        whole, newline, _ = new.rpartition(b"\n")
        self._read += len(whole) + len(newline)
        now = time.monotonic()
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                fields = json.loads(line)
                if isinstance(fields, dict) and fields.get("msg") in _HEARD:
                    event = Event(now, str(fields["msg"]), fields)
                    for name in ("room", "agentName", "jobID"):
                        if about := fields.get(name):
                            self._about[about].append(event)

    def _said(self, text: str, about: str) -> list[Event]:
        """What was logged with this text about a room, an agent's name or a job."""
        return [event for event in self._about.get(about, []) if event.text == text]

    def workers(self, agent_name: str) -> int:
        """How often a worker of that name has registered."""
        return len(self._said(_REGISTERED, agent_name))

    def jobs(self, room: str) -> list[str]:
        """The jobs that a worker has accepted for the room, in their order."""
        return [event.fields["jobID"] for event in self._said(_ASSIGNED, room)]

    def unknown_updates(self, room: str) -> int:
        """How many reports came for jobs of the room that had ended already.

        One that comes before the server has read the worker's answer is not meant.
        """
        found = 0
        for job in set(self.jobs(room)):
            texts = [event.text for event in self._about[job]]
            found += texts[texts.index(_ASSIGNED) :].count(_UNKNOWN_JOB)
        return found

    def at_the_door(self, room: str) -> float | None:
        """When an agent came to join the room; only the stand-in, which has none, says so."""
        return next((event.at for event in self._said(_AT_THE_DOOR, room)), None)

    def declines(self, room: str) -> int:
        """How many workers have declined a call of the room."""
        return sum(bool(event.fields.get("retry")) for event in self._said(_ONE_SAID_NO, room))

    def refused(self, room: str) -> float | None:
        """When the server found that no worker takes the call of the room, or None."""
        for event in self._about.get(room, []):
            # It also looks for workers of other types, in vain, which are not meant.
            ours = event.fields.get("jobType") == _JOB_TYPE
            if event.text in (_DECLINED, _NO_WORKER) and ours:
                return event.at
        return None

    def without_room(self, agent_name: str) -> list[tuple[float, str]]:
        """The calls for that agent that no worker was asked for: when, and what the server said.

        That is logged without the name of the room. All workers are full ("no servers available");
        or the server itself was too slow.
        """
        return [
            (event.at, str(event.fields.get("error")))
            for event in self._said(_FULL, agent_name)
            if str(event.fields.get("error")).startswith((ALL_FULL, "no response from servers"))
        ]

    def unanswered(self, room: str) -> float | None:
        """When the server gave up a worker that did not answer for a call of the room, or None."""
        for event in self._said(_ONE_SAID_NO, room):
            if not event.fields.get("retry"):
                return event.at
        return None

    def ended(self, room: str) -> list[Ended]:
        """How the jobs of the room ended, as often as the server heard it."""
        return [
            Ended(event.at, str(event.fields.get("status")), str(event.fields.get("error", "")))
            for job in dict.fromkeys(self.jobs(room))
            for event in self._said(_ENDED, job)
        ]
