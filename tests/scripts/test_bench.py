"""The runner of `nox -s bench`, the oracle, and the plots' sameness; nothing is measured."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.suite import bench as bench_module
from procpool.suite.bench import Bench, as_text, load, machine, main, rounded, store


def oracle() -> ModuleType:
    """Return the module benchmarks/measure/best.py."""
    path = ROOT / "benchmarks" / "measure" / "best.py"
    spec = importlib.util.spec_from_file_location("best", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BEST = oracle()
MADE = {"quick": False, "found": [1]}


# -- the oracle ------------------------------------------------------------------------------------


def first(outcomes: list[tuple[bool, float]], count: int, at_once: int, **more: float) -> list[Any]:
    forever = itertools.chain(outcomes, itertools.repeat((True, 1.0)))
    return list(itertools.islice(BEST.ready_times(forever, at_once, **more), count))


def test_processes_are_ready_as_soon_as_the_places_allow() -> None:
    assert first([], 4, 2) == [1.0, 1.0, 2.0, 2.0]
    assert first([(False, 10.0)], 3, 1) == [11.0, 12.0, 13.0]
    # a failure keeps one of two places, and the other goes on
    assert first([(False, 3.0)], 4, 2) == [1.0, 2.0, 3.0, 4.0]
    # what starts first may be ready last
    assert first([(True, 2.5)], 4, 2) == [1.0, 2.0, 2.5, 3.0]
    assert first([], 2, 2, not_before=7.0) == [8.0, 8.0]
    with pytest.raises(ValueError, match="not 0"):
        first([], 1, 0)


def test_calls_are_served_in_their_order_while_they_are_patient() -> None:
    assert BEST.serve([0.0, 0.0, 5.0], iter([4.0, 4.5, 4.6, 9.0]), 10.0) == [4.0, 4.5, 0.0]
    assert BEST.serve([0.0, 1.0], iter([3.5, 9.0]), 3.0) == [None, 2.5]
    assert BEST.outage([0.0, 1.0, 39.0], 40.0, 1.0, 1, 41.0) == [41.0, 41.0, 4.0]


def exhaustive(calls: list[float], ready: list[float], patience: float) -> int:
    """Return the most calls that any assignment of processes serves."""
    return max(
        sum(at <= came + patience for at, came in zip(order, calls, strict=False))
        for order in itertools.permutations(ready, len(calls))
    )


def test_no_assignment_serves_more() -> None:
    rng = random.Random(1)
    for _ in range(60):
        calls = sorted(rng.uniform(0, 9) for _ in range(4))
        ready = sorted(rng.uniform(0, 14) for _ in range(5))
        served = BEST.serve(calls, itertools.chain(ready, itertools.repeat(1e9)), 3.0)
        assert sum(wait is not None for wait in served) == exhaustive(calls, ready, 3.0)


def test_no_pause_makes_a_process_ready_sooner() -> None:
    rng = random.Random(2)
    for _ in range(40):
        outcomes = [(rng.random() < 0.5, rng.choice([1.0, 10.0])) for _ in range(30)]
        outcomes += [(True, 1.0)] * 10
        at_best = first(outcomes, 8, 3)
        free, ready, start = [0.0] * 3, [], 0.0
        for leads_to_one, seconds in outcomes:  # a policy that pauses at random
            place = rng.randrange(3)
            start = max(start, free[place]) + rng.choice([0.0, 0.5])
            free[place] = start + seconds
            ready += [free[place]] if leads_to_one else []
        assert all(a <= b for a, b in zip(at_best, sorted(ready), strict=False))


# -- the results -----------------------------------------------------------------------------------


def test_quick_figures_never_replace_full_ones(tmp_path: Path) -> None:
    path = tmp_path / "out" / "results.json"
    store(path, {"cost": MADE | {"quick": True}})
    store(path, {"waiting": MADE, "cost": MADE})
    with pytest.raises(UserError, match="full figures of cost: --quick does not replace them"):
        store(path, {"cost": MADE | {"quick": True}})
    store(path, {"cost": MADE | {"found": [2]}})
    assert list(load(path)) == ["waiting", "cost"] and load(path)["cost"]["found"] == [2]
    assert load(tmp_path / "none.json") == {}


@pytest.mark.parametrize("text", ["no JSON", "{}"])
def test_what_holds_no_results_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError, match="does not hold results"):
        load(path)


def test_results_are_written_short() -> None:
    value = {"a": [1.23456789, {"b": [1, 2.5]}], "c": 0.000123456789, "d": None, "e": "x"}
    short = rounded(value)
    assert short == {"a": [1.2346, {"b": [1, 2.5]}], "c": 0.00012346, "d": None, "e": "x"}
    text = as_text({"list": [1, 2, 3], "rows": [{"waits": [None, 2.5]}]})
    assert '"list": [ 1, 2, 3 ]' in text and json.loads(text)["rows"] == [{"waits": [None, 2.5]}]
    assert machine()["cores"] == len(os.sched_getaffinity(0)) and machine()["processor"]


# -- the runner ------------------------------------------------------------------------------------


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose scripts are in a folder of the test, and two "releases"."""
    monkeypatch.setattr(bench_module, "BENCHMARKS", tmp_path)
    return Bench({"1.0": sys.executable, "1.0 patched": sys.executable}, "", True, tmp_path)


def test_a_script_prints_its_figures_last(scripts: Bench, tmp_path: Path) -> None:
    code = "import json, sys\nprint('noise')\nprint(json.dumps({'got': sys.argv[1]}))\n"
    (tmp_path / "it.py").write_text(code)
    assert scripts.script("it.py", {"a": 1}, "1.0") == {"got": '{"a": 1}'}
    assert scripts.newest_patched == "1.0 patched"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit('out of order')", "it.py failed: out of order; see "),
        ("print('no figures')", "it.py for 1.0 printed no figures: see "),
        ("", "it.py for 1.0 printed no figures: see "),
        ("import time; time.sleep(60)", "it.py did not end: see "),
    ],
)
def test_a_script_that_fails_is_one_line(
    scripts: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    (tmp_path / "it.py").write_text(code)
    monkeypatch.setattr(bench_module, "_HANGS", 1.0 if "sleep" in code else 60.0)
    with pytest.raises(UserError) as error:
        scripts.script("it.py", {}, "1.0")
    assert words in str(error.value) and len(str(error.value).splitlines()) == 1


def test_releases_that_run_side_by_side_have_cores_of_their_own(
    scripts: Bench, tmp_path: Path
) -> None:
    (tmp_path / "it.py").write_text("import sys; print(sys.argv[1])")
    pinned = scripts.each("it.py", {"a": 1}, pinned=True)
    assert list(pinned) == ["1.0", "1.0 patched"]
    assert all(found.keys() == {"a", "core"} for found in pinned.values())
    assert {found["core"] for found in pinned.values()} <= os.sched_getaffinity(0)
    assert scripts.each("it.py", {"a": 1}, ["1.0"]) == {"1.0": {"a": 1, "core": None}}


@pytest.mark.parametrize(
    ("unpatched", "patched", "words"),
    [
        ("STALLED", "no process became available after 9s", ""),
        ("done", "no process became available after 9s", "prints 'done' unpatched"),
        ("STALLED", "STALLED", "prints 'STALLED' patched"),
    ],
)
def test_the_script_of_the_pull_request_is_checked(
    scripts: Bench, monkeypatch: pytest.MonkeyPatch, unpatched: str, patched: str, words: str
) -> None:
    printed = {"description-1.0.log": unpatched, "description-1.0-patched.log": patched}
    monkeypatch.setattr(bench_module, "_run", lambda command, log: f"{printed[log.name]}\n")
    if words:
        with pytest.raises(UserError, match=words):
            bench_module.script(scripts)
    else:
        found = {"1.0": unpatched, "1.0 patched": patched}
        assert bench_module.script(scripts) == ({}, found)


def test_every_measurement_runs_scripts_that_are_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[tuple[str, str]] = []
    called: list[list[str]] = []

    def run(self: Bench, path: str, options: Any, name: str, python: str = "") -> dict[str, Any]:
        ran.append((path, name))
        if path == "healthy.py":
            called.append(list(options["pythons"]))
        json.dumps(options)
        cpu = {str(size): 1.0 for size in options.get("jobs", [])} if "most" in options else {}
        return {"rows": [], "cpu": cpu, "outages": [], "flaky": [], "seconds": {"1.0": [0.12345]}}

    monkeypatch.setattr(Bench, "script", run)
    monkeypatch.setattr(bench_module, "find_server", lambda: (Path("server"), "a server"))
    python = tmp_path / "bin" / "python"
    worker = tmp_path / "lib/python3.13/site-packages/livekit/agents/worker.py"
    worker.parent.mkdir(parents=True)
    worker.touch()
    names = ["1.0", "1.0 patched", "2.0", "2.0 patched"]
    for quick, virtual in ((True, False), (False, False), (True, True)):
        pythons = dict.fromkeys(names, str(python))
        one = Bench(pythons, "caller", quick, tmp_path, virtual)
        for part, measure in bench_module.MEASUREMENTS.items():
            if part == "script" or (virtual and part not in bench_module.VIRTUAL):
                continue
            ran.clear()
            settings, found = measure(one)
            assert settings and found and ran
            assert part == "healthy" or set(names) <= {name for _, name in ran}
            assert all((ROOT / "benchmarks" / path).is_file() for path, _ in ran)
    assert ("measure/fleet.py", "2.0 patched") in ran and settings["sizes"] == [100]
    assert called == [[*names, "2.0 again"]] * 2


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a bench that measures two parts at once, and draws nothing."""

    def environments(patches: Path, *, newest_only: bool) -> dict[str, Any]:
        return {"1.0": ("python", {"version": "1.0", "python": "3.13.0"})}

    def one(bench: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
        """The first."""
        return {"quick": bench.quick}, {"figure": 1.23456789}

    monkeypatch.setattr(bench_module, "make_environments", environments)
    monkeypatch.setattr(bench_module, "MEASUREMENTS", {"cost": one, "waiting": one})
    monkeypatch.setattr(bench_module, "VIRTUAL", ())
    monkeypatch.setattr(bench_module, "QUICK", tmp_path / "quick")
    monkeypatch.setattr(bench_module, "BENCHMARKS", tmp_path / "benchmarks")
    monkeypatch.setattr(bench_module, "plot", lambda python, out: None)
    return tmp_path


def test_a_run_writes_each_part_with_its_command(
    bench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    parts = load(bench / "benchmarks" / "results.json")
    assert list(parts) == ["cost", "waiting"]
    assert parts["cost"]["command"] == "nox -s bench -- --only cost"
    assert parts["cost"]["found"] == {"figure": 1.2346} and not parts["cost"]["quick"]
    assert parts["cost"]["releases"]["1.0"] == {"version": "1.0", "python": "3.13.0"}
    out = capsys.readouterr().out
    assert "[1/2] cost: The first." in out and "[2/2] waiting" in out


def test_a_quick_run_writes_elsewhere(bench: Path) -> None:
    assert main(["--quick", "--only", "cost"]) == 0
    assert not (bench / "benchmarks").exists()
    [part] = load(bench / "quick" / "results.json").values()
    assert part["quick"] and part["command"] == "nox -s bench -- --quick --only cost"
    main(["--only", "cost"])
    out = str(bench / "benchmarks")
    with pytest.raises(UserError, match="full figures of cost"):
        main(["--quick", "--only", "cost", "--out", out])


def waits(*values: float | None) -> dict[str, Any]:
    return {"virtual": {"1.0": WAITS, "1.0 patched": {"rows": [{"waits": list(values)}]}}}


WAITS = {"rows": [{"waits": [None]}]}
ROW = {"seconds": 5, "served": 3, "calls": 4, "best_served": 4}
LONG = ROW | {"seconds": 40}


@pytest.mark.parametrize(
    ("part", "found", "words"),
    [
        ("waiting", waits(45.0, 16.0), []),
        ("waiting", waits(45.1, None), ["1.0 patched: 2 jobs wait longer than 45 s"]),
        ("outages", {"1.0": {"outages": [ROW], "flaky": []}}, []),
        ("outages", {"1.0 patched": {"outages": [LONG], "flaky": []}}, []),
        ("outages", {"1.0 patched": {"outages": [ROW], "flaky": []}}, ["1.0 patched: drops"]),
        ("outages", {"1.0": {"outages": [], "flaky": [ROW | {"served": 5}]}}, ["1.0: better than"]),
        ("contended", {"virtual": {"1.0": {"rows": [{"served": 0, "jobs": 4}]}}}, []),
        (
            "contended",
            {"virtual": {"1.0 patched": {"rows": [{"served": 3, "jobs": 4}]}}},
            ["1.0 patched: drops"],
        ),
        ("fleet", {"1.0": {"rows": [ROW]}, "1.0 patched": {"rows": [ROW | {"served": 4}]}}, []),
        ("fleet", {"1.0 patched": {"rows": [ROW]}}, ["1.0 patched: drops"]),
    ],
)
def test_what_breaks_a_promise(part: str, found: dict[str, Any], words: list[str]) -> None:
    lines = bench_module.broken(part, found)
    assert len(lines) == len(words)
    assert all(line.startswith(word) for line, word in zip(lines, words, strict=True))


def test_ci_fails_on_a_broken_promise_and_writes_nothing(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = waits(16.0)
    measured: dict[str, Any] = {"waiting": lambda bench: ({}, found if bench.virtual else {})}
    monkeypatch.setattr(bench_module, "MEASUREMENTS", measured)
    monkeypatch.setattr(bench_module, "VIRTUAL", ("waiting",))
    assert main(["--ci"]) == 0
    found["virtual"]["1.0 patched"]["rows"][0]["waits"] = [None]
    with pytest.raises(UserError, match=r"broken in waiting: 1\.0 patched: 1 jobs wait"):
        main(["--ci"])
    assert not (bench / "benchmarks").exists() and not list((bench / "quick").rglob("*.json"))


def test_plots_need_results(bench: Path) -> None:
    with pytest.raises(UserError, match="run `nox -s bench` first"):
        main(["--plots"])
    main(["--only", "cost"])
    assert main(["--plots"]) == 0


def test_a_plot_that_fails_is_one_line(scripts: Bench, tmp_path: Path) -> None:
    (tmp_path / "plots.py").write_text("raise SystemExit('no ink')")
    with pytest.raises(UserError, match="plotting failed: no ink"):
        bench_module.plot(sys.executable, tmp_path)
