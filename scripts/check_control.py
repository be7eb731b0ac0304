"""Check the control run: without the patches the tests on record must fail, and no others.

The record, `patches/control/<release>.toml`, is what earlier control runs on that release saw. A
new test that fails in no record proves nothing. Where an unpatched pool loses a race in some runs
and not in others, the record says "either". Reads the JUnit XML that pytest wrote.
"""

from __future__ import annotations

import argparse
import tomllib
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

import tomlkit
from errors import UserError, run_main
from releases_table import PATCHES, replace_file


@dataclass
class Outcome:
    """What happened to one test; `not_run` says why it did not run."""

    failed: bool = False
    not_run: str = ""


@dataclass
class Control:
    """The ids, sorted, of the tests that failed, passed, or did now one and now the other."""

    failed: list[str]
    passed: list[str]
    either: list[str] = field(default_factory=list)


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
        outcome.failed |= case.find("failure") is not None
        if (broken := case.find("error")) is not None:
            if "teardown" in (broken.get("message") or ""):
                outcome.failed = True
            else:
                outcome.not_run = "error before the test"
        elif case.find("skipped") is not None:
            outcome.not_run = "skipped"
    return outcomes


def record_path(release: str, patches: Path = PATCHES) -> Path:
    """Return where the record of a release's control run is kept."""
    return patches / "control" / f"{release}.toml"


def load_control(release: str, patches: Path = PATCHES) -> Control:
    """Return the recorded control run of a release; raise `UserError` if there is none."""
    path = record_path(release, patches)
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        return Control(list(data["failed"]), list(data["passed"]), list(data.get("either", [])))
    except FileNotFoundError:
        raise UserError(
            f'there is no record {path}: write one with nox -s "control({release})" -- --record'
        ) from None
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: {error}") from None


def deviations(outcomes: dict[str, Outcome], control: Control) -> dict[str, str]:
    """Return, by test id, how a run differs from the record `control`; empty if it does not."""
    found: dict[str, str] = {}
    failed, passed, either = set(control.failed), set(control.passed), set(control.either)
    for name, outcome in outcomes.items():
        if outcome.not_run:
            if name in failed | passed | either or "error" in outcome.not_run:
                found[name] = f"did not run ({outcome.not_run})"
        elif name not in failed | passed | either:
            found[name] = "is not on record"
        elif outcome.failed and name in passed:
            found[name] = "failed, but passed when the record was written"
        elif not outcome.failed and name in failed:
            found[name] = "passed, but must fail without the patches"
    for name in (failed | passed | either) - outcomes.keys():
        found[name] = "is on record, but was not run"
    return found


def record(outcomes: dict[str, Outcome], path: Path, before: Control) -> None:
    """Write what the tests did as TOML to `path`, together with what the record `before` saw."""
    failed = {name for name, o in outcomes.items() if o.failed and not o.not_run}
    passed = {name for name, o in outcomes.items() if not o.failed and not o.not_run}
    either = failed & {*before.passed, *before.either} | passed & {*before.failed, *before.either}
    document = tomlkit.document()
    document.add(tomlkit.comment("Control runs on the unpatched release, written by"))
    document.add(tomlkit.comment("nox -s control -- --record."))
    for key, names in (
        ("failed", failed - either),
        ("passed", passed - either),
        ("either", either),
    ):
        array = tomlkit.array()
        array.extend(sorted(names))
        document.add(key, array.multiline(True))
    path.parent.mkdir(exist_ok=True)
    replace_file(path, tomlkit.dumps(document))


def main() -> int:
    """Print a line for each deviation and a summary; return 1 if there is any deviation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("release", help="the release that the run was on, such as 1.5.11")
    parser.add_argument("report", type=Path, help="JUnit XML file of the run")
    parser.add_argument(
        "--record",
        action="store_true",
        help="add this run to the record; to begin a new one, delete the old",
    )
    parser.add_argument("--patches", type=Path, default=PATCHES, help="folder of the records")
    options = parser.parse_args()
    outcomes = read_outcomes(options.report)
    failed = sum(outcome.failed for outcome in outcomes.values())
    if not failed:
        raise UserError("no test failed without the patches: the control run proves nothing")
    if options.record:
        path = record_path(options.release, options.patches)
        before = (
            load_control(options.release, options.patches) if path.is_file() else Control([], [])
        )
        record(outcomes, path, before)
    found = deviations(outcomes, load_control(options.release, options.patches))
    for name, text in found.items():
        print(f"{name}: {text}")
    passed = sum(not (outcome.failed or outcome.not_run) for outcome in outcomes.values())
    print(
        f"control: {failed} tests failed without the patches, {passed} passed,"
        f" {len(found)} deviations from the record"
    )
    return 1 if found else 0


if __name__ == "__main__":
    run_main(main)
