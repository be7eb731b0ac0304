"""Check the control run: without the patches the tests on record must fail, and no others.

The record, `patches/control/<release>.toml`, is what earlier control runs on that release saw. A
new test that fails in no record proves nothing. Where an unpatched pool loses a race in some runs
and not in others, the record says "either". Reads the JUnit XML that pytest wrote.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import tomlkit
from procpool.base.errors import UserError
from procpool.base.files import PATCHES, replace_file
from procpool.catalog.releases import load_releases
from procpool.suite.outcomes import Outcome, read_outcomes


@dataclass
class Control:
    """The ids, sorted, of the tests that failed, passed, or did now one and now the other."""

    failed: list[str]
    passed: list[str]
    either: list[str] = field(default_factory=list)


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


def load_controls(patches: Path = PATCHES) -> dict[str, Control]:
    """Return the recorded control runs by release, the oldest release first."""
    versions = [v for v in load_releases(patches) if record_path(v, patches).is_file()]
    return {version: load_control(version, patches) for version in versions}


def guards(controls: Iterable[Control]) -> set[str]:
    """Return the functions of the tests that pass in all their cases in every run."""
    controls = list(controls)
    passed = {function(name) for control in controls for name in control.passed}
    failed = {function(n) for control in controls for n in [*control.failed, *control.either]}
    return passed - failed


def function(name: str) -> str:
    """Return the name of a test's function, without its file and its parameters."""
    return name.rpartition("::")[2].partition("[")[0]


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


def check_control(report: Path, release: str, add: bool, patches: Path = PATCHES) -> bool:
    """Print a line for each deviation of a run from the record and a summary.

    `report` is pytest's JUnit report; with `add` the run is added to the record first. Returns
    whether there is no deviation; raises `UserError` if no test failed.
    """
    outcomes = read_outcomes(report)
    failed = sum(outcome.failed for outcome in outcomes.values())
    if not failed:
        raise UserError("no test failed without the patches: the control run proves nothing")
    if add:
        path = record_path(release, patches)
        before = load_control(release, patches) if path.is_file() else Control([], [])
        record(outcomes, path, before)
    found = deviations(outcomes, load_control(release, patches))
    for name, text in found.items():
        print(f"{name}: {text}")
    passed = sum(not (outcome.failed or outcome.not_run) for outcome in outcomes.values())
    print(
        f"control: {failed} tests failed without the patches, {passed} passed,"
        f" {len(found)} deviations from the record"
    )
    return not found
