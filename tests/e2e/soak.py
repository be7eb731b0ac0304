"""Soak workers: calls at random, faults drawn from a seed, and no call may be forgotten.

    python soak.py --real PATH/livekit-server --minutes 10 --seed 1 --workers 3 environments.json

The file says which environments there are, as for run.py. Each is soaked for so long, one after the
other. Faults are brought about from outside: by signals to processes that this has started, by
limits on them, and by files that agent.py reads; nothing else on the machine is touched.

Exit codes: 0 as it should be, 1 not: a patched worker breaks an invariant. Unpatched workers are
measured, not judged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import aiohttp
import psutil
from calls import Call, Caller
from cases import CLOSE
from livekit import api
from run import KINDS, measure_pace
from server import Program, Server, real_program
from soak_judge import AWAY, Incident, Seen, counts, judge_call, judge_flat, moment, timeline
from soak_plan import Fault, PlannedCall, make_plan
from waiting import TooLateError, until
from worker import Settings, Worker

# T of the workers in seconds, on an idle machine; the limit of a process in MB, and what one grows
# by to be past it.
T, LIMIT, GROWTH = 2.0, 600.0, 650
# Seconds: beyond a bound until its end has been read; for a worker to come back to the server, and
# to be as it was; between two lines of progress.
SLACK, BACK, CALM, PROGRESS = 4.0, 60.0, 30.0, 15.0
# Seconds in which the processes of a worker that was killed end by themselves.
ORPHANS = 30.0
# Calls that must all be served when the faults are over.
LAST_CALLS = 3
# What the server says when it ends a job whose agent has gone.
_GONE = "agent worker left the room"
# What a server that is being restarted does to a caller.
_DOWN = (aiohttp.ClientError, api.TwirpError, TooLateError, OSError)


@dataclass
class Member:
    """A worker of the soak, through all its lives."""

    number: int
    worker: Worker
    before: dict[str, float] = field(default_factory=dict)
    # The moods that faults have put on it; the last holds.
    moods: list[str] = field(default_factory=list)
    coming_back: asyncio.Lock = field(default_factory=asyncio.Lock)

    def process(self) -> psutil.Process:
        """The worker itself. Raises `psutil.NoSuchProcess` when it is gone."""
        assert self.worker.process is not None
        return psutil.Process(self.worker.process.pid)

    def runs(self) -> bool:
        """Whether the worker has not ended."""
        return self.worker.process is not None and self.worker.process.poll() is None

    def pool(self) -> list[psutil.Process]:
        """The processes of its pool: what its fork server has started."""
        with contextlib.suppress(psutil.Error):
            helpers = self.process().children()
            return [child for helper in helpers for child in _children(helper)]
        return []

    def held(self) -> dict[str, float]:
        """What it takes now, by the names of `soak_judge.FLAT`."""
        me = self.process()
        return {
            "MB": me.memory_info().rss / 2**20,
            "threads": float(me.num_threads()),
            "descriptors": float(me.num_fds()),
        }

    def moments(self) -> list[tuple[str, psutil.Process]]:
        """The processes of its pool, each with what it does."""
        words: dict[int, list[str]] = {}
        for note in self.worker.notes():
            words.setdefault(note.pid, []).append(note.words[0])
        return [(moment(words.get(child.pid, [])), child) for child in self.pool()]


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return list(process.children())
    return []


class Soak:
    """One soak of one environment."""

    def __init__(
        self,
        server: Server,
        name: str,
        interpreter: Path,
        options: argparse.Namespace,
        pace: float,
    ) -> None:
        self.server, self.pace, self.options = server, pace, options
        self.caller = Caller(server, name)
        settings = Settings(timeout=T * pace, idle=1, drain=3, unlimited=True, memory_limit=LIMIT)
        self.members = [
            Member(
                number,
                Worker(
                    interpreter, server, server.folder.parent / f"worker{number}", name, settings
                ),
            )
            for number in range(options.workers)
        ]
        self.bound = 3 * settings.wait + SLACK * pace
        self.incidents: list[Incident] = []
        self.calls: list[Call] = []
        self.seen: list[Seen] = []
        self.broken: list[str] = []
        self.told: list[str] = []
        self.missed: Counter[str] = Counter()
        self.begin = 0.0
        self.up = asyncio.Event()
        self.faults_now: list[str] = []

    # What happens.

    async def run(self) -> None:
        """Start everything, soak, calm down, end everything, judge."""
        plan = make_plan(self.options.seed, 60 * self.options.minutes, self.options.workers)
        try:
            await self.server.start()
            self.up.set()
            for member in self.members:
                await self._start(member)
            self.begin = time.monotonic()
            async with self._telling(), asyncio.TaskGroup() as group:
                for call in plan.calls:
                    group.create_task(self._call(call))
                for fault in plan.faults:
                    group.create_task(self._fault(fault))
            await self._calm()
            await self._end()
        finally:
            await self.caller.close()
            for member in self.members:
                await member.worker.kill()
            await self.server.stop()
        self._judge()

    async def _start(self, member: Member) -> None:
        """Start a worker, or start it again, and note what it takes when it has nothing to do."""
        since = time.monotonic()
        await member.worker.start()
        await until(
            lambda: any(note.at > since for note in member.worker.notes("ready")),
            BACK * self.pace,
            "a first process is ready",
        )
        member.before = member.held()

    @contextlib.asynccontextmanager
    async def _telling(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._tell())
        try:
            yield
        finally:
            task.cancel()

    async def _tell(self) -> None:
        """Say from time to time how it goes."""
        while True:
            await asyncio.sleep(PROGRESS)
            done = Counter(one.outcome for one in self.seen)
            ends = ", ".join(f"{count} {outcome}" for outcome, count in done.most_common())
            open_calls = len(self.calls) - len(self.seen)
            now = "; now: " + ", ".join(self.faults_now) if self.faults_now else ""
            print(
                f"{time.monotonic() - self.begin:5.0f} s: {ends or 'no call has ended'}, "
                f"{open_calls} open, {len(self.incidents)} faults{now}",
                flush=True,
            )

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, self.begin + at - time.monotonic()))

    async def _call(self, planned: PlannedCall) -> None:
        """Make a call, follow it to its end, and hang up; while the server is down nobody calls."""
        await self._until(planned.at)
        if self.up.is_set():
            await self._follow(planned.holds)

    async def _follow(self, holds: float) -> Call:
        """Make a call; return it when it has come to its end."""
        start = time.monotonic()
        try:
            call = await self.caller.dispatch()
        except _DOWN as error:
            end = time.monotonic()
            call = Call("(none)", start, outcome="not made", error=str(error))
            self.calls.append(call)
            self.seen.append(Seen(call.room, start, call.outcome, end))
            return call
        self.calls.append(call)
        # Twice its bound, and as long as things were stopped: what has no end by then has none.
        with contextlib.suppress(TooLateError):
            await until(lambda: self.caller.look(call), 2 * self.bound, "the end of the call")
        end = time.monotonic()
        # A second report of a failure would come soon. When the caller hangs up, the server ends
        # the job by itself, and what the worker reports then comes later by right.
        await asyncio.sleep(holds if call.outcome == "served" else 1.0)
        self.seen.append(self._look_back(call, end))
        with contextlib.suppress(*_DOWN):
            await self.caller.hang_up(call)
        return call

    def _look_back(self, call: Call, end: float) -> Seen:
        """What was seen of a call that came to its end then."""
        asked: list[tuple[float, int]] = []
        jobs: list[tuple[float, int, int]] = []
        events: list[tuple[float, str]] = []
        for member in self.members:
            for note in member.worker.notes():
                if note.words[-1] != call.room and call.room not in note.words:
                    continue
                events.append((note.at, f"worker {member.number}, {note.pid}: {note.words[0]}"))
                if note.words[0] == "asked":
                    asked.append((note.at, member.number))
                if note.words[0] == "job":
                    jobs.append((note.at, member.number, note.pid))
        ended = self.server.ended(call.room)
        events += [(one.at, f"server: job ended, {one.status} {one.error}") for one in ended]
        asked.sort()
        last = self.members[asked[-1][1]] if asked else None
        ready = [note.at for note in last.worker.notes("ready")] if last else []
        return Seen(
            call.room,
            call.dispatched,
            call.outcome,
            end,
            tuple(number for _, number in asked),
            max((at for at in ready if at <= end), default=0.0),
            # The server ends a job by itself when its agent is gone: that is no report.
            tuple(one.status for one in ended if one.error != _GONE),
            self.server.unknown_updates(call.room),
            len({pid for _, _, pid in jobs}),
            tuple(sorted(events)),
        )

    # Faults.

    async def _fault(self, fault: Fault) -> None:
        await self._until(fault.at)
        member = self.members[fault.worker]
        start = time.monotonic()
        self.faults_now.append(str(fault))
        text = ""
        try:
            text = await self._inject(fault, member)
        except psutil.Error:
            pass  # it was gone before it was hit
        finally:
            self.faults_now.remove(str(fault))
        if not text:
            self.missed[fault.kind] += 1
            return
        worker = None if fault.kind == "restart-server" else fault.worker
        self.incidents.append(Incident(start, time.monotonic(), fault.kind, worker, text))
        if fault.kind in ("kill-worker", "end-worker"):
            await self._start_again(member)
            text = f"worker {fault.worker} is away"
            self.incidents.append(Incident(start, time.monotonic(), AWAY, fault.worker, text))

    async def _inject(self, fault: Fault, member: Member) -> str:
        """Bring a fault about, and end it; return what was done, or nothing if there was nobody.

        Raises `psutil.Error`.
        """
        if fault.kind in ("kill-child", "stop-child"):
            return await self._hit_child(fault, member)
        if fault.kind == "kill-worker":
            async with member.coming_back:
                await self._kill_worker(member)
        elif fault.kind == "end-worker":
            async with member.coming_back:
                await self._end_worker(member)
        elif fault.kind == "stop-worker":
            async with member.coming_back:
                await self._stop(member.process(), fault.lasts)
        elif fault.kind == "restart-server":
            await self._restart_server()
        elif fault.kind == "no-fork":
            path = member.worker.folder / "no-fork"
            path.touch()
            await asyncio.sleep(fault.lasts)
            path.unlink(missing_ok=True)
        elif fault.kind == "no-descriptors":
            if member.coming_back.locked():
                return ""  # what it could not import is not the pool's
            process = member.process()
            with _limited(process, resource.RLIMIT_NOFILE, process.num_fds()):
                await asyncio.sleep(fault.lasts)
        elif fault.kind == "full-disk":
            with _limited(member.process(), resource.RLIMIT_FSIZE, 1):
                await self._mood(member, "full", fault.lasts)
        elif fault.kind == "memory":
            await self._mood(member, f"grow {GROWTH}", fault.lasts)
        else:
            await self._mood(member, fault.mood, fault.lasts)
        return str(fault)

    async def _kill_worker(self, member: Member) -> None:
        """SIGKILL a worker, and nothing else: its processes have to find out, and end."""
        at = time.monotonic() - self.begin
        took, left, stuck = await member.worker.kill_alone(ORPHANS * self.pace)
        killed = f"worker {member.number}, killed at {at:.1f} s,"
        if left:
            self.broken.append(f"{killed} leaves {'; '.join(left)}")
        elif stuck:
            self.told.append(f"{killed} leaves {stuck} whose call had just begun, as unpatched")
        else:
            self.told.append(f"{killed} was followed by all its processes in {took:.1f} s")

    async def _start_again(self, member: Member) -> None:
        """Start a worker that has ended, unless another fault has done so already."""
        async with member.coming_back:
            await self.up.wait()
            if member.runs():
                return
            try:
                await self._start(member)
            except TooLateError as error:
                self.broken.append(f"worker {member.number} does not start again: {error}")

    async def _hit_child(self, fault: Fault, member: Member) -> str:
        """Kill or stop a process of the pool, at the moment that the fault asks for."""
        found: list[tuple[str, psutil.Process]] = []

        def look() -> bool:
            found[:] = [one for one in member.moments() if one[0] == fault.moment]
            return bool(found)

        try:
            await until(look, 5.0, "a process at that moment")
        except TooLateError:
            found = member.moments()  # then another one
        if not found:
            return ""
        at, process = found[0]
        if fault.kind == "kill-child":
            process.kill()
        else:
            await self._stop(process, fault.lasts)
        lasts = f" for {fault.lasts:.1f} s" if fault.lasts else ""
        return f"{fault.kind} {at} of worker {fault.worker}{lasts}, process {process.pid}"

    async def _stop(self, process: psutil.Process, seconds: float) -> None:
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    async def _restart_server(self) -> None:
        if not self.up.is_set():
            return
        self.up.clear()
        before = self.server.workers(self.caller.agent_name)
        await self.server.kill()
        await self.server.start()
        self.up.set()
        try:
            await until(
                lambda: self.server.workers(self.caller.agent_name) >= before + len(self.members),
                BACK * self.pace,
                "",
            )
        except TooLateError:
            came = self.server.workers(self.caller.agent_name) - before
            self.broken.append(
                f"{came} of {len(self.members)} workers came back to the server in "
                f"{BACK * self.pace:.0f} s"
            )

    async def _mood(self, member: Member, mood: str, seconds: float) -> None:
        """Have prewarms behave like this for a while; of several faults the last one holds."""
        member.moods.append(mood)
        member.worker.become(mood)
        await asyncio.sleep(seconds)
        member.moods.remove(mood)
        member.worker.become(member.moods[-1] if member.moods else "well")

    # The end.

    async def _calm(self) -> None:
        """All faults are over: calls are served again, and workers take what they took before."""
        bound = time.monotonic() + CALM * self.pace
        served = 0
        while served < LAST_CALLS and time.monotonic() < bound:
            call = await self._follow(0.0)
            served = served + 1 if call.outcome == "served" else 0
        if served < LAST_CALLS:
            self.broken.append(f"{CALM * self.pace:.0f} s after the last fault no call is served")
        for member in self.members:
            if not member.runs():
                self.broken.append(
                    f"worker {member.number} has ended: {member.worker.log()[-600:]}"
                )
                continue
            await self._let_calm_down(member)
            after = member.held()
            grown = judge_flat(member.before, after)
            self.broken += [f"worker {member.number} has grown: {text}" for text in grown]
            flat = ", ".join(f"{member.before[n]:.0f} → {after[n]:.0f} {n}" for n in after)
            spawns = len(member.worker.notes("prewarm"))
            self.told.append(f"worker {member.number}: {flat}; {spawns} prewarms")

    async def _let_calm_down(self, member: Member) -> None:
        """Wait until a worker takes no more than before, and empty the rooms that are left.

        An agent whose server is restarted opens its room again, after its caller has hung up.
        """
        bound = time.monotonic() + CALM * self.pace
        rooms = self.caller.http().room
        while judge_flat(member.before, member.held()) and time.monotonic() < bound:
            for room in (await rooms.list_rooms(api.ListRoomsRequest())).rooms:
                with contextlib.suppress(api.TwirpError):
                    await rooms.delete_room(api.DeleteRoomRequest(room=room.name))
            await asyncio.sleep(1.0)

    async def _end_worker(self, member: Member) -> None:
        """Ask a worker to end: by itself, in time, and with nothing left."""
        bound = (member.worker.settings.drain or 0) + CLOSE * self.pace
        at = time.monotonic() - self.begin
        ending = await member.worker.end(bound)
        ended = f"worker {member.number}, asked to end at {at:.1f} s,"
        if not ending.by_itself:
            self.broken.append(f"{ended} does not in {bound:.0f} s")
        elif ending.left:
            self.broken.append(f"{ended} leaves {'; '.join(ending.left)}")
        self.told.append(f"{ended} took {ending.seconds:.1f} s")

    async def _end(self) -> None:
        for member in self.members:
            await self._end_worker(member)

    def _judge(self) -> None:
        """Judge each call; what is broken comes with its timeline."""
        self.incidents.sort(key=lambda incident: incident.start)
        for one in sorted(self.seen, key=lambda seen: seen.dispatched):
            if broken := judge_call(one, self.incidents, self.bound, len(self.members)):
                at = one.dispatched - self.begin
                self.broken.append(
                    f"the call at {at:.1f} s: {'; '.join(broken)}\n"
                    + "\n".join(timeline(one, self.incidents, self.begin))
                )

    def summary(self) -> str:
        """What a person wants to know of it."""
        faults = Counter(one.kind for one in self.incidents if one.kind != AWAY)
        brought = ", ".join(f"{count} {kind}" for kind, count in sorted(faults.items()))
        lines = [f"{len(self.seen)} calls: {counts(self.seen)}", f"faults: {brought or 'none'}"]
        if self.missed:
            lines.append(f"faults that found nobody: {self.missed.total()}")
        return "\n".join([*lines, *self.told])


@contextlib.contextmanager
def _limited(process: psutil.Process, which: int, most: int) -> Iterator[None]:
    """Lower a soft limit of a process for a while.

    What it has started meanwhile, its fork server above all, does not keep the limit either.
    """
    soft, hard = process.rlimit(which)
    process.rlimit(which, (most, hard))
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.rlimit(which, (soft, hard))
            for child in process.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if child.rlimit(which)[0] == most:
                        child.rlimit(which, (soft, hard))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("environments", type=Path, help="which environments there are (JSON)")
    parser.add_argument("--real", type=Path, required=True, help="a livekit-server")
    parser.add_argument("--minutes", type=float, default=10.0, help="default: 10")
    parser.add_argument("--seed", type=int, default=1, help="default: 1")
    parser.add_argument("--workers", type=int, default=3, help="default: 3")
    parser.add_argument("--pace", type=float, help="default: measured, 1 (an idle machine) to 15")
    parser.add_argument("--out", type=Path, help="write what was found as JSON")
    parser.add_argument("--command", default="soak.py", help="the command that repeats a run")
    return parser.parse_args(argv)


def soak(
    program: Program, folder: Path, name: str, interpreter: Path, options: argparse.Namespace
) -> Soak:
    """Soak one environment, and say what was found."""
    pace = options.pace or measure_pace()
    print(
        f"soak of {name}: seed {options.seed}, {options.minutes:g} minutes, "
        f"{options.workers} workers, pace {pace:g}",
        flush=True,
    )
    # What the caller's library says of servers that are gone is kept, and not printed.
    folder.mkdir()
    logging.basicConfig(filename=folder / "caller.log", force=True)
    one = Soak(Server(program, folder / "server"), name, interpreter, options, pace)
    asyncio.run(one.run())
    print(one.summary(), flush=True)
    for text in one.broken:
        print(f"BROKEN {text}", flush=True)
    if not one.broken:
        print("no invariant is broken", flush=True)
    return one


def main(argv: Sequence[str] | None = None) -> int:
    """Soak each environment; return 1 if a patched one breaks an invariant."""
    options = parse(argv)
    program = real_program(options.real)
    folder = Path(tempfile.mkdtemp(prefix="procpool-soak-"))
    # Workers that are killed leave their sockets behind.
    (folder / "tmp").mkdir()
    os.environ["TMPDIR"] = str(folder / "tmp")
    environments: list[dict[str, str]] = json.loads(options.environments.read_text("utf-8"))
    written, wrong = [], []
    for environment in environments:
        for kind in KINDS:
            if kind not in environment:
                continue
            release = environment["release"]
            name = f"{release}-{kind}"
            try:
                one = soak(program, folder / name, name, Path(environment[kind]), options)
            except TooLateError as error:  # it has not come as far as the first call
                print(f"error: {name}: {' '.join(str(error).split())}", file=sys.stderr)
                print(f"what the server and the workers logged: {folder}", file=sys.stderr)
                return 1
            written.append(
                {
                    "release": release,
                    "kind": kind,
                    "calls": [asdict(seen) for seen in one.seen],
                    "faults": [asdict(incident) for incident in one.incidents],
                    "broken": one.broken,
                }
            )
            if one.broken and kind == "patched":
                wrong.append(release)
    if options.out is not None:
        found = {"seed": options.seed, "minutes": options.minutes, "soaks": written}
        options.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    if wrong:
        print(f"broken on patched {', '.join(wrong)}, seed {options.seed}; to repeat:")
        again = f"--minutes {options.minutes:g} --seed {options.seed} --workers {options.workers}"
        releases = " ".join(f"--release {release}" for release in wrong)
        print(f"    {options.command} {again} {releases}")
        print(f"what the server and the workers logged: {folder}", flush=True)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
