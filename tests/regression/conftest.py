"""The marker of the costly tests, the control run's option, and a word on what is tested."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator

import psutil
import pytest
from livekit import agents

# Left out on a release between the two ends of a text of the pool, where all of them have run.
COSTLY = "costly"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--unpatched",
        action="store_true",
        help="a control run: end what an unpatched pool leaves behind, don't wait for it",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{COSTLY}: run on the ends of each text of the pool only")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"livekit-agents {agents.__version__}, {agents.__file__}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(
    config: pytest.Config,
) -> Generator[None, pytest.ExitCode, pytest.ExitCode]:
    code = yield
    if config.option.unpatched:
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        sys.stdout.flush()
        os._exit(int(code))
    return code
