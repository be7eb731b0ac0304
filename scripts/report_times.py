"""Say where the time of the last `nox -s apply-and-test` went, from what its runs left behind.

Reads, for each run, the seconds that `release_env.py` noted and pytest's JUnit report. The sum is
that of the sessions: with `-j 2` about twice what the clock on the wall showed.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from errors import UserError, run_main
from release_env import TIMES
from releases_table import ROOT

# Where noxfile.py keeps the environments and the reports of the suite.
RUNS = ROOT / ".nox" / ".cache" / "regression"


def read_runs(folder: Path) -> dict[str, tuple[Counter[str], Counter[str]]]:
    """Return the seconds of each run of the suite in `folder`: by phase, and by test.

    A run is named by its release and Python, such as "1.5.11-newest"; a test by its function, all
    parameters together. Raises `UserError` if there is no run.
    """
    runs: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for report in sorted(folder.glob("patched-*.xml")):
        environment = report.with_suffix("")
        phases, tests = Counter[str](), Counter[str]()
        if (environment / TIMES).is_file():
            phases.update(json.loads((environment / TIMES).read_text("utf-8")))
        for suite in ElementTree.parse(report).iter("testsuite"):
            phases["suite"] += float(suite.get("time", 0))
        for case in ElementTree.parse(report).iter("testcase"):
            name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name', '')}"
            tests[name.partition("[")[0]] += float(case.get("time", 0))
        runs[environment.name.removeprefix("patched-")] = phases, tests
    if not runs:
        raise UserError(f"no run of the suite is on record in {folder}: nox -s apply-and-test")
    return runs


def table(title: str, rows: Iterable[tuple[str, float]], total: float) -> str:
    """Return the lines of a table: seconds, their share of `total` in percent, and a name."""
    lines = [f"{seconds:9.1f} s {100 * seconds / total:5.1f} %  {name}" for name, seconds in rows]
    return "\n".join([title, *lines])


def main() -> int:
    """Print the seconds by phase, and the slowest runs and tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=RUNS, help="default: %(default)s")
    parser.add_argument("--top", type=int, default=10, help="rows a table; default: %(default)s")
    options = parser.parse_args()
    runs = read_runs(options.folder)
    phases, tests = Counter[str](), Counter[str]()
    for of_run, of_tests in runs.values():
        phases.update(of_run)
        tests.update(of_tests)
    total = sum(phases.values())
    slowest = Counter({name: sum(of_run.values()) for name, (of_run, _) in runs.items()})
    print(table(f"{len(runs)} runs, by phase", phases.most_common(), total))
    print(table("\nslowest runs", slowest.most_common(options.top), total))
    print(table("\nslowest tests, with their fixtures", tests.most_common(options.top), total))
    return 0


if __name__ == "__main__":
    run_main(main)
