"""Run parts of the suite on many copies of one release, each in a fork of one process.

Importing what a release depends on takes longer than most tests. It is done once here; the release
itself each fork imports anew, from a tree of its own. Reads the trials as JSON from standard input:

    {"at_once": 2, "trials": [{"tree": PATH, "report": PATH, "limit": SECONDS, "arguments": [...]}]}

A trial leaves pytest's JUnit report, and its output beside it; none if it took longer than its
limit. Standard error gets a line when one is over. Run from the root of the project, with the
interpreter that has the dependencies.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

RELEASE = "livekit.agents"
HERE = Path(__file__).resolve().parent


def _use(tree: str) -> None:
    """Have this process and its children import the release from `tree`."""
    os.environ["PYTHONPATH"] = tree
    sys.path.insert(0, tree)
    importlib.invalidate_caches()


def _dependencies(tree: str) -> list[str]:
    """Return the modules that the release in `tree` imports, but for its own; a fork tells."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        with os.fdopen(writer, "w") as stream:
            _use(tree)
            importlib.import_module(RELEASE)
            names = [name for name in sys.modules if not f"{name}.".startswith(f"{RELEASE}.")]
            json.dump(names, stream)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return list(json.loads(text or "[]"))


def _run(trial: dict[str, Any]) -> None:
    """Run one trial; in the fork, which ends here."""
    os.setsid()  # what it starts can be ended with it
    log = os.open(f"{trial['report']}.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    _use(trial["tree"])
    options = ["-p", "no:cacheprovider", "--unpatched", f"--junitxml={trial['report']}"]
    code = pytest.main([*options, *trial["arguments"]])
    os._exit(int(code))


def main() -> None:
    """Run the trials, so many at once."""
    plan = json.load(sys.stdin)
    waiting = list(plan["trials"])
    for name in [*_dependencies(waiting[0]["tree"]), "hypothesis.stateful", "_pytest.junitxml"]:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    running: dict[int, tuple[dict[str, Any], float]] = {}  # by process: its trial and when it began
    while waiting or running:
        while waiting and len(running) < plan["at_once"]:
            trial = waiting.pop(0)
            pid = os.fork()
            if not pid:
                _run(trial)
            running[pid] = trial, time.monotonic()
        for pid, (trial, began) in list(running.items()):
            seconds = time.monotonic() - began
            if os.waitpid(pid, os.WNOHANG)[0] or seconds > trial["limit"]:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
                del running[pid]
                total = len(plan["trials"])
                over = total - len(waiting) - len(running)
                line = f"{over} of {total}: {Path(trial['report']).stem}"
                print(f"{line}, {seconds:.0f} s", file=sys.stderr, flush=True)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
