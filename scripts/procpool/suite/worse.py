"""Compare what a failing pool costs, patched beside unpatched: no figure may be worse.

Each failure mode of tests/worse/modes.toml runs in a process of its own, one at a time, on the
unpatched and on the patched release; by default on 1.0.23, the release of the report and the
newest. The figures are printed as a table, and written as JSON. A figure that is worse fails the
session, unless known_failures.toml lists it; one that is listed and not worse fails it too. So does
one that is beyond what the mode itself promises. What is not as expected is repeated, which
decides.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import ROOT, replace_file
from procpool.catalog.releases import REPORTED, get_release, load_releases
from procpool.suite.guarded import run_guarded
from procpool.suite.run import Target, prepare

TESTS = ROOT / "tests" / "worse"
RUNS = ROOT / ".nox" / ".cache" / "worse"
KNOWN = TESTS / "known_failures.toml"
# The oldest of the releases that are compared by default: an early pool that counts waiting jobs.
OLDEST = "1.0.23"
KINDS = ("unpatched", "patched")

# The pool's MAX_CONCURRENT_INITIALIZATIONS.
CONCURRENT = min(os.cpu_count() or 1, 4)

# A row of modes.toml, and what scenario.py measured of it.
Mode = dict[str, Any]
Figures = dict[str, Any]

# Seconds for a scenario beyond its window: to import the release twice on a busy machine, to close.
_BESIDES = 180.0

# The columns of the table, and what must not be worse, in the words of scenario.py.
_COLUMNS = {
    "spawned": "spawned",
    "processes": "processes",
    "threads": "threads",
    "descriptors": "fds",
    "executor": "executor",
    "cpu": "CPU s",
    "close": "close s",
    "left_processes": "left: processes",
    "left_threads": "threads",
    "left_descriptors": "fds",
    "left_executor": "executor",
}
FIGURES = tuple(_COLUMNS)


@dataclass(frozen=True)
class Comparison:
    """One failure mode on one release: what it cost unpatched and patched, and what is worse.

    `beyond` are figures of the patched pool that are beyond what was promised, whatever an
    unpatched one takes.
    """

    mode: str
    release: str
    unpatched: Figures
    patched: Figures
    worse: tuple[str, ...]
    beyond: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """Return it as it is written to the JSON file."""
        return {**vars(self), "worse": list(self.worse), "beyond": list(self.beyond)}


# Mode -> release -> figures.
Lists = dict[str, dict[str, list[str]]]


@dataclass(frozen=True)
class Known:
    """Which figures are known to be worse, and which come out either way and are not judged."""

    worse: Lists
    either_way: Lists

    def lists(self, found: Comparison, figure: str) -> str:
        """Return where a figure is listed: "worse", "either way" or, if it is not, nothing."""
        if figure in self.worse.get(found.mode, {}).get(found.release, []):
            return "worse"
        if figure in self.either_way.get(found.mode, {}).get(found.release, []):
            return "either way"
        return ""


def allowed(figure: str, unpatched: Figures, window: float) -> float:
    """Return the most that a patched pool may take of what `figure` counts.

    `window` is how many seconds the pool was watched. What is left when the pool is closed has no
    tolerance. As promised, a pool that goes on spawning for its jobs may spawn 25 times in 15 s;
    else a quarter more; and as many threads of the loop's executor may start processes as may
    initialize at once. It replaces a failed process before that is cleaned up: so there may be half
    as many more at a time, or two, each with its threads and descriptors. CPU seconds: half as many
    more, or one in eight seconds. Closing may take the close timeout (1 s) and a second more.
    """
    had = unpatched[figure]
    if figure == "close":
        return math.inf if had is None else had + 2.0
    base = float(had)
    if figure == "spawned":
        return max(base * 1.25, math.ceil(window * 25 / 15))
    if figure == "executor":
        return max(base, CONCURRENT)
    if figure == "cpu":
        return max(base * 1.5, base + window / 8)
    more = {"processes": 2, "threads": 5, "descriptors": 12}.get(figure)
    return base if more is None else max(base * 1.5, base + more)


def compare(unpatched: Figures, patched: Figures, window: float) -> tuple[str, ...]:
    """Return which figures of the patched pool are worse; `window` is in seconds."""
    return tuple(
        figure
        for figure in FIGURES
        if (math.inf if patched[figure] is None else patched[figure])
        > allowed(figure, unpatched, window)
    )


def beyond(mode: Mode, patched: Figures) -> tuple[str, ...]:
    """Return which figures of a patched pool are more than the mode says, as `max_cpu`."""
    limits = {figure: mode.get(f"max_{figure}", math.inf) for figure in FIGURES}
    return tuple(
        figure
        for figure in FIGURES
        if (math.inf if patched[figure] is None else patched[figure]) > limits[figure]
    )


def load_modes(path: Path = TESTS / "modes.toml") -> dict[str, Mode]:
    """Return the failure modes by name."""
    return tomllib.loads(path.read_text("utf-8"))


def load_known(modes: dict[str, Mode], path: Path = KNOWN) -> Known:
    """Return what is known.

    Raises `UserError` for a table, a mode or a figure that does not exist.
    """
    tables: dict[str, Lists] = tomllib.loads(path.read_text("utf-8"))
    if strangers := sorted(tables.keys() - {"worse", "either-way"}):
        raise UserError(f"{path.name}: there is no table {strangers[0]}: take it off the list")
    for lists in tables.values():
        for mode, releases in lists.items():
            if mode not in modes:
                raise UserError(
                    f"{path.name}: there is no failure mode {mode}: take it off the list"
                )
            for figure in {figure for figures in releases.values() for figure in figures}:
                if figure not in FIGURES:
                    raise UserError(
                        f"{path.name}: {mode} has no figure {figure}: "
                        f"it may be {', '.join(FIGURES)}"
                    )
    return Known(tables.get("worse", {}), tables.get("either-way", {}))


def complaints(found: Comparison, known: Known) -> list[str]:
    """Return what is not as expected in a comparison, a line each."""
    where = f"{found.mode} on {found.release}"
    lines = [
        f"{where}: {figure} is beyond what was promised: {found.patched[figure]}"
        for figure in found.beyond
    ]
    for figure in FIGURES:
        is_worse, listed = figure in found.worse, known.lists(found, figure)
        if is_worse and not listed:
            values = f"{found.patched[figure]}, unpatched {found.unpatched[figure]}"
            lines.append(f"{where}: {figure} is worse: {values}")
        elif listed == "worse" and not is_worse:
            lines.append(
                f"{where}: {figure} is not worse any more: take it off the list in {KNOWN.name}"
            )
    return lines


def table(found: list[Comparison], known: Known) -> str:
    """Return one table: a row for each mode and release, `unpatched → patched` in each cell.

    What is worse is marked: `!`, or `*` if that is known.
    """
    rows = [("release", "failure mode", *_COLUMNS.values())]
    for one in found:
        cells = []
        for figure in FIGURES:
            mark = ("*" if known.lists(one, figure) else "!") if figure in one.worse else ""
            mark = "!" if figure in one.beyond else mark
            cells.append(f"{_text(one.unpatched[figure])} → {_text(one.patched[figure])}{mark}")
        rows.append((one.release, one.mode, *cells))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _text(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


def measure(python: str, name: str, mode: Mode) -> Figures:
    """Run the scenario of a mode in the environment of `python`; return what it measured.

    Its output is kept as `name`.log. Raises `UserError` if it does not come to its end.
    """
    out, log = RUNS / f"{name}.json", RUNS / f"{name}.log"
    out.unlink(missing_ok=True)
    command = [python, str(TESTS / "scenario.py"), json.dumps(mode), str(out)]
    run_guarded(command, name, log, mode.get("window", 0) + _BESIDES)
    figures: Figures = json.loads(out.read_text("utf-8"))
    return figures


def run(release: str, pythons: dict[str, str], name: str, mode: Mode) -> Comparison:
    """Run a mode on both kinds of the release, and compare them. Raises `UserError`."""
    figures = {kind: measure(pythons[kind], f"{name}-{release}-{kind}", mode) for kind in KINDS}
    unpatched, patched = figures["unpatched"], figures["patched"]
    worse = compare(unpatched, patched, float(mode.get("window", 8)))
    return Comparison(name, release, unpatched, patched, worse, beyond(mode, patched))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = step_parser(__doc__)
    parser.add_argument("version", nargs="*", help="supported releases, such as 1.5.11")
    parser.add_argument("--mode", action="append", default=[], help="only this failure mode")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare the chosen releases; return 1 if something is not as expected."""
    options = _parse(argv)
    patches: Path = options.patches
    modes = load_modes()
    known = load_known(modes)
    for name in options.mode:
        if name not in modes:
            raise UserError(f"there is no failure mode {name}: it may be {', '.join(modes)}")
    finals = [r.version for r in load_releases(patches).values() if not r.preview]
    RUNS.mkdir(parents=True, exist_ok=True)
    found: list[Comparison] = []
    wrong: list[str] = []
    start = time.monotonic()
    for version in options.version or [OLDEST, REPORTED, finals[-1]]:
        release, series = get_release(version, patches)
        pythons = {
            kind: str(prepare(Target(release, with_series, "newest", purpose="worse-")))
            for kind, with_series in zip(KINDS, (None, series), strict=True)
        }
        for name in options.mode or modes:
            one = run(release.version, pythons, name, modes[name])
            if complaints(one, known):
                one = run(release.version, pythons, name, modes[name])
            found.append(one)
            wrong += complaints(one, known)
            verdict = f"worse: {', '.join(one.worse)}" if one.worse else "no worse"
            verdict += f"; beyond: {', '.join(one.beyond)}" if one.beyond else ""
            print(f"{version} {name}: {verdict}", flush=True)
    path = RUNS / "table.json"
    replace_file(path, json.dumps([one.row() for one in found], indent=2) + "\n")
    marks = "worse: ! new or beyond what was promised, * known"
    print(f"\nunpatched → patched; {marks}; also in {path.relative_to(ROOT)}")
    print(f"{table(found, known)}\n\n{len(found)} comparisons in {time.monotonic() - start:.0f} s")
    if wrong:
        print("\n".join(["not as expected:", *wrong]), file=sys.stderr)
        return 1
    return 0
