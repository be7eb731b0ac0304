"""The agent that the cases run, as its release documents it: python agent.py start

It runs on every supported release and Python. What it is to do stands in the environment variable
`E2E_SETTINGS`; how its prewarm behaves stands in the file `mood`, which a case may change at any
time. What happens is noted in the file `notes`, a line each: monotonic seconds, process id, words.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import faulthandler
import inspect
import json
import math
import multiprocessing
import multiprocessing.process
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from burning import burn
from livekit import agents
from livekit.agents import JobContext, JobExecutorType, JobProcess, JobRequest, cli

SETTINGS: dict[str, Any] = json.loads(os.environ["E2E_SETTINGS"])
FOLDER = Path(SETTINGS["folder"])
AGENT_SERVER = hasattr(agents, "AgentServer")
# What a process has grown by.
KEPT: list[bytes] = []


def note(*words: object) -> None:
    """Append one line; a single write, so that processes do not mix theirs."""
    line = " ".join(str(word) for word in (f"{time.monotonic():.3f}", os.getpid(), *words))
    with contextlib.suppress(OSError):  # a soak has full disks, and workers that can open nothing
        out = os.open(FOLDER / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(out, f"{line}\n".encode())
        finally:
            os.close(out)


def prewarm(process: JobProcess) -> None:
    """Behave as the file `mood` says, at the time when it is read."""
    mood, *numbers = (FOLDER / "mood").read_text("utf-8").split()
    note("prewarm", mood)
    if mood == "raise":
        raise RuntimeError("the model file is gone")
    if mood == "hang":
        time.sleep(600)
    if mood == "exit":
        os._exit(3)
    if mood == "fork":
        fork = multiprocessing.get_context("fork")
        left = fork.Process(target=time.sleep, args=(120,))
        left.start()
        note("forked", left.pid)
        raise RuntimeError("the model file is gone")
    if mood == "die":
        threading.Timer(0.05, os._exit, [1]).start()
    if mood == "slow":
        time.sleep(float(numbers[0]))
    if mood == "burn":
        burn(float(numbers[0]))
    if mood == "share":
        share_a_core(float(numbers[0]))
    if mood == "grow":
        KEPT.append(b"x" * int(float(numbers[0]) * 2**20))
    if mood == "full":  # a file that never has space
        Path("/dev/full").write_text("the model", "utf-8")
    note("ready")


def share_a_core(seconds: float) -> None:
    """Take as long as so many seconds of CPU take on a core that is shared by all who are here.

    Unlike a real core it does not hear what else runs on the machine.
    """
    place = FOLDER / f"sharing-{os.getpid()}"
    place.touch()
    try:
        while seconds > 0:
            before = time.monotonic()
            time.sleep(0.02)
            alive = sum(is_alive(int(p.name.split("-")[1])) for p in FOLDER.glob("sharing-*"))
            seconds -= (time.monotonic() - before) / alive
    finally:
        place.unlink()


def is_alive(pid: int) -> bool:
    """Whether there is such a process: one that was killed has left its place taken."""
    return Path(f"/proc/{pid}").is_dir()


async def entrypoint(context: JobContext) -> None:
    """Join the room and stay until it ends."""
    room = context.job.room.name
    note("job", room)
    try:
        await context.connect()
    except Exception as error:  # the stand-in has no rooms: it sees the knock and sends us away
        note("left", room, type(error).__name__)
        if not (FOLDER / "stay").exists():  # the job goes on until it is told to end
            context.shutdown("no room to join")
    else:
        note("joined", room)


async def on_request(request: JobRequest) -> None:
    """Take every call that the worker offers."""
    note("asked", request.room.name)
    await request.accept(name="agent")


def load(*_worker: Any) -> float:
    """How busy the worker says it is; the machine's own load must not decide a case."""
    return float(SETTINGS["load"])


def preload() -> None:
    """Have the fork server import the package once, as any plugin makes it do.

    Only for cases that do not ask what a spawn costs.
    """

    class Preload(agents.Plugin):  # type: ignore[misc]  # the release is not installed for mypy
        def __init__(self) -> None:
            super().__init__("preload", "1", "livekit.agents")

    agents.Plugin.register_plugin(Preload())


def start_unless_told(self: multiprocessing.process.BaseProcess) -> None:
    """Start a process; fail as a full process table does while the file `no-fork` is there."""
    if (FOLDER / "no-fork").exists():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    START(self)


def make() -> Any:
    """The AgentServer or, in releases before it, the WorkerOptions: what run_app takes."""
    options = {
        "load_fnc": load,
        # Only AgentServer takes no limit; releases before it do not count calls that wait.
        "load_threshold": math.inf if SETTINGS["unlimited"] and AGENT_SERVER else 0.9,
        "num_idle_processes": SETTINGS["idle"],
        "initialize_process_timeout": SETTINGS["timeout"],
        "shutdown_process_timeout": 3.0,
        "job_executor_type": JobExecutorType(SETTINGS["executor"]),
        "job_memory_limit_mb": SETTINGS["memory_limit"],
        "host": "127.0.0.1",
        "port": 0,
    }
    name = SETTINGS["agent_name"]
    if not AGENT_SERVER:
        return agents.WorkerOptions(
            entrypoint_fnc=entrypoint,
            request_fnc=on_request,
            prewarm_fnc=prewarm,
            agent_name=name,
            **options,
        )
    if SETTINGS["drain"] is not None:
        options["drain_timeout"] = SETTINGS["drain"]
    known = inspect.signature(agents.AgentServer).parameters
    options["setup_fnc"] = prewarm
    # From 2.0 on the server has the name, not its entrypoint.
    named = {"agent_name": name}
    if "agent_name" not in inspect.signature(agents.AgentServer.rtc_session).parameters:
        options |= named
        named = {}
    server = agents.AgentServer(**{k: v for k, v in options.items() if k in known})
    if "setup_fnc" not in known:
        server.setup_fnc = prewarm
    server.rtc_session(entrypoint, on_request=on_request, **named)
    return server


class Exit(SystemExit):
    """What a worker is ended by."""


def hear_signals() -> None:
    """Have no signal be lost, as from livekit/agents #6724 on.

    Before, the handler raises wherever the loop is, and the exception often ends there: with the
    task or the callback that happened to run. No case is about that.
    """
    module = sys.modules[cli.run_app.__module__]
    if issubclass(getattr(module, "_ExitCli", SystemExit), SystemExit):
        return
    module._ExitCli = Exit  # type: ignore[attr-defined]
    install = signal.signal

    def on_the_loop(number: int, handler: Any) -> Any:
        def handle(*received: Any) -> None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                handler(*received)
            else:
                loop.call_soon_threadsafe(handler, *received)

        return install(number, handle if inspect.isfunction(handler) else handler)

    signal.signal = on_the_loop  # type: ignore[assignment]


# A worker that does not end is asked where it is.
faulthandler.register(signal.SIGUSR2, all_threads=True)
if SETTINGS["preload"]:
    preload()
START = multiprocessing.process.BaseProcess.start
multiprocessing.process.BaseProcess.start = start_unless_told  # type: ignore[method-assign]

if __name__ == "__main__":
    hear_signals()
    if AGENT_SERVER:
        del sys.argv[2:]  # --drain-timeout, which 1.3.1 to 1.3.9 do not have: see make()
    if sys.argv[1:] == ["dev"]:  # it would start the worker anew when a file changes
        sys.argv.append("--no-reload" if AGENT_SERVER else "--no-watch")
    cli.run_app(make())
