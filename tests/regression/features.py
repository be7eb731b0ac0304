"""What the release under test has and other releases lack, found by looking, never by version.

A test that is about such a thing asks here.
"""

from __future__ import annotations

import inspect
import re

from livekit import agents
from livekit.agents import worker
from livekit.agents.ipc import job_proc_lazy_main

_WORKER = inspect.getsource(worker)

# Where the worker keeps the tasks that answer a job offer and launch the job.
LAUNCH_TASKS = "_job_lifecycle_tasks" if "_job_lifecycle_tasks" in _WORKER else "_tasks"

# A worker that was closed can be run again.
RUNS_AGAIN = hasattr(worker, "AgentServer")

# drain() waits for the launches under way, and not for running jobs only.
DRAIN_WAITS_FOR_LAUNCHES = LAUNCH_TASKS == "_job_lifecycle_tasks"

# The connection to the server and the bookkeeping of jobs are a compiled core's.
COMPILED_CORE = hasattr(worker, "_WorkerHost")

# A report that a job failed can carry a text. Of a job's status, a core may take the number only.
REPORTS_SAY_WHY = (
    not COMPILED_CORE or "error" in inspect.signature(agents._core.Worker.job_status).parameters
)

# aclose() cuts the connection first, and each launch with it: there is nobody left to tell, and
# the server sees the worker leave.
CLOSE_ENDS_LAUNCHES = "self._conn.close()" in _WORKER

# A child whose prewarm raised exits; where its log handler stays open, a thread keeps it alive.
FAILED_CHILDREN_EXIT = bool(
    re.search(r"log_handler\.close\(\)\s+return\b", inspect.getsource(job_proc_lazy_main))
)
