"""Prove that the suite sees what breaks: each mutant of the patched code must fail a named test.

A mutant is a small change to a release with its whole series applied, from tests/mutants.toml. Its
tests pass without it, and one of them must fail with it. Every promise, every constant that the
patches bring, and every guard has a mutant: a guard is a test that passes on every unpatched
release on record. By default on one release of each line.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import ROOT, replace_file
from procpool.catalog.releases import get_release
from procpool.catalog.series import Series, line_of, load_lines
from procpool.patching.apply import apply_in_place
from procpool.patching.patch import read_diff
from procpool.suite.control import guards, load_controls
from procpool.suite.outcomes import Outcome
from procpool.suite.trials import PRISTINE, Bench, Trial, make_bench, one_of_each_line

MUTANTS = ROOT / "tests" / "mutants.toml"
# The promises that have a mutant; those that are missing are not kept yet.
PROMISES = {str(number) for number in range(1, 16)}
# Seconds that the tests of one mutant may take, and that one test may.
TRIAL_LIMIT, TEST_LIMIT = 300.0, 100
# The variant with the whole series, which each mutant changes.
PATCHED = "patched"


@dataclass(frozen=True)
class Mutant:
    """What is broken in one file, by exact texts: each `old` stands there once.

    `breaks` names promises by their numbers, and constants. `tests` are pytest's, without the
    folder. `lines` are the first releases of the lines that it is for, all if there are none.
    """

    name: str
    breaks: list[str]
    file: str
    change: list[list[str]]
    tests: list[str]
    lines: list[str]

    def apply(self, tree: Path) -> None:
        """Break a tree; raise `UserError` if it does not hold the old text exactly once."""
        path = tree / self.file
        text = path.read_text("utf-8")
        for old, new in self.change:
            if text.count(old) != 1:
                raise UserError(f"{self.file} holds this {text.count(old)} times: {old!r}")
            text = text.replace(old, new)
        replace_file(path, text)


def load_mutants(path: Path = MUTANTS) -> list[Mutant]:
    """Return the mutants in a file; raise `UserError` if it is wrong."""
    try:
        rows = tomllib.loads(path.read_text("utf-8"))["mutants"]
        return [Mutant(**({"lines": []} | row)) for row in rows]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: {error}") from None


def mutants_of(mutants: Iterable[Mutant], line: str) -> list[Mutant]:
    """Return those that are for a line; raise `UserError` if two of them have one name."""
    found = [mutant for mutant in mutants if line in mutant.lines or not mutant.lines]
    names = [mutant.name for mutant in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two mutants for line {line} are named {twice[0]}")
    return found


def constants(series: Series) -> set[str]:
    """Return the names of the constants that a series brings."""
    added = {
        line.value
        for patch in series.patches
        for file in read_diff(patch)
        for hunk in file
        for line in hunk
        if line.is_added
    }
    found = (re.match(r"([A-Z][A-Z_]+) = ", line) for line in added)
    return {match[1] for match in found if match}


def uncovered(
    mutants: Sequence[Mutant], needed: Iterable[str], guarding: Iterable[str]
) -> list[str]:
    """Return a line for each promise or constant (`needed`) and each guard without a mutant."""
    broken = {what for mutant in mutants for what in mutant.breaks}
    named = {test.partition("::")[2].partition("[")[0] for m in mutants for test in m.tests}
    return [f"no mutant breaks {what}" for what in sorted(set(needed) - broken)] + [
        f"no mutant fails the guard {test}" for test in sorted(set(guarding) - named)
    ]


def _arguments(tests: Iterable[str]) -> list[str]:
    """Return pytest's arguments for some tests."""
    return ["-q", "--tb=line", f"--timeout={TEST_LIMIT}"] + [f"tests/regression/{t}" for t in tests]


def verdict(mutant: Mutant, patched: dict[str, Outcome], broken: dict[str, Outcome] | None) -> str:
    """Say what became of a mutant: "killed by …", or why it was not.

    Takes the outcomes of its tests, and of others, on the patched release, and on the mutant's;
    None if the mutant does not apply.
    """
    for test in mutant.tests:
        name = "tests.regression." + test.replace(".py::", "::")
        cases = {n: o for n, o in patched.items() if n == name or n.startswith(f"{name}[")}
        if not cases:
            return f"there is no test {test}"
        if bad := [n for n, outcome in cases.items() if outcome.failed or outcome.not_run]:
            return f"without it, {_short(bad[0])} does not pass"
    if broken is None:
        return "does not apply"
    if not broken:
        return f"killed: no end within {TRIAL_LIMIT:.0f} s"
    killers = [name for name, o in broken.items() if o.failed or o.not_run]
    return f"killed by {_short(killers[0])}" if killers else "SURVIVES"


def _short(name: str) -> str:
    return name.rpartition("::")[2]


def _break(bench: Bench, mutants: Iterable[Mutant]) -> set[str]:
    """Make a variant for each mutant; return the names of those that do not apply, and say why."""
    failed = set()
    for mutant in mutants:
        try:
            mutant.apply(bench.copy(mutant.name, PATCHED))
        except UserError as error:
            failed.add(mutant.name)
            print(f"{bench.release.version}, {mutant.name}: {error}")
    return failed


def run_mutants(
    version: str, mutants: Sequence[Mutant], options: argparse.Namespace
) -> dict[str, str]:
    """Run the mutants on a release and return what became of each. Raises `UserError`."""
    release, series = get_release(version, options.patches)
    with make_bench(release) as bench:
        apply_in_place(bench.copy(PATCHED, PRISTINE), series.patches)
        unfit = _break(bench, mutants)
        tests = sorted({test for mutant in mutants for test in mutant.tests})
        trials = [Trial(PATCHED, _arguments(tests), TRIAL_LIMIT * 5)]
        trials += [
            Trial(mutant.name, [*_arguments(mutant.tests), "-x"], TRIAL_LIMIT)
            for mutant in mutants
            if mutant.name not in unfit
        ]
        runs = bench.run(trials, options.at_once)
    if not runs[PATCHED]:
        raise UserError(f"{version}: the tests of the mutants do not run without them")
    return {
        mutant.name: verdict(mutant, runs[PATCHED], runs.get(mutant.name)) for mutant in mutants
    }


def spread(names: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Return which mutants to run on which release, each on one of those that it is for.

    `names` holds the names of a release's mutants by its version. Where a mutant may run on
    several, the one with the fewest so far takes it.
    """
    chosen: dict[str, set[str]] = {version: set() for version in names}
    every = dict.fromkeys(name for of_release in names.values() for name in of_release)
    for name in sorted(every, key=lambda name: sum(name in of for of in names.values())):
        fit = [version for version, of_release in names.items() if name in of_release]
        chosen[min(fit, key=lambda version: len(chosen[version]))].add(name)
    return chosen


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table for each release; return 1 if a mutant is not killed, or one is missing."""
    parser = step_parser(__doc__)
    parser.add_argument(
        "versions", nargs="*", metavar="RELEASE", help="default: one of each line, each mutant once"
    )
    parser.add_argument("--only", help="mutants whose names match this regular expression")
    parser.add_argument("--at-once", type=int, default=2, help="runs side by side; default: 2")
    options = parser.parse_args(argv)
    try:
        only = re.compile(options.only or "")
    except re.error as error:
        raise UserError(f"--only {options.only}: not a regular expression: {error}") from None
    everyone, lines = load_mutants(), load_lines(options.patches)
    guarding = guards(load_controls(options.patches).values())
    mutants_by_release = {
        version: mutants_of(everyone, line_of(version, lines).first)
        for version in options.versions or one_of_each_line(options.patches)
    }
    names = {version: [m.name for m in of] for version, of in mutants_by_release.items()}
    wanted = {version: set(of) for version, of in names.items()}
    if not options.versions:
        wanted = spread(names)
    wrong = False
    for version, mutants in mutants_by_release.items():
        _, series = get_release(version, options.patches)
        missing = uncovered(mutants, PROMISES | constants(series), guarding)
        chosen = [m for m in mutants if m.name in wanted[version]]
        chosen = [m for m in chosen if only.search(m.name)]
        results = run_mutants(version, chosen, options)
        rows = [f"{m.name:44} {', '.join(m.breaks):24} {results[m.name]}" for m in chosen]
        killed = sum(result.startswith("killed") for result in results.values())
        print("\n".join([f"{version}: {killed} of {len(rows)} mutants killed", *rows, *missing]))
        wrong |= killed < len(rows) or bool(missing)
    return int(wrong)
