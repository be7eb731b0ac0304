"""What the processes of the measured pools run; `user_arguments` says how they fail."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fate:
    """What becomes of one process: after `seconds` of sleep it is as `kind` says.

    `kind` is "raise", "exit", "hang" (until it is killed), "burn" (takes the seconds as CPU, and is
    ready) or "ready".
    """

    kind: str
    seconds: float = 0.0


def prewarm(proc: Any) -> None:
    """Meet one's fate."""
    fate: Fate = proc.user_arguments
    if fate.kind == "burn":
        burn(fate.seconds)
        return
    time.sleep(fate.seconds)
    if fate.kind == "hang":
        time.sleep(3600)
    if fate.kind == "exit":
        os._exit(3)
    if fate.kind == "raise":
        raise RuntimeError("this process cannot initialize")


def burn(seconds: float) -> None:
    """Use so many seconds of CPU."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


async def entrypoint(ctx: Any) -> None:
    """Run a job, which ends at once."""
    ctx.shutdown("done")
