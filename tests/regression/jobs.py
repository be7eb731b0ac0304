"""Jobs to launch, made of what the release's `RunningJobInfo` has."""

from __future__ import annotations

import dataclasses
from typing import Any

from livekit.agents.job import JobAcceptArguments, RunningJobInfo
from livekit.protocol import agent

TOKEN = "eyJhbGciOi.room-token.secret"
"""What opens the room of a job, so no log may hold it."""


def make_job(id: str) -> RunningJobInfo:
    """Return a job of a room that does not exist."""
    values: dict[str, Any] = {
        "accept_arguments": JobAcceptArguments(name="", identity="", metadata=""),
        "job": agent.Job(id=id, type=agent.JobType.JT_ROOM),
        "url": "",
        "token": TOKEN,
        "worker_id": "",
        "fake_job": True,
    }
    known = {field.name for field in dataclasses.fields(RunningJobInfo)}
    return RunningJobInfo(**{name: value for name, value in values.items() if name in known})
