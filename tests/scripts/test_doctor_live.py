"""The doctor's `--live`, on fake pools."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import doctor
import pytest
from doctor import POOL, Finding, State
from installs import DOCTOR

FAKE_POOL = """
import asyncio

class ProcPool:
    def __init__(self, *, num_idle_processes, mp_ctx):
        self.closed = asyncio.Event()

    def on(self, event, callback):
        pass

    async def start(self):
        await self.closed.wait()  # as before 1.4.2

    async def aclose(self):
        self.closed.set()

    async def launch_job(self, info):
        {launch}
"""
FAKE_JOB = """
import enum

class JobExecutorType(enum.Enum):
    PROCESS = 1

class RunningJobInfo:
    def __init__(self, job):
        self.job = job

def JobAcceptArguments(**values):
    pass
"""
FAKE_AGENT = """
class JobType:
    JT_ROOM = 1

def Job(**values):
    pass
"""


def fake(folder: Path, launch: str, imported: str = "") -> dict[str, str]:
    """Write a made-up livekit-agents into a folder.

    Returns the environment variables to run the doctor with.
    """
    for name, text in {
        "livekit/agents/__init__.py": imported,
        "livekit/agents/version.py": '__version__ = "1.0.1"\n',
        "livekit/agents/job.py": FAKE_JOB,
        "livekit/agents/ipc/__init__.py": "",
        POOL: FAKE_POOL.format(launch=launch),
        "livekit/protocol/agent.py": FAKE_AGENT,
    }.items():
        path = folder / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return os.environ | {"PYTHONPATH": str(folder / "site")}


def live(folder: Path, launch: str, imported: str = "", seconds: float = 50) -> dict[str, Any]:
    """Run the doctor on the made-up livekit-agents; half a second of waiting is a stall.

    It ends long before the `seconds` are over, unless the machine is very busy.
    """
    environment = fake(folder, launch, imported)
    command = [sys.executable, str(DOCTOR), "--live", "--json"]
    command += ["--seconds", str(seconds), "--limit", "0.5"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    found: dict[str, Any] = json.loads(result.stdout)
    assert result.returncode == found["exit_code"]
    return found


HANGS = "await asyncio.Event().wait()"
ENDS = "raise RuntimeError('no process became available')"


def test_live_sees_a_stall(tmp_path: Path) -> None:
    found = live(tmp_path, HANGS)
    assert found["live"]["result"] == "stall" and found["live"]["stalled"] == 3
    assert found["state"] == "affected"
    assert "job-2: STALLED" in " ".join(found["live"]["saw"])


def test_live_sees_none(tmp_path: Path) -> None:
    found = live(tmp_path, ENDS)
    assert found["live"]["result"] == "no stall" and found["live"]["stalled"] == 0
    assert found["state"] == "modified"  # as without --live


LAST_WORDS = """
import os

leave = os._exit

def _exit(code):
    print("[]")
    print("a process of the pool: its last words", flush=True)
    leave(code)

os._exit = _exit
"""


def test_live_when_a_process_prints_last(tmp_path: Path) -> None:
    found = live(tmp_path, ENDS, LAST_WORDS)
    assert found["live"]["result"] == "no stall"
    assert "a process of the pool: its last words" in found["live"]["saw"]
    assert not any("stalled" in line for line in found["live"]["saw"])


def test_live_that_cannot_import(tmp_path: Path) -> None:
    found = live(tmp_path, "pass", "import no_such_module")
    assert found["live"]["result"] == "inconclusive"
    assert "no_such_module" in found["live"]["text"]


def test_live_ends_in_time_and_leaves_no_process(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hang = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(600)\n"
    )
    found = live(tmp_path, "pass", hang, 8)  # which has a minute to end
    assert found["live"]["result"] == "inconclusive"
    for pid in map(int, pids.read_text().split()):
        assert not alive(pid)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # it ended just now, or there is no /proc
        return sys.platform != "linux"


@pytest.mark.parametrize(
    ("state", "result", "expected"),
    [
        ("patched", "stall", "affected"),
        ("patched", "no stall", "patched"),
        ("patched", "inconclusive", "unknown"),
        ("partly", "stall", "partly"),
        ("partly", "no stall", "partly"),
        ("affected", "no stall", "affected"),
        ("affected", "inconclusive", "affected"),
        ("modified", "stall", "affected"),
        ("modified", "no stall", "modified"),
        ("unknown", "stall", "affected"),
        ("unknown", "no stall", "unknown"),
    ],
)
def test_live_decides_together_with_the_files(state: str, result: str, expected: str) -> None:
    finding = Finding(State[state.upper()], ["why"])
    doctor.add_live(finding, {"result": result, "text": "what was seen", "saw": ["a line"]})
    assert finding.state == expected
    assert "live: what was seen\n     a line" in doctor.report(finding)
