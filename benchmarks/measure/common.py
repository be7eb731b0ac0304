"""What the measurements share that run in the environment of one release.

Each is a script: `python NAME.py OPTIONS`, with the options as JSON. It prints what it found as its
last line, JSON too, and ends at once: an unpatched pool may keep processes and threads that never
end. `python scripts bench` starts them, each in a session (`setsid`) of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

R = TypeVar("R")

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1] / "tests"
# Children import `children` by name.
sys.path[:0] = [str(HERE), str(TESTS / "regression"), str(TESTS / "worse")]

Found = dict[str, Any]


def main(measure: Callable[[dict[str, Any]], Found]) -> None:
    """Measure with the options of the command line, print what was found, and end."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    logging.disable(logging.CRITICAL)  # failing processes would fill the output
    if (core := options.get("core")) is not None:
        os.sched_setaffinity(0, {core})
    code = 1
    try:
        print(json.dumps(measure(options)), flush=True)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def run(main: Coroutine[Any, Any, R]) -> R:
    """Run it as asyncio.run does, which would then wait for what an unpatched pool leaves."""
    return asyncio.new_event_loop().run_until_complete(main)


@contextmanager
def failing_children() -> Iterator[None]:
    """Have the pools of `real_pools` run the functions of `children` in their processes."""
    import children
    import prewarms

    with (
        mock.patch.object(prewarms, "prewarm", children.prewarm),
        mock.patch.object(prewarms, "entrypoint", children.entrypoint),
    ):
        yield
