"""The marker of the costly tests, and a word on what is tested."""

from __future__ import annotations

import pytest
from livekit import agents

# Left out on a release between the two ends of a text of the pool, where all of them have run.
COSTLY = "costly"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{COSTLY}: run on the ends of each text of the pool only")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"livekit-agents {agents.__version__}, {agents.__file__}")
