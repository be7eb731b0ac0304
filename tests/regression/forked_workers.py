"""Let pytest-xdist's workers be forks of the process that hands out the tests.

Importing livekit-agents takes more CPU than most tests. It is done once: the workers, and the fork
server of each, are forks of a process that has done it, as the children of a worker in production
are. All of them are made before that process has a second thread.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
import traceback
import types
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker, util
from typing import IO, Any, NoReturn
from unittest import mock

from execnet import gateway_base, gateway_io

# What the worker's fork server preloads, as far as the release has it, and what its children need.
IMPORTS = ("livekit.agents", "livekit.agents.ipc._preload", "prewarms")


class _Worker:
    """A worker of pytest-xdist, with what execnet uses of a `subprocess.Popen`."""

    def __init__(self) -> None:
        stdin, to_worker = os.pipe()
        from_worker, stdout = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            _work(stdin, stdout)
        os.close(stdin)
        os.close(stdout)
        self.stdin: IO[bytes] = os.fdopen(to_worker, "wb", 0)
        self.stdout: IO[bytes] = os.fdopen(from_worker, "rb", 0)

    def wait(self) -> int:
        return os.waitpid(self.pid, 0)[1]

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _keep(*wanted: int) -> None:
    """Close all descriptors but the standard ones and those that are wanted."""
    last = 2
    for fd in [*sorted(wanted), os.sysconf("SC_OPEN_MAX")]:
        os.closerange(last + 1, fd)
        last = fd


def _work(stdin: int, stdout: int) -> NoReturn:
    """Do what the interpreter does that execnet starts; in the fork, which ends here."""
    code = 1
    try:
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        _keep()
        sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
        sys.modules["__main__"] = types.ModuleType("__main__")  # children would import pytest's
        _start_fork_server()
        exec(gateway_io.popen_bootstrapline, {})
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def _start_fork_server() -> None:
    """Have this process's fork server be a fork of it."""

    def fork(path: object, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
        if pid := os.fork():
            return pid
        try:
            devnull = os.open(os.devnull, os.O_RDWR)
            os.dup2(devnull, 0)
            os.dup2(devnull, 1)
            _keep(*descriptors)
            exec(arguments[arguments.index("-c") + 1], {})
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(0)

    resource_tracker.ensure_running()
    with mock.patch.object(util, "spawnv_passfds", fork):
        forkserver.ensure_running()


def start(count: int) -> None:
    """Import the release and make the workers; execnet takes one for each interpreter it wants.

    One that takes the place of a crashed worker is started as execnet does it.
    """
    gc.disable()
    for name in IMPORTS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    gc.enable()
    workers = [_Worker() for _ in range(count)]
    of_interpreter = gateway_io.Popen2IOMaster.__init__

    def of_fork(self: Any, arguments: Any, execmodel: Any) -> None:
        if workers:
            self.popen = worker = workers.pop(0)
            gateway_base.Popen2IO.__init__(self, worker.stdin, worker.stdout, execmodel)
        else:
            of_interpreter(self, arguments, execmodel)

    gateway_io.Popen2IOMaster.__init__ = of_fork  # type: ignore[assignment]
