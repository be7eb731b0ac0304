"""Run a measurement in a session of its own, and leave nothing of it behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

from procpool.base.errors import UserError, one_line
from procpool.base.files import ROOT
from procpool.suite.environment import WITH_BYTECODE

# Ends what it runs when the process dies whose id it is given.
GUARD = ROOT / "tests" / "e2e" / "guard.py"


def run_guarded(
    command: list[str], name: str, log: Path, seconds: float, out: IO[str] | None = None
) -> None:
    """Run a command to its end, for so many seconds at most, and end all that it has started.

    What it prints goes to `out`, its errors to the file `log`; without `out` both go there. Raises
    `UserError` with `name`, and the last line of the log, if the command fails or does not end.
    """
    guard = (sys.executable, "-I", "-S", str(GUARD), str(os.getpid()))
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*guard, *command],
            cwd=ROOT,
            env=os.environ | WITH_BYTECODE,
            stdin=subprocess.DEVNULL,
            stdout=out or errors,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise UserError(f"{name} did not end: see {log}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code != 0:
        end = one_line(log.read_text("utf-8", "replace"))[-200:]
        raise UserError(f"{name} failed: {end}; see {log}")
