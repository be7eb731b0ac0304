"""Measure unpatched and patched releases side by side: the figures and plots of the documents.

Releases 1.5.11, which the report is about, and the newest, each unpatched and patched. What was
measured goes into benchmarks/results.json, with the machine, the versions, the command and the
sizes of the samples; the plots of it into benchmarks/plots. `nox -s tables`, which the session
calls too, writes the figures into the documents. With --quick the samples are small, and everything
is written elsewhere. A part fails, and writes nothing, if a patched release breaks a promise by a
figure that is the same on every machine; --ci measures these figures only, on the newest release.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from procpool.base.command import step_parser
from procpool.base.errors import UserError, one_line
from procpool.base.files import ROOT, replace_file
from procpool.catalog.releases import REPORTED, get_release, newest_release
from procpool.suite.guarded import run_guarded
from procpool.suite.livekit_server import find_server
from procpool.suite.run import Target, prepare

BENCHMARKS = ROOT / "benchmarks"
QUICK = ROOT / ".nox" / ".cache" / "bench"
# What stands behind a release's version in the name of what is measured.
PATCHED = " patched"
# And behind that of a second worker of the same release.
AGAIN = " again"
# Calls to each worker on the healthy path.
ROUNDS = 150
# Seconds that one script may take; only what hangs takes them.
_HANGS = 900.0
# W, and what a job waits at most without progress, in seconds, where T is 10 s.
_W = 15.0
_BOUND = 3 * _W + 1e-3

Found = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What measurements work with.

    `pythons` holds the interpreter of each release that is measured, by its name: "1.5.11" for the
    unpatched one, "1.5.11 patched". `caller` is the interpreter with the dependency group `bench`.
    """

    pythons: dict[str, str]
    caller: str
    quick: bool
    log: Path
    # Leave out what differs from machine to machine.
    virtual: bool = False

    @property
    def newest_patched(self) -> str:
        """The name of the newest release, patched."""
        return list(self.pythons)[-1]

    def script(self, path: str, options: Found, name: str, python: str | None = None) -> Found:
        """Run a script below benchmarks/ for the release `name`; return the JSON that it prints.

        `python` is the release's by default. Raises `UserError` if it fails or hangs; its output is
        kept in a file.
        """
        start = time.monotonic()
        log = self.log / f"{Path(path).stem}-{name.replace(' ', '-')}.log"
        command = [python or self.pythons[name], str(BENCHMARKS / path), json.dumps(options)]
        out = _run(command, log)
        try:
            found: Found = json.loads(out.splitlines()[-1])
        except (ValueError, IndexError):
            raise UserError(f"{path} for {name} printed no figures: see {log}") from None
        print(f"    {path}, {name}: {time.monotonic() - start:.0f} s", flush=True)
        return found

    def each(
        self, path: str, options: Found, names: Iterable[str] = (), *, pinned: bool = False
    ) -> Found:
        """Run a script for each release (of `names`), two side by side; return what they found.

        With `pinned`, each has a core of its own, and one follows the other if there is but one.
        """
        return self.all([(name, options, name) for name in names or self.pythons], path, pinned)

    def all(self, runs: list[tuple[str, Found, str]], path: str, pinned: bool = False) -> Found:
        """Run a script, two side by side, for each (key, options, release); return by key."""
        usable = usable_cores()[:2] if pinned else [None, None]
        cores: SimpleQueue[int | None] = SimpleQueue()
        for core in usable:
            cores.put(core)

        def one(run: tuple[str, Found, str]) -> Found:
            _, options, name = run
            core = cores.get()
            try:
                return self.script(path, options | {"core": core}, name)
            finally:
                cores.put(core)

        with ThreadPoolExecutor(len(usable)) as threads:
            return dict(zip((run[0] for run in runs), threads.map(one, runs), strict=True))


def usable_cores() -> Sequence[int | None]:
    """Return the cores that this process may use; None for each where none can be chosen."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return [None] * (os.cpu_count() or 1)


def _run(command: list[str], log: Path) -> str:
    """Run a command in a session of its own, and end that; return what it printed.

    Raises `UserError` with the last line of its errors, which go to the file `log`.
    """
    with tempfile.TemporaryFile("w+") as out:
        run_guarded(command, Path(command[1]).name, log, _HANGS, out)
        out.seek(0)
        return out.read()


# -- the measurements ------------------------------------------------------------------------------


def waiting(bench: Bench) -> tuple[Found, Found]:
    """For how long jobs wait when no process can initialize."""
    virtual: Found = {"clock": "virtual", "idle": [0, 1, 2, 3, 4], "horizon": 120}
    virtual["seeds"] = 1 if bench.quick else 10
    real: Found = {"clock": "real", "horizon": 19 if bench.quick else 24}
    real["idle"] = [4] if bench.quick else [0, 2, 4]
    kinds = ["raise", "exit", "hang"]
    groups = [kinds] if bench.quick else [[kind] for kind in kinds]
    found: Found = {"virtual": bench.each("measure/waiting.py", virtual), "real": {}}
    for group in [] if bench.virtual else groups:
        for name, rows in bench.each("measure/waiting.py", real | {"kinds": group}).items():
            found["real"].setdefault(name, {"rows": []})["rows"] += rows["rows"]
    settings = {"virtual": virtual | {"T": 10}, "real": real | {"T": 1, "kinds": kinds}}
    return settings, found


def outages(bench: Bench) -> tuple[Found, Found]:
    """How many calls are served through outages and on flaky pools, against the best."""
    options = {
        "seeds": 2 if bench.quick else 20,
        "seconds": [5, 10, 15, 20, 25, 30, 35, 40],
        "shares": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
    }
    return options, bench.each("measure/outages.py", options)


def spawns(bench: Bench) -> tuple[Found, Found]:
    """What a pool spawns and burns in an outage."""
    options = {"kind": "raise", "seconds": 10 if bench.quick else 60, "every": 1}
    found = {
        label: bench.each("measure/spawns.py", options | {"preload": preload}, pinned=True)
        for label, preload in {"preloaded": True, "imported": False}.items()
        if preload is False or not bench.quick
    }
    return options, found


def cost(bench: Bench) -> tuple[Found, Found]:
    """What a waiting job costs the event loop."""
    jobs = [25, 50, 100, 200, 400, 1000, 2000, 4000]
    options = {"jobs": jobs, "most": 3 if bench.quick else 60}
    rounds = 1 if bench.quick else 2
    found: Found = {name: dict.fromkeys(map(str, jobs)) for name in bench.pythons}
    for _ in range(rounds):  # all releases in turn; the least of them counts
        for name, row in bench.each("measure/cost.py", options, pinned=True).items():
            for size, cpu in row["cpu"].items():
                known = [seen for seen in (found[name][size], cpu) if seen is not None]
                found[name][size] = min(known, default=None)
    return options | {"rounds": rounds}, found


def contended(bench: Bench) -> tuple[Found, Found]:
    """What becomes of calls where initializations share a core, against fixed numbers at once."""
    fixed = [1, 2, 3, 4]
    best = bench.newest_patched
    virtual = {"clock": "virtual", "jobs": 20} | ({"works": [4.0]} if bench.quick else {})
    # each is watched for so many times T, which is one and a half times the work alone
    real = {"clock": "real", "work": 1.0, "jobs": 3, "timeouts": 6}
    if not bench.quick:
        real |= {"work": 2.0, "jobs": 8, "timeouts": 14}
    found: Found = {}
    clocks = {"virtual": virtual} | ({} if bench.virtual else {"real": real})
    for clock, options in clocks.items():
        tried = [1] if bench.quick and clock == "real" else fixed
        runs = [(name, options, name) for name in bench.pythons]
        runs += [(f"{n} at once", options | {"fixed": n}, best) for n in tried]
        found[clock] = bench.all(runs, "measure/contended.py", pinned=clock == "real")
    return {"virtual": virtual, "real": real, "fixed numbers on": best}, found


def fleet(bench: Bench) -> tuple[Found, Found]:
    """How many calls many workers serve, a tenth of them sick, and what each patch does there."""
    sizes = [100] if bench.virtual else [100, 1000] if bench.quick else [100, 1000, 10_000]
    options = {"seed": 1, "sizes": sizes}
    newest = bench.newest_patched
    if bench.virtual:
        return options, bench.each("measure/fleet.py", options)
    unpatched = newest.removesuffix(PATCHED)
    [worker] = Path(bench.pythons[unpatched]).parent.parent.glob(
        "[Ll]ib/**/site-packages/livekit/agents/worker.py"
    )
    runs = [(name, options, name) for name in bench.pythons]
    runs.insert(-1, (f"{unpatched} pool only", options | {"worker": str(worker)}, newest))
    return options, bench.all(runs, "measure/fleet.py")


def healthy(bench: Bench) -> tuple[Found, Found]:
    """How long the healthy path takes on a real server, from the dispatch to the agent."""
    server, where = find_server()
    options = {"rounds": 5 if bench.quick else ROUNDS, "seed": 1}
    unpatched = bench.newest_patched.removesuffix(PATCHED)
    # a second worker of that release, for what chance does to a ratio
    pythons = bench.pythons | {unpatched + AGAIN: bench.pythons[unpatched]}
    more = {"server": str(server), "pythons": pythons}
    name = "all releases"
    found = bench.script("healthy.py", options | more, name, bench.caller)["seconds"]
    seconds = {release: [round(took, 4) for took in calls] for release, calls in found.items()}
    return options | {"server": where}, seconds


def script(bench: Bench) -> tuple[Found, Found]:
    """What the script of PR_DESCRIPTION.md prints on the newest release; checks that."""
    text = (ROOT / "PR_DESCRIPTION.md").read_text("utf-8")
    sources = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    if len(sources) != 1:
        raise UserError(f"PR_DESCRIPTION.md holds {len(sources)} scripts, not one")
    path = bench.log / "description.py"
    path.write_text(sources[0], "utf-8")
    unpatched, patched = list(bench.pythons)[-2:]

    def last_line(name: str) -> str:
        log = bench.log / f"description-{name.replace(' ', '-')}.log"
        return ["", *_run([bench.pythons[name], str(path)], log).split("\n")][-2]

    with ThreadPoolExecutor(2) as threads:
        printed = threads.map(last_line, (unpatched, patched))
        found = dict(zip((unpatched, patched), printed, strict=True))
    if found[unpatched] != "STALLED":
        raise UserError(f"the script of PR_DESCRIPTION.md prints {found[unpatched]!r} unpatched")
    if not found[patched].startswith("no process became available after"):
        raise UserError(f"the script of PR_DESCRIPTION.md prints {found[patched]!r} patched")
    return {}, found


MEASUREMENTS: dict[str, Callable[[Bench], tuple[Found, Found]]] = {
    one.__name__: one for one in (waiting, outages, spawns, cost, contended, fleet, healthy, script)
}


# What is the same on every machine.
VIRTUAL = ("waiting", "outages", "contended", "fleet")


def broken(part: str, found: Found) -> list[str]:
    """Return which promises patched releases break in a part, a line each.

    By the figures that are the same on every machine. A call that is served beyond the best that
    any policy could do is one too: then that is computed wrongly.
    """
    lines = []
    for name, one in (found["virtual"] if part in ("waiting", "contended") else found).items():
        if part == "outages":
            rows = [*one["outages"], *one["flaky"]]
            lines += [
                f"{name}: better than the best: {r}" for r in rows if r["best_served"] < r["served"]
            ]
        if not name.endswith(PATCHED):
            continue
        if part == "waiting":
            waits = [waited for row in one["rows"] for waited in row["waits"]]
            late = sum(waited is None or waited > _BOUND for waited in waits)
            lines += [f"{name}: {late} jobs wait longer than {_BOUND:.0f} s"] if late else []
        elif part == "outages":
            short = [row for row in one["outages"] if row["seconds"] < _W]
            lines += [f"{name}: drops: {r}" for r in short if r["served"] < r["calls"]]
        elif part == "contended":
            lines += [f"{name}: drops: {r}" for r in one["rows"] if r["served"] < r["jobs"]]
        elif part == "fleet":
            # the well workers have room for all calls, and the sick ones decline them
            lines += [f"{name}: drops: {r}" for r in one["rows"] if r["served"] < r["calls"]]
    return lines


# -- the results -----------------------------------------------------------------------------------


def machine() -> Found:
    """Return what there is to say of this machine: its system, processor and cores."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text("utf-8")
        model = (re.findall(r"^model name\s*: (.*)$", text, re.MULTILINE) or [model])[0]
    cores = len(usable_cores())
    return {"system": platform.system(), "processor": model.strip(), "cores": cores}


def rounded(value: Any) -> Any:
    """Return figures with five significant digits: more would say nothing."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def as_text(results: Found) -> str:
    """Return results as JSON, lists of numbers on one line each."""
    text = json.dumps(results, indent=1)
    plain = r"\[[^\[\]{}]*\]"
    return re.sub(plain, lambda found: re.sub(r"\s*\n\s*", " ", found[0]), text) + "\n"


def load(path: Path) -> Found:
    """Return the parts of a file of results by name, none if there is no such file.

    Raises `UserError` if it holds something else.
    """
    if not path.is_file():
        return {}
    try:
        parts: Found = json.loads(path.read_text("utf-8"))["measurements"]
    except (ValueError, KeyError):
        raise UserError(f"{path} does not hold results of `nox -s bench`: remove it") from None
    return parts


def check_may_store(path: Path, quick: Iterable[str]) -> None:
    """Raise `UserError` if a file of results has full figures where these quick ones would go."""
    known = load(path)
    for name in quick:
        if name in known and not known[name]["quick"]:
            raise UserError(f"{path} holds full figures of {name}: --quick does not replace them")


def store(path: Path, parts: Found) -> None:
    """Put parts in place of those of the same names in a file of results.

    Raises `UserError` if a quick one would take the place of a full one.
    """
    known = load(path)
    check_may_store(path, {name for name, part in parts.items() if part["quick"]})
    kept = {name: (known | parts)[name] for name in MEASUREMENTS if name in known | parts}
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, as_text({"measurements": kept}))


def make_environments(patches: Path, *, newest_only: bool = False) -> dict[str, tuple[str, Found]]:
    """Make the environments; return the interpreter and the versions of each release by name.

    With `newest_only`, that of the newest release, patched. Raises `UserError`.
    """
    found = {}
    newest = newest_release(patches).version
    for version in [newest] if newest_only else dict.fromkeys((REPORTED, newest)):
        release, series = get_release(version, patches)
        kinds = {} if newest_only else {version: None}
        for name, patched in {**kinds, version + PATCHED: series}.items():
            python = str(prepare(Target(release, patched, "newest", purpose="bench-")))
            code = (
                "import platform, livekit.agents as a; "
                "print(a.__version__, platform.python_version())"
            )
            result = subprocess.run([python, "-c", code], capture_output=True, text=True)
            if result.returncode != 0:
                raise UserError(f"{name} cannot be imported: {one_line(result.stderr)[-200:]}")
            installed, running = result.stdout.split()
            found[name] = python, {"version": installed, "python": running}
    return found


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = step_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="small samples, under 5 minutes")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(MEASUREMENTS),
        help="only this part; may be given more than once",
    )
    parser.add_argument(
        "--ci", action="store_true", help="what is the same on every machine; write nothing"
    )
    parser.add_argument("--plots", action="store_true", help="measure nothing, draw the plots anew")
    parser.add_argument(
        "--out",
        type=Path,
        help="the folder of results.json and plots/; default: benchmarks, or with --quick one that"
        " is not kept",
    )
    parser.add_argument(
        "--bench-python", default=sys.executable, help="the Python with the group `bench`"
    )
    return parser.parse_args(argv)


def plot(python: str, out: Path) -> None:
    """Draw the plots of the results in the folder `out`. Raises `UserError`."""
    command = [python, str(BENCHMARKS / "plots.py"), str(out / "results.json"), str(out / "plots")]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise UserError(f"plotting failed: {one_line(result.stderr)[-300:]}")
    print(result.stdout, end="", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what was asked for, a part at a time, and plot it."""
    options = _parse(argv)
    out: Path = (options.out or (QUICK if options.quick else BENCHMARKS)).absolute()
    path = out / "results.json"
    start = time.monotonic()
    if not options.plots:
        chosen = options.only or list(VIRTUAL if options.ci else MEASUREMENTS)
        check_may_store(path, chosen if options.quick and not options.ci else [])
        environments = make_environments(options.patches, newest_only=options.ci)
        log = QUICK / "logs"
        log.mkdir(parents=True, exist_ok=True)
        pythons = {name: python for name, (python, _) in environments.items()}
        quick = options.quick or options.ci
        bench = Bench(pythons, options.bench_python, quick, log, virtual=options.ci)
        releases = {name: versions for name, (_, versions) in environments.items()}
        for number, name in enumerate(chosen, 1):
            about = (MEASUREMENTS[name].__doc__ or "").split("\n")[0]
            print(f"[{number}/{len(chosen)}] {name}: {about}", flush=True)
            begin = time.monotonic()
            settings, found = MEASUREMENTS[name](bench)
            if name in VIRTUAL and (lines := broken(name, found)):
                raise UserError(f"a promise is broken in {name}: {'; '.join(lines)}")
            if options.ci:
                continue
            small = " --quick" if options.quick else ""
            part = {
                "command": f"nox -s bench --{small} --only {name}",
                "quick": options.quick,
                "day": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "seconds": round(time.monotonic() - begin),
                "machine": machine(),
                "releases": releases,
                "settings": settings,
                "found": rounded(found),
            }
            store(path, {name: part})
            print(
                f"    {name} took {part['seconds']} s; {time.monotonic() - start:.0f} s in all",
                flush=True,
            )
    elif not path.is_file():
        raise UserError(f"there is no {path} to draw plots of: run `nox -s bench` first")
    if options.ci:
        print(f"no promise is broken, in {time.monotonic() - start:.0f} s")
        return 0
    plot(options.bench_python, out)
    print(f"{path} and its plots, in {time.monotonic() - start:.0f} s")
    return 0
