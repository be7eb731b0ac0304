"""What the release under test has and other releases lack, found by looking, never by version.

A test that is about such a thing asks here.
"""

from __future__ import annotations

from livekit.agents.ipc.proc_pool import ProcPool

# An idle process that was killed leaves the warm queue (1.8.9 and later).
FORGETS_KILLED_PROCESSES = hasattr(ProcPool, "_remove_from_warmed_queue")
