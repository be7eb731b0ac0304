"""A whole worker: agent.py, run by the interpreter of an environment that has one release."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from server import GUARD, HERE, Server
from waiting import TooLateError, until

# Seconds that end what hangs: to import the release and register, and to end after a SIGKILL.
_REGISTER, _KILL = 600.0, 60.0
# Seconds for what a worker leaves to end by itself; what stays longer was left behind.
_LEAVE = 30.0

# As faulthandler writes it.
_LAST_THREAD = re.compile(r"Current thread .*\n  File .*\n")

# What an agent needs of the environment; everything else of the caller's stays away from it.
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass
class Settings:
    """How a worker is set up; the file `agent.py` reads it.

    `timeout` is T in seconds. `load` is what the worker says of itself, 0 to 1. `preload` has the
    fork server import the package once, as any plugin does, so that a spawn is cheap. `cores` pins
    the worker to these. `drain` is the limit of its drain in seconds; None: a worker in dev mode,
    which does not drain. `unlimited`: it takes calls however many wait already; otherwise releases
    that count those (from 1.5 on) take as many as they keep idle processes. `memory_limit` is that
    of a process, in MB; 0: none.
    """

    mood: str = "well"
    timeout: float = 2.0
    idle: int = 1
    load: float = 0.0
    executor: str = "process"
    preload: bool = True
    cores: tuple[int, ...] = ()
    drain: int | None = 3
    unlimited: bool = False
    memory_limit: float = 0.0

    @property
    def wait(self) -> float:
        """W, the wait timeout, in seconds."""
        return self.timeout + 5


@dataclass
class Note:
    """One line that the agent wrote: when (monotonic seconds), which process, the words."""

    at: float
    pid: int
    words: tuple[str, ...]


@dataclass
class Ending:
    """How a worker ended: seconds since it was asked to, and what it left running.

    What the agent's own code has forked is not the worker's to end, and doesn't count.
    """

    seconds: float
    by_itself: bool
    left: list[str]


@dataclass
class Worker:
    """A worker on a server, in a folder of its own."""

    interpreter: Path
    server: Server
    folder: Path
    agent_name: str
    settings: Settings = field(default_factory=Settings)
    process: subprocess.Popen[bytes] | None = None

    def become(self, mood: str) -> None:
        """Change how the prewarms behave that start from now on."""
        temporary = self.folder / ".mood"
        temporary.write_text(mood, "utf-8")
        temporary.replace(self.folder / "mood")

    async def start(self, within: float = _REGISTER) -> None:
        """Start it, and wait until the server has registered it.

        Raises `TooLateError` when so many seconds have passed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.become(self.settings.mood)
        before = self.server.workers(self.agent_name)
        command = [str(self.interpreter), str(HERE / "agent.py"), *self._arguments()]
        if self.settings.cores:
            cores = ",".join(str(core) for core in self.settings.cores)
            command = ["taskset", "--cpu-list", cores, *command]
        with (self.folder / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*GUARD, *command],
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # by which its children are found again
            )
        await until(
            lambda: self._alive() and self.server.workers(self.agent_name) > before,
            within,
            "the worker registers",
        )

    def _arguments(self) -> list[str]:
        """How its release is told to start: `start` drains at the end, `dev` does not."""
        if self.settings.drain is not None:
            return ["start", "--drain-timeout", str(self.settings.drain)]
        return ["dev"]

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        settings: dict[str, Any] = vars(self.settings) | {
            "folder": str(self.folder),
            "agent_name": self.agent_name,
        }
        return kept | {
            "LIVEKIT_URL": self.server.url,
            "LIVEKIT_API_KEY": self.server.key,
            "LIVEKIT_API_SECRET": self.server.secret,
            "E2E_SETTINGS": json.dumps(settings),
            "NO_PROXY": "127.0.0.1",
            "COLUMNS": "1000",  # in dev mode records are broken into lines of that width
        }

    def _alive(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise TooLateError(f"the worker ended by itself: {self.log()[-600:]}")
        return True

    def log(self) -> str:
        return (self.folder / "worker.log").read_text("utf-8", "replace")

    def notes(self, *words: str) -> list[Note]:
        """What the agent noted that begins with these words."""
        path = self.folder / "notes"
        if not path.is_file():
            return []
        found = []
        for line in path.read_text("utf-8").splitlines():
            at, pid, *said = line.split()
            if tuple(said[: len(words)]) == words:
                found.append(Note(float(at), int(pid), tuple(said)))
        return found

    def children(self) -> list[psutil.Process]:
        """Every process of its session except itself, zombies included."""
        assert self.process is not None
        found = []
        for other in psutil.process_iter():
            with contextlib.suppress(OSError):
                if other.pid != self.process.pid and os.getsid(other.pid) == self.process.pid:
                    found.append(other)
        return found

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the worker itself, not to its children."""
        assert self.process is not None
        self.process.send_signal(number)

    async def end(self, seconds: float, number: signal.Signals = signal.SIGTERM) -> Ending:
        """Ask it to end; kill it, and whatever it leaves, when `seconds` have passed."""
        assert self.process is not None
        start = time.monotonic()
        self.send(number)
        by_itself = True
        try:
            await until(lambda: self.process and self.process.poll() is not None, seconds, "")
        except TooLateError:
            by_itself = False
            await self.note_stacks()
        took = time.monotonic() - start
        left: list[str] = []
        if by_itself:
            self._kill_forks()  # which keep the fork server running
            # The fork server ends by itself when it finds that the worker has.
            with contextlib.suppress(TooLateError):
                await until(lambda: not self._left(), _LEAVE, "")
            left = self._left()
        await self.kill()
        return Ending(took, by_itself, left)

    async def kill_alone(self, seconds: float) -> tuple[float, list[str], int]:
        """SIGKILL the worker itself; kill what is left of it when `seconds` have passed.

        Returns how long its processes took to end by themselves, what of them was left, and how
        many were not counted as left. These hear of nothing, unpatched or patched, but those that
        wait for them count: from 1.6.10 on a process whose call had just begun ends with an
        exception, and waits for the thread that forwards its log to a worker that is gone. A
        prewarm that hangs does not count either, and is ended at once.
        """
        assert self.process is not None
        start = time.monotonic()
        self.send(signal.SIGKILL)
        await asyncio.to_thread(self.process.wait, _KILL)

        def gone() -> bool:
            self._kill_forks()
            self._kill_hanging()
            return not self._left()

        with contextlib.suppress(TooLateError):
            await until(gone, seconds, "")
        took = time.monotonic() - start
        stacks = await self.note_stacks() if self._left() else {}
        if stuck := {pid for pid, text in stacks.items() if _forwards_log(text)}:
            self._kill_children(stuck)
            with contextlib.suppress(TooLateError):
                await until(gone, _LEAVE, "")
        left = self._left()
        await self.kill()
        return took, left, len(stuck)

    def _left(self) -> list[str]:
        """What still runs of it when it has ended itself; its zombies are init's then."""
        said: dict[int, str] = {note.pid: " ".join(note.words) for note in self.notes()}
        return [
            f"{text}, which noted last: {said[child.pid]}" if child.pid in said else text
            for child in self.children()
            if (text := _describe(child))
        ]

    def _kill_forks(self) -> None:
        """End what the agent's own code has forked."""
        self._kill_children({int(note.words[1]) for note in self.notes("forked")})

    def _kill_hanging(self) -> None:
        """End the processes that hang in their prewarm."""
        self._kill_children({note.pid for note in self.notes("prewarm", "hang")})

    def _kill_children(self, pids: set[int]) -> None:
        for child in self.children():
            if child.pid in pids:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()

    async def note_stacks(self) -> dict[int, str]:
        """Have it write the stacks of all its threads into its log, and its processes theirs.

        Only what has noted something is asked: before, it may not listen to the signal. Returns
        what each of them wrote, by process id.
        """
        noted = {note.pid for note in self.notes()}
        if self.process is None or not noted:
            return {}
        asked = [self.process.pid] if self.process.poll() is None else []
        asked += [one.pid for one in self.children() if one.pid in noted and _describe(one)]
        return {pid: await self._stacks(pid) for pid in asked}

    async def _stacks(self, pid: int) -> str:
        """Have a process write its stacks into the log, and return them."""
        before = len(self.log())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR2)
        # The thread that got the signal comes last: the frame that it is in must be there.
        with contextlib.suppress(TooLateError):
            await until(lambda: _LAST_THREAD.search(self.log()[before:]), 5, "")
        return self.log()[before:]

    async def kill(self) -> None:
        """End it and all its children at once."""
        if self.process is None:
            return
        children = self.children()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for child in children:  # those that have made a process group of their own
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        await asyncio.to_thread(self.process.wait, _KILL)


def _forwards_log(stacks: str) -> bool:
    """Whether a process has come to its end but for the thread that forwards its log."""
    return "in _forward_logs\n" in stacks and "in _shutdown\n" in stacks


def _describe(process: psutil.Process) -> str:
    """Its state and command; nothing if it has ended, taken by its parent or not."""
    with contextlib.suppress(psutil.NoSuchProcess):  # ZombieProcess is one
        return f"{process.status()}: {' '.join(process.cmdline())[-90:]}"
    return ""
