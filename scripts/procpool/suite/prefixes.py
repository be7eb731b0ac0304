"""Prove that the first patches of a series are a valid state, and that each patch is needed.

Runs the suite on a release with none, one, two … all of its patches: after each, no test fails that
passed before it, and some test passes that failed. By default on one release of each line, with a
sample of each test's cases. What seems to break is run again: what fails by chance without a patch
that comes later passes by chance, too.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.catalog.releases import get_release
from procpool.catalog.series import idea_of
from procpool.patching.apply import apply_in_place
from procpool.suite.outcomes import Outcome
from procpool.suite.trials import PRISTINE, Bench, Trial, make_bench, one_of_each_line

# Cases of one test that are run by default.
SAMPLE = 6
# Seconds that the suite may take on one prefix, and that one test may.
SUITE_LIMIT, TEST_LIMIT = 1800.0, 200
# How often a test that a patch seems to break is run again, before the patch and after it.
AGAIN = 3
OPTIONS = ["-q", "--tb=line", "-r", "N", f"--timeout={TEST_LIMIT}"]

Outcomes = dict[str, Outcome]


@dataclass(frozen=True)
class Row:
    """What one patch did: `name` is its idea; the others are ids of tests."""

    name: str
    failed: set[str]
    greened: set[str]
    reddened: set[str]


def compare(names: Sequence[str], runs: Sequence[Outcomes]) -> list[Row]:
    """Return what each patch did, from the runs without any, with the first, with the first two …;
    `names` are those of the runs.

    A test that one of two runs left out, because the patch took away what it is about or brought
    it, is not compared.
    """
    rows: list[Row] = []
    ran = [{name: o.failed for name, o in run.items() if not o.not_run} for run in runs]
    before: dict[str, bool] = {}
    for name, now in zip(names, ran, strict=True):
        both = before.keys() & now.keys()
        rows.append(
            Row(
                name,
                failed={test for test, failed in now.items() if failed},
                greened={test for test in both if before[test] and not now[test]},
                reddened={test for test in both if now[test] and not before[test]},
            )
        )
        before = now
    return rows


def still_broken(rows: Sequence[Row], runs: Mapping[str, Outcomes]) -> list[Row]:
    """Return `rows` without the tests that another run, by the names of the rows, does not show to
    be broken: they fail before the patch, or pass after it.
    """
    again = compare([row.name for row in rows], [runs.get(row.name, {}) for row in rows])
    return [
        replace(row, reddened=row.reddened & other.reddened)
        for row, other in zip(rows, again, strict=True)
    ]


def run_again(bench: Bench, rows: Sequence[Row], options: argparse.Namespace) -> list[Row]:
    """Return `rows` with those tests only that are broken each time."""
    for _ in range(AGAIN):
        tests: dict[str, set[str]] = defaultdict(set)
        for before, now in pairwise(rows):
            if now.reddened:
                tests[before.name] |= now.reddened
                tests[now.name] |= now.reddened
        trials = [
            Trial(name, [*OPTIONS, *_nodes(found)], SUITE_LIMIT) for name, found in tests.items()
        ]
        if trials:
            rows = still_broken(rows, bench.run(trials, options.at_once))
    return list(rows)


def _nodes(tests: Iterable[str]) -> list[str]:
    """Return what pytest calls these tests, from their names in its report."""
    parts = [test.partition("::") for test in sorted(tests)]
    return [f"{module.replace('.', '/')}.py::{name}" for module, _, name in parts]


def faults(rows: Sequence[Row]) -> list[str]:
    """Return a line for everything that is not as it should be, none if all is well."""
    found = []
    for row in rows[1:]:
        if not row.greened:
            found.append(f"{row.name}: no test needs it")
        found += [f"{row.name}: breaks {test}" for test in sorted(row.reddened)]
    found += [f"all patches: {test} fails" for test in sorted(rows[-1].failed)]
    return found


def table(version: str, rows: Sequence[Row]) -> str:
    """Return the table of a release."""
    lines = [f"{version:24} {'failed':>6} {'green':>6} {'red':>6}"]
    for number, row in enumerate(rows):
        counts = [len(row.failed), len(row.greened), len(row.reddened)]
        lines.append(f"{number} {row.name:22} " + " ".join(f"{count:6}" for count in counts))
    return "\n".join(lines)


def run_prefixes(version: str, options: argparse.Namespace) -> list[Row]:
    """Run the suite on each prefix of a release's series. Raises `UserError`."""
    release, series = get_release(version, options.patches)
    arguments = [*OPTIONS, "tests/regression", "-m", "not costly"]
    arguments += [] if options.every_case else [f"--sample={SAMPLE}"]
    arguments += options.pytest
    with make_bench(release) as bench:
        names = [PRISTINE, *map(idea_of, series.patches)]
        for before, name, patch in zip(names, names[1:], series.patches, strict=False):
            apply_in_place(bench.copy(name, before), [patch])
        trials = [Trial(name, arguments, SUITE_LIMIT) for name in names]
        runs = bench.run(trials, options.at_once)
        for name, run in runs.items():
            if not run:
                raise UserError(f"{version}, {name}: the suite took more than {SUITE_LIMIT:.0f} s")
        return run_again(bench, compare(names, [runs[name] for name in names]), options)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table for each release; return 1 if a patch is not needed, or breaks a test."""
    parser = step_parser(__doc__)
    parser.add_argument("versions", nargs="*", metavar="RELEASE")
    parser.add_argument("--every-case", action="store_true", help="no sample: all cases")
    parser.add_argument("--at-once", type=int, default=4, help="runs side by side; default: 4")
    parser.add_argument("--pytest", action="append", default=[], help="an argument for pytest")
    options = parser.parse_args(argv)
    wrong = False
    for version in options.versions or one_of_each_line(options.patches):
        rows = run_prefixes(version, options)
        print(table(version, rows), flush=True)
        for fault in faults(rows):
            wrong = True
            print(f"{version}, {fault}", flush=True)
    return int(wrong)
