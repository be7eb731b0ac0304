"""What the release under test has and other releases lack, found by looking, never by version.

A test that is about such a thing asks here.
"""

from __future__ import annotations

import inspect
import re

from livekit.agents import worker
from livekit.agents.ipc import job_proc_lazy_main

_WORKER = inspect.getsource(worker)

# Where the worker keeps the tasks that answer a job offer and launch the job.
LAUNCH_TASKS = "_job_lifecycle_tasks" if "_job_lifecycle_tasks" in _WORKER else "_tasks"

# drain() waits for the launches under way, and not for running jobs only.
DRAIN_WAITS_FOR_LAUNCHES = LAUNCH_TASKS == "_job_lifecycle_tasks"

# A job that was accepted counts as load before its process runs it.
RESERVES_SLOTS = "_reserved_slots" in _WORKER

# A child whose prewarm raised exits; where its log handler stays open, a thread keeps it alive.
FAILED_CHILDREN_EXIT = bool(
    re.search(r"log_handler\.close\(\)\s+return\b", inspect.getsource(job_proc_lazy_main))
)
