"""The marker of the costly tests, the control run's option, and a word on what is tested."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import math
import os
import sys
import zlib
from collections.abc import Generator, Iterator
from importlib.metadata import version

import psutil
import pytest
from hypothesis import HealthCheck, Phase, settings

# Its checks are asserted in the tests' name, and some of them carry no message of their own.
pytest.register_assert_rewrite("real_pools")

# Seconds. Unpatched, much of what is waited for never comes.
UNPATCHED_GUARD = 20.0

# Left out on a release between the two ends of a text of the pool, where all of them have run.
COSTLY = "costly"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--unpatched",
        action="store_true",
        help="a control run: end what an unpatched pool leaves behind, don't wait for it",
    )
    parser.addoption(
        "--guard",
        type=float,
        metavar="SECONDS",
        help="what a test with real processes waits for counts as never coming after so long",
    )
    parser.addoption(
        "--sample",
        type=int,
        metavar="N",
        help="run at most N cases of each test, at even distances in their order, others on"
        " another release; and fewer random schedules",
    )


def pytest_configure(config: pytest.Config) -> None:
    if (workers := getattr(config.option, "tx", None)) and not config.option.collectonly:
        import forked_workers

        forked_workers.start(len(workers))
    if config.option.guard or config.option.unpatched:
        import real_pools

        real_pools.guard = config.option.guard or UNPATCHED_GUARD
    few = 8 * (config.option.sample or math.inf)
    settings.register_profile(
        "suite",
        max_examples=int(min(few, 150)),
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],  # shrinking takes minutes on a pool that respawns without pause
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("suite")
    config.addinivalue_line("markers", f"{COSTLY}: run on the ends of each text of the pool only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    grouped = [item for item in items if item.get_closest_marker("xdist_group")]
    if getattr(config.option, "loadgroup", False) and any("@" not in i.nodeid for i in grouped):
        raise pytest.UsageError(
            "this pytest-xdist does not keep the tests of a group together on this pytest:"
            " https://github.com/pytest-dev/pytest-xdist/issues/1386"
        )
    # what waits for processes first, so that side by side the rest fills what is left of the time
    items.sort(key=lambda item: item.path.stem != "test_real_processes")
    if (most := config.option.sample) is None:
        return
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    turn = zlib.crc32(version("livekit-agents").partition("+")[0].encode())
    chosen = []
    for of_test in cases.values():
        count = min(most, len(of_test))
        steps = (number * len(of_test) // count for number in range(count))
        chosen += [of_test[(turn + step) % len(of_test)] for step in steps]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


@pytest.fixture(autouse=True)
def _handles() -> Iterator[None]:
    # up to 1.1.7 each thread executor wraps it once more, in what is the process of all tests
    run = asyncio.events.Handle._run
    yield
    asyncio.events.Handle._run = run  # type: ignore[method-assign]


def pytest_collection_finish() -> None:
    # what is imported by now stays: looking for garbage in it takes a tenth of a second each time
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    spec = importlib.util.find_spec("livekit.agents")
    where = spec.origin if spec else "not installed"
    terminalreporter.write_line(f"livekit-agents {version('livekit-agents')}, {where}")


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
