"""What the children of the real-process tests run: prewarm functions and a job entrypoint.

Children import this module by name, so everything here is picklable and imports next to nothing.
The state that outlives a child (how often prewarm ran, which jobs ran) is kept in small files.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return []


@dataclass
class Plan:
    """Travels to the child as `user_arguments`."""

    folder: str
    kind: str = "ok"
    failures: int = 1_000_000
    """How many processes fail before one succeeds."""
    hang: float = 3600.0
    number: int = 1
    """Which process of the pool this is; the first is 1."""

    @property
    def fails(self) -> bool:
        """Whether this process is one of those that fail."""
        return self.kind != "ok" and self.number <= self.failures

    @property
    def hangs(self) -> bool:
        """Whether this process is one that only its timeout ends."""
        return self.kind in ("hang", "held", "hang_unready") and self.fails

    @property
    def prewarmed(self) -> Path:
        """Exists as soon as a prewarm has begun."""
        return Path(self.folder, "prewarmed")

    @property
    def released(self) -> Path:
        """As soon as it exists, the prewarms that are held return."""
        return Path(self.folder, "released")

    @property
    def forks(self) -> Path:
        """Holds the pid of each fork that was left."""
        return Path(self.folder, "forks")

    @property
    def jobs(self) -> Path:
        return Path(self.folder, "jobs")

    def jobs_run(self) -> list[str]:
        return _words(self.jobs)

    def forks_left(self) -> list[int]:
        return list(map(int, _words(self.forks)))


def prewarm(proc: Any) -> None:
    plan: Plan = proc.user_arguments
    plan.prewarmed.touch()
    if not plan.fails:
        return

    if plan.kind == "hang":
        time.sleep(plan.hang)
    elif plan.kind == "hang_unready":
        # as while it imports: what is to dump its stacks ends it
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        time.sleep(plan.hang)
    elif plan.kind == "held":
        end = time.monotonic() + plan.hang
        while time.monotonic() < end and not plan.released.exists():
            time.sleep(0.02)
    elif plan.kind == "raise":
        raise RuntimeError("prewarm failed on purpose")
    elif plan.kind == "exit":
        os._exit(3)
    elif plan.kind == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif plan.kind == "linger":
        # the failure is reported at once, but the child stays: a thread of it does not end
        threading.Thread(target=time.sleep, args=(plan.hang,)).start()
        raise RuntimeError("prewarm failed on purpose, and the child lingers")
    elif plan.kind == "leave_a_fork":
        # which outlives the child, and holds what the child had open
        fork = multiprocessing.get_context("fork").Process(target=live_on, args=(plan,))
        fork.start()
        with plan.forks.open("a", encoding="utf-8") as f:
            f.write(f"{fork.pid}\n")
        raise RuntimeError("prewarm failed on purpose, and left a process")
    elif plan.kind == "die_idle":
        threading.Timer(0.05, os._exit, [1]).start()
    else:
        raise AssertionError(f"unknown kind of prewarm: {plan.kind}")


def live_on(plan: Plan) -> None:
    """Sleep until the test is over: the child may be killed before it has said that there is a fork
    to be ended, which would keep the output of the whole run open."""
    end = time.monotonic() + plan.hang
    while time.monotonic() < end and Path(plan.folder).is_dir():
        time.sleep(0.1)


async def entrypoint(ctx: Any) -> None:
    plan: Plan = ctx.proc.user_arguments
    with plan.jobs.open("a", encoding="utf-8") as f:
        f.write(f"{ctx.job.id}\n")
    await asyncio.sleep(0)
    ctx.shutdown("done")


def nothing() -> None:
    """Started once in a child, so that the fork server has finished its imports."""
