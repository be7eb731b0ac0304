"""Running a step as a user does."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def run(step: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS), step, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environ)
