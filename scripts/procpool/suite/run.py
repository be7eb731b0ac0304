"""Run the regression suite on one release: fetch, patch, build, install, test.

With `--control` the release is the unpatched one, and exactly the tests on record must fail there;
`--record` adds the run to the record. Other arguments go to pytest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import ROOT, replace_file
from procpool.base.pythons import choose_python, installed_pythons
from procpool.catalog.fetch import fetch
from procpool.catalog.releases import Release, get_release
from procpool.catalog.series import Series
from procpool.suite.control import check_control
from procpool.suite.environment import WITH_BYTECODE, make_environment, missing_python, timed
from procpool.suite.plan import load_plan
from procpool.wheels.build import build_release

# Where the environments and the reports of the suite are kept.
RUNS = ROOT / ".nox" / ".cache" / "regression"
# For pytest-xdist: half of the suite waits for real processes, the other half needs the CPU, and
# workers are forks, so that more of them cost little. Tests that share what is waited for are
# marked as a group.
SIDE_BY_SIDE = ("-n", "4", "--dist", "loadgroup")
# How many cases of each test are run where not all are.
SAMPLE, QUICK_SAMPLE = 8, 4
# In the environment's directory: what each phase of making it took, in seconds.
TIMES = "procpool-times.json"


@dataclass(frozen=True)
class Target:
    """What a run of the suite is about: a release, patched with `series` or as it is (None).

    `python` is "newest", "oldest" or a version such as "3.10"; `folder` is where runs are kept.
    `purpose` keeps an environment apart from the suite's, which may run at the same time; they
    share their dependencies. `wheel` is one that was built before: it is taken as it is.
    """

    release: Release
    series: Series | None
    python: str
    folder: Path = RUNS
    purpose: str = ""
    wheel: Path | None = None

    @property
    def path(self) -> Path:
        """The directory of the environment; the report stands beside it."""
        kind = "patched" if self.series else "control"
        return self.folder / f"{self.purpose}{kind}-{self.release.version}-{self.python}"

    @property
    def report(self) -> Path:
        """pytest's JUnit report of the run."""
        return self.path.with_name(f"{self.path.name}.xml")


def prepare(target: Target) -> Path:
    """Make the environment of a run and return its interpreter; say what is in it on stderr.

    Raises `UserError`.
    """
    release = target.release
    installed = installed_pythons()
    python = choose_python(release.requires_python, target.python, installed)
    if missing := missing_python(release, target.python, installed):
        print(f"notice: {missing}; testing {release.version} on {python}", file=sys.stderr)
    times: dict[str, float] = {}
    with timed(times, "fetch"):
        wheel = target.wheel or fetch(release)
    if target.series and not target.wheel:
        with timed(times, "patch and build"):
            wheels = target.path.with_name(f"{target.path.name}-wheel")
            wheel = build_release(release, target.series, wheels)
    row = f"{wheel.name}: Python {python}, dependencies as of {release.dependencies_as_of}"
    print(row, file=sys.stderr, flush=True)
    interpreter = make_environment(release, wheel, python, target.path, times)
    replace_file(target.path / TIMES, json.dumps(times))
    return interpreter


def run_suite(
    target: Target, *arguments: str, quiet: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run the suite and write the JUnit report; with `quiet` keep what pytest prints.

    Raises `UserError` if the environment cannot be made.
    """
    interpreter = prepare(target)
    target.report.unlink(missing_ok=True)
    command = [str(interpreter), "-m", "pytest", "tests/regression", "-q"]
    command += [f"--junitxml={target.report}", "-o", f"cache_dir={target.path}/pytest-cache"]
    environment = os.environ | WITH_BYTECODE
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=quiet, text=True
    )


def suite_passes(release: Release, series: Series, folder: Path) -> tuple[bool, str]:
    """Run the suite on the patched release, on its oldest and newest installed Python.

    Returns whether it passed everywhere, and pytest's last line for each Python.
    """
    lines, passed = [], True
    for python in ("oldest", "newest"):
        target = Target(release, series, python, folder)
        result = run_suite(target, *SIDE_BY_SIDE, "--tb=no", quiet=True)
        passed &= result.returncode == 0
        last = (["pytest printed nothing", *result.stdout.split("\n")])[-2]
        lines.append(f"{python} Python: {last.strip('= ')}")
    return passed, "; ".join(lines)


def _parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Return the options, and the arguments that are pytest's."""
    parser = step_parser(__doc__)
    parser.allow_abbrev = False
    parser.add_argument("version", help="a supported release, such as 1.5.11")
    parser.add_argument(
        "--python", action="append", help="3.10, newest or oldest; may be given more than once"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a part of it, on the newest Python: what CI runs"
    )
    parser.add_argument("--control", action="store_true", help="run on the unpatched release")
    parser.add_argument("--record", action="store_true", help="add a control run to its record")
    return parser.parse_known_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suite on each of the chosen Pythons; return 1 if a run is not as it should be."""
    options, arguments = _parse(argv)
    release, series = get_release(options.version, options.patches)
    plan = load_plan(options.patches)
    version = release.version
    if options.record and not options.control:
        raise UserError("--record is for control runs: add --control")
    if options.quick or (not options.control and version not in plan.whole):
        print("leaving out the costly tests: they run on both ends of this text of the pool")
        arguments = ["-m", "not costly", *arguments]
        if version not in (plan.quick_whole if options.quick else plan.whole):
            sample = QUICK_SAMPLE if options.quick else SAMPLE
            print(f"running {sample} cases of each test: other releases run others")
            arguments = [f"--sample={sample}", *arguments]
    chosen = ["newest"] if options.control or options.quick else plan.pythons(version)
    for python in options.python or chosen:
        if options.control:
            target = Target(release, None, python)
            run_suite(target, "--unpatched", "--tb=no", "-r", "N", *arguments)
            good = check_control(target.report, version, options.record, options.patches)
        else:
            target = Target(release, series, python)
            good = run_suite(target, *SIDE_BY_SIDE, *arguments).returncode == 0
        if not good:
            session = "control" if options.control else "apply-and-test"
            session = "quick" if options.quick else session
            print(f'to repeat: nox -s "{session}({version})" -- --python {python}', flush=True)
            return 1
    return 0
