"""Show whether a job stalls on the livekit-agents that is installed: run it with that Python.

A pool wants four idle processes and none can initialize: prewarm raises after a time that differs
from process to process, so that the failures do not line up and some process is always being
started. Three jobs come, one second apart. Prints what it sees; exits with 1 if a job has neither
been launched nor got an error after three times the wait timeout (initialize_timeout, 1 s here,
plus 5 s), and with 0 if each has its verdict. Needs livekit-agents 1.x, and `doctor.py` beside it,
which holds the scenario.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import os
import sys

from doctor import reproduce


def main() -> None:
    """Run the scenario and exit: 1 if a job stalled, else 0."""
    summary = __doc__.splitlines()[0] if __doc__ else None
    argparse.ArgumentParser(description=summary).parse_args()
    try:
        import livekit.agents  # noqa: F401
    except ImportError as error:
        print(
            f"error: livekit-agents cannot be imported ({error}): run this with the Python that"
            " it is installed for",
            file=sys.stderr,
        )
        sys.exit(2)
    # four failing processes at a time would fill the screen with their tracebacks
    logging.getLogger("livekit.agents").setLevel(logging.CRITICAL)
    stalled = asyncio.run(reproduce())["stalled"]
    print(f"{stalled} of 3 jobs stalled")
    sys.stdout.flush()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(1 if stalled else 0)  # an unpatched pool may keep threads that never end


if __name__ == "__main__":
    main()
