"""Check the control run, test by test: on an unpatched release exactly the marked tests must fail.

Reads the JUnit XML that pytest wrote. A test that carries the property `breaks_unpatched` (the
regression suite's conftest records it for the marker of that name) must have failed; every other
test must not have.
"""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from errors import UserError, run_main

MARKER = "breaks_unpatched"


@dataclass
class Outcome:
    """One test: whether it must fail, and what happened to it."""

    marked: bool = False
    failed: bool = False
    not_run: str = ""

    def deviation(self) -> str | None:
        """Say how the outcome differs from what the contract demands, or None if it does not."""
        if self.not_run:
            return (
                f"did not run ({self.not_run})" if self.marked or "error" in self.not_run else None
            )
        if self.marked and not self.failed:
            return "passed, but must fail without the patches"
        if self.failed and not self.marked:
            return "failed, but must pass without the patches too"
        return None


def read_outcomes(report: Path) -> dict[str, Outcome]:
    """Return the outcome of every test in a JUnit XML file.

    Raise `UserError` if it cannot be read.
    """
    try:
        root = ElementTree.parse(report).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(f"pytest left no readable report, {report}: {error}") from None
    outcomes: dict[str, Outcome] = {}
    for case in root.iter("testcase"):
        # A test that fails in its call and again in its teardown is listed twice.
        name = f"{case.get('classname')}::{case.get('name')}"
        outcome = outcomes.setdefault(name, Outcome())
        values = [item.get("value") for item in case.iter("property") if item.get("name") == MARKER]
        outcome.marked |= any(value not in ("False", "0", "") for value in values)
        outcome.failed |= case.find("failure") is not None
        if (broken := case.find("error")) is not None:
            if "teardown" in (broken.get("message") or ""):
                outcome.failed = True
            else:
                outcome.not_run = "error before the test"
        elif case.find("skipped") is not None:
            outcome.not_run = "skipped"
    return outcomes


def record(outcomes: dict[str, Outcome], path: Path) -> None:
    """Write the ids of the tests that failed, and of those that passed, as TOML to `path`."""
    document = tomlkit.document()
    document.add(tomlkit.comment("A control run on the unpatched release, written by"))
    document.add(tomlkit.comment("nox -s control -- --record."))
    ran = {name: outcome for name, outcome in outcomes.items() if not outcome.not_run}
    for key, failed in (("failed", True), ("passed", False)):
        names = [name for name, outcome in ran.items() if outcome.failed is failed]
        array = tomlkit.array()
        array.extend(names)
        document.add(key, array.multiline(True))
    path.parent.mkdir(exist_ok=True)
    path.write_text(tomlkit.dumps(document), "utf-8")


def main() -> int:
    """Print a line for each deviation and a summary; return 1 if there is any deviation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "report", type=Path, help="JUnit XML file of the run on the unpatched release"
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write what failed and what passed to this file"
    )
    options = parser.parse_args()
    outcomes = read_outcomes(options.report)
    if not any(outcome.marked for outcome in outcomes.values()):
        raise UserError(f"no test carries the property {MARKER}: the control run proves nothing")
    deviations = {name: text for name, outcome in outcomes.items() if (text := outcome.deviation())}
    for name, text in deviations.items():
        print(f"{name}: {text}")
    marked = sum(outcome.marked for outcome in outcomes.values())
    failed = sum(outcome.marked and outcome.failed for outcome in outcomes.values())
    passed = sum(not (o.marked or o.failed or o.not_run) for o in outcomes.values())
    print(
        f"control: {failed} of {marked} marked tests failed as they must, {passed} of"
        f" {len(outcomes) - marked} others passed, {len(deviations)} deviations"
    )
    if options.record and not deviations:
        record(outcomes, options.record)
    return 1 if deviations else 0


if __name__ == "__main__":
    run_main(main)
