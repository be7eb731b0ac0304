"""Run the cases on unpatched and patched releases, print one table, judge the patched ones.

    python run.py environments.json
    python run.py --real PATH/livekit-server environments.json

The file says which environments there are: a list of objects with `release` and the paths of two
interpreters, `patched` and `unpatched`; either may be missing. Every other setting is an option.

Exit codes: 0 as expected, 1 not (a case fails that is not known to, or one passes that is).
`known_failures.toml` lists what is known, for each server.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import Bench
from cases import CASES, Case, run_case
from packaging.version import Version
from server import HERE, STAND_IN, Program, Server, real_program

KNOWN = HERE / "known_failures.toml"
# Its tables.
_LISTS = ("both", "stand-in", "livekit-server")
KINDS = ("unpatched", "patched")

# What pace is measured by: a Python that starts and imports, as each spawn does, one on each core;
# and the seconds that it takes on a machine that keeps the cases' own times easily.
_PROBE = (sys.executable, "-I", "-c", "import asyncio, email.message, http.client, ssl")
_EASY = 0.5
_SLOWEST = 15.0
# Before this release each process imports the package anew, which takes seconds of CPU; from there
# on it is a fork of one that has. And how many times as long the cases' times are before.
_FORKS = Version("1.0.21")
_IMPORTS = 4


@dataclass(frozen=True)
class Task:
    """One case on one environment."""

    case: Case
    release: str
    kind: str
    interpreter: Path


@dataclass
class Outcome:
    """What came of a task. `verdict` is one of passed, failed, known, unexpected and, for what is
    not judged, seen. `first` is what was found the first time, where that was not as expected and
    the task was repeated.
    """

    case: str
    release: str
    kind: str
    found: list[str]
    wrong: list[str]
    seconds: float
    verdict: str
    first: list[str] = field(default_factory=list)


def measure_pace() -> float:
    """Return how many times as long as on an idle machine the cases' times are to be, 1 to 15."""
    start = time.monotonic()
    for process in [subprocess.Popen(_PROBE) for _ in _cores()]:
        process.wait()
    return min(_SLOWEST, max(1.0, round((time.monotonic() - start) / _EASY, 1)))


def load_known(server: str, path: Path = KNOWN) -> dict[str, list[str]]:
    """Return case -> releases (`*`: all) on which a patched worker is known to fail it there.

    Raises `ValueError` for a server or a case that does not exist.
    """
    tables: dict[str, dict[str, list[str]]] = tomllib.loads(path.read_text("utf-8"))
    if strangers := sorted(tables.keys() - set(_LISTS)):
        raise ValueError(f"{path.name}: there is no server {strangers[0]}")
    if strangers := sorted({case for table in tables.values() for case in table} - CASES.keys()):
        raise ValueError(f"{path.name}: there is no case {strangers[0]}")
    known: dict[str, list[str]] = {}
    for name in (_LISTS[0], server):
        for case, releases in tables.get(name, {}).items():
            known[case] = [*known.get(case, []), *releases]
    return known


def judge(wrong: list[str], kind: str, known: bool, cut_short: bool = False) -> str:
    """The verdict on a task; what is known to fail must have been seen to do so."""
    if kind == "unpatched":
        return "seen"
    if known and not cut_short:
        return "known" if wrong else "unexpected"
    return "failed" if wrong else "passed"


class Runner:
    """Runs tasks on one server, some side by side, and keeps what they came to."""

    def __init__(
        self, program: Program, folder: Path, known: dict[str, list[str]], pace: float
    ) -> None:
        self.folder, self.known, self.pace = folder, known, pace
        self.server = Server(program, folder / "server")
        self.outcomes: list[Outcome] = []

    async def run(self, tasks: list[Task], at_once: int) -> None:
        """Run the tasks: those that need a core of their own at the end, one for each core.

        What does not come out as expected is repeated with nothing else beside it and twice the
        time, which decides: a machine that was busy meanwhile is not the worker's fault.
        """
        try:
            await self.server.start()
            await self._run_all(tasks, at_once)
            again = {(o.case, o.release, o.kind): o for o in self.outcomes if o.verdict in _WRONG}
            for task in tasks:
                if (first := again.get((task.case.name, task.release, task.kind))) is not None:
                    self.outcomes.remove(first)
                    await self._run(task, _cores()[0], first)
        finally:
            await self.server.stop()

    async def _run_all(self, tasks: list[Task], at_once: int) -> None:
        slots = asyncio.Semaphore(at_once)

        async def one(task: Task) -> None:
            async with slots:
                await self._run(task, None)

        # What takes longest goes first, so that nothing runs alone at the end.
        beside = [task for task in tasks if not task.case.alone]
        await asyncio.gather(*(one(task) for task in beside))
        cores: asyncio.Queue[int] = asyncio.Queue()
        for core in _cores():
            cores.put_nowait(core)

        async def alone(task: Task) -> None:
            core = await cores.get()
            try:
                await self._run(task, core)
            finally:
                cores.put_nowait(core)

        await asyncio.gather(*(alone(task) for task in tasks if task.case.alone))

    async def _run(self, task: Task, core: int | None, first: Outcome | None = None) -> None:
        """Run a task; `first` is what came of it, if it is repeated."""
        name = f"{task.case.name}-{task.release}-{task.kind}"
        if first is not None:
            name += "-again"
        pace = self.pace * (2 if first is not None else 1)
        if Version(task.release) < _FORKS:
            pace *= _IMPORTS
        bench = Bench(
            name, task.release, self.server, task.interpreter, self.folder / name, pace, core
        )
        start = time.monotonic()
        await run_case(task.case, bench)
        releases = self.known.get(task.case.name, [])
        known = "*" in releases or task.release in releases
        outcome = Outcome(
            task.case.name,
            task.release,
            task.kind,
            bench.found,
            bench.wrong,
            round(time.monotonic() - start, 1),
            judge(bench.wrong, task.kind, known, bench.cut_short),
            first.found if first is not None else [],
        )
        self.outcomes.append(outcome)
        print(
            f"{outcome.verdict:10} {task.release} {task.kind:9} {task.case.name}: "
            f"{shown(outcome.found, outcome.first)} ({outcome.seconds:.0f} s)",
            flush=True,
        )
        if outcome.verdict != "failed":
            shutil.rmtree(self.folder / name, ignore_errors=True)


def _cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


# Verdicts that are not as expected.
_WRONG = ("failed", "unexpected")


def shown(found: list[str], first: list[str]) -> str:
    """What was found, as the table shows it, and what was found before it was repeated."""
    text = "; ".join(found)
    return f"{text} (repeated; at first: {'; '.join(first)})" if first else text


def table(outcomes: list[Outcome], server: str) -> str:
    """The table: a row for each case, and for each release unpatched beside patched."""
    marks = {"failed": "WRONG ", "known": "known ", "unexpected": "WRONG (passes) "}
    lines = [f"On {server}."]
    for release in dict.fromkeys(outcome.release for outcome in outcomes):
        rows: list[tuple[str, ...]] = [("case", f"{release} unpatched", f"{release} patched")]
        for name in CASES:
            cells = {
                outcome.kind: marks.get(outcome.verdict, "") + shown(outcome.found, outcome.first)
                for outcome in outcomes
                if outcome.case == name and outcome.release == release
            }
            if cells:
                rows.append((name, *(cells.get(kind, "-") for kind in KINDS)))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines.append("")
        for number, row in enumerate(rows):
            cells_of_row = " | ".join(
                cell.ljust(width) for cell, width in zip(row, widths, strict=True)
            )
            lines.append(f"| {cells_of_row} |")
            if number == 0:
                lines.append("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def complaints(outcomes: list[Outcome], command: str) -> list[str]:
    """What is not as expected, and the command that repeats it."""
    found = []
    for outcome in outcomes:
        again = f"{command} {outcome.release} --case {outcome.case}"
        if outcome.verdict == "failed":
            found.append(f"{outcome.case} on {outcome.release}: {'; '.join(outcome.wrong)}")
            found.append(f"    {again}")
        elif outcome.verdict == "unexpected":
            text = f"passes on {outcome.release}: take it off the list in {KNOWN.name}"
            found += [f"{outcome.case} {text}", f"    {again}"]
    return found


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("environments", type=Path, help="which environments there are (JSON)")
    parser.add_argument("--real", type=Path, help="a livekit-server; default: the stand-in")
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this one")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--short", action="store_true", help="only the cases of the short run")
    which.add_argument("--bulk", action="store_true", help="only what every release gets")
    which.add_argument(
        "--deal", type=int, metavar="N", help="what every release gets, and N others, dealt out"
    )
    parser.add_argument(
        "--at-once", type=int, help="how many run side by side; default: by the pace"
    )
    parser.add_argument("--pace", type=float, help="default: measured, 1 (an idle machine) to 15")
    parser.add_argument("--out", type=Path, help="write what was found as JSON")
    parser.add_argument("--command", default="run.py", help="the command that repeats a run")
    return parser.parse_args(argv)


def deal(releases: list[str], count: int | None) -> dict[str, set[str]]:
    """Deal out the cases, so many to each release: those that every release gets, and others.

    Each release goes on where the one before has stopped, and after the last case comes the first.
    So enough releases in a row, of a series as of a line, have all cases among them. Those that
    need a core of their own are left out.
    """
    bulk = {case.name for case in CASES.values() if case.bulk}
    others = itertools.cycle([c.name for c in CASES.values() if not (c.bulk or c.alone)])
    return {release: bulk | set(itertools.islice(others, count or 0)) for release in releases}


def make_tasks(options: argparse.Namespace) -> list[Task]:
    """Which case runs where; what takes longest comes first."""
    environments: list[dict[str, Any]] = json.loads(options.environments.read_text("utf-8"))
    chosen = [CASES[name] for name in options.case] if options.case else list(CASES.values())
    if options.short:
        chosen = [case for case in chosen if case.short]
    if options.bulk:
        chosen = [case for case in chosen if case.bulk]
    dealt = deal([environment["release"] for environment in environments], options.deal)
    return [
        Task(case, environment["release"], kind, Path(environment[kind]))
        for case in chosen
        for environment in environments
        if options.deal is None or case.name in dealt[environment["release"]]
        for kind in KINDS
        if environment.get(kind)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    program = real_program(options.real) if options.real else STAND_IN
    folder = Path(tempfile.mkdtemp(prefix="procpool-e2e-"))
    # Workers that are killed leave their sockets behind.
    (folder / "tmp").mkdir()
    os.environ["TMPDIR"] = str(folder / "tmp")
    pace = options.pace or measure_pace()
    at_once = options.at_once or max(2, round(8 / pace))
    print(f"{program.name}: pace {pace:g}, {at_once} at once", flush=True)
    runner = Runner(program, folder, load_known(program.name), pace)
    start = time.monotonic()
    asyncio.run(runner.run(make_tasks(options), at_once))
    seconds = time.monotonic() - start
    print(f"\n{table(runner.outcomes, program.name)}\n")
    if options.out is not None:
        found_all = [asdict(outcome) for outcome in runner.outcomes]
        written = {
            "server": program.name,
            "pace": pace,
            "cores": len(_cores()),
            "seconds": round(seconds),
            "about": {case.name: case.about for case in CASES.values()},
            "outcomes": found_all,
        }
        options.out.write_text(json.dumps(written, indent=2) + "\n", "utf-8")
    wrong = complaints(runner.outcomes, options.command)
    print(f"{len(runner.outcomes)} runs in {seconds:.0f} s", flush=True)
    if wrong:
        print("\n".join(["not as expected:", *wrong]), file=sys.stderr)
        print(f"what the servers and workers logged: {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
