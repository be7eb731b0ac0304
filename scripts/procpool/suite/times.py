"""Say where the time of the last `nox -s apply-and-test` went, from what its runs left behind.

Reads, for each run, the seconds that the suite noted and pytest's JUnit report. The sum is
that of the sessions: with `-j 2` about twice what the clock on the wall showed.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.suite.run import RUNS, TIMES

# Seconds by what took them.
Seconds = dict[str, float]


def read_runs(folder: Path) -> dict[str, tuple[Seconds, Seconds]]:
    """Return the seconds of each run of the suite in `folder`: by phase, and by test.

    A run is named by its release and Python, such as "1.5.11-newest"; a test by its function, all
    parameters together, without its group. Raises `UserError` if there is no run.
    """
    runs: dict[str, tuple[Seconds, Seconds]] = {}
    for report in sorted(folder.glob("patched-*.xml")):
        environment = report.with_suffix("")
        phases, tests = defaultdict[str, float](float), defaultdict[str, float](float)
        if (environment / TIMES).is_file():
            phases.update(json.loads((environment / TIMES).read_text("utf-8")))
        root = ElementTree.parse(report).getroot()
        for suite in root.iter("testsuite"):
            phases["suite"] += float(suite.get("time", 0))
        for case in root.iter("testcase"):
            name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name', '')}"
            tests[re.split(r"[\[@]", name)[0]] += float(case.get("time", 0))
        runs[environment.name.removeprefix("patched-")] = phases, tests
    if not runs:
        raise UserError(f"no run of the suite is on record in {folder}: nox -s apply-and-test")
    return runs


def add(several: Iterable[Seconds]) -> Seconds:
    """Return the sums of `several`, name by name."""
    sums = defaultdict[str, float](float)
    for seconds in several:
        for name, value in seconds.items():
            sums[name] += value
    return sums


def table(title: str, times: Seconds, total: float, top: int) -> str:
    """Return the lines of a table of the `top` longest: seconds, their share of `total`, a name."""
    rows = sorted(times.items(), key=lambda row: row[1], reverse=True)[:top]
    lines = [f"{seconds:9.1f} s {100 * seconds / total:5.1f} %  {name}" for name, seconds in rows]
    return "\n".join([title, *lines])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the seconds by phase, and the slowest runs and tests."""
    parser = step_parser(__doc__)
    parser.add_argument("--folder", type=Path, default=RUNS, help="default: %(default)s")
    parser.add_argument("--top", type=int, default=10, help="rows a table; default: %(default)s")
    options = parser.parse_args(argv)
    runs = read_runs(options.folder)
    phases = add(of_run for of_run, _ in runs.values())
    tests = add(of_tests for _, of_tests in runs.values())
    slowest = {name: sum(of_run.values()) for name, (of_run, _) in runs.items()}
    total = sum(phases.values())
    print(table(f"{len(runs)} runs, by phase", phases, total, options.top))
    print(table("\nslowest runs", slowest, total, options.top))
    print(table("\nslowest tests, with their fixtures", tests, total, options.top))
    return 0
