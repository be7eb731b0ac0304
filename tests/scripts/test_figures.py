"""The texts of what `nox -s bench` found, on small made-up results."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from procpool.base.errors import UserError, one_line
from procpool.base.files import ROOT
from procpool.suite.bench import MEASUREMENTS, load
from procpool.upkeep import figures, tables
from procpool.upkeep.figures import page, pull_request_part, quantile, ratio, readme_part

NAMES = ["1.5.11", "1.5.11 patched", "1.8.9", "1.8.9 patched"]


def part(found: Any, settings: Any = None, *, quick: bool = False) -> dict[str, Any]:
    """Return a part of results."""
    versions = {name: {"version": name.replace(" ", "+"), "python": "3.13.0"} for name in NAMES}
    return {
        "command": "nox -s bench -- --only it",
        "quick": quick,
        "day": "2026-11-26",
        "seconds": 1,
        "machine": {"system": "Linux", "processor": "a processor", "cores": 2},
        "releases": versions,
        "settings": settings or {},
        "found": found,
    }


def rows(*waits: float | None) -> dict[str, Any]:
    return {"rows": [{"kind": "raise", "step": "in step", "idle": 0, "waits": list(waits)}]}


WAITING = {
    "1.5.11": rows(None, None, None, None),
    "1.5.11 patched": rows(16.0, 17.0, 18.0, 44.94),
    "1.8.9": rows(3.0, None, None, None),
    "1.8.9 patched": rows(16.0, 17.0, 18.0, 19.0),
}
CLOCKS = {
    "virtual": {"T": 10, "horizon": 120, "idle": [0, 1, 2, 3, 4]},
    "real": {"T": 1, "horizon": 24, "idle": [0, 2, 4]},
}
COSTS = {"25": 0.1234, "100": 0.5, "200": 1.0, "4000": None}
SPAWNED = {"seconds": [0.0, 1.0, 60.0], "spawned": [0, 2, 31], "cpu": [0.0, 1.0, 12.25]}
STOPPED = {"seconds": [0.0, 1.01, 60.0], "spawned": [0, 2, 2], "cpu": [0.0, 0.7, 0.75]}
MODEL = {
    "rows": [
        {
            "work": 4.0,
            "arrival": "burst",
            "jobs": 20,
            "served": 19,
            "timeouts": 1,
            "spawns": 12,
            "throughput": 0.987,
        }
    ]
}
REAL = {"waits": [2.0, 3.0, 7.0], "jobs": 4, "spawned": 9, "cpu": 8.25, "timeout": 3.0}
OUTAGES = {
    "outages": [
        {"seconds": 5, "kind": "raise", "served": 3, "mean": 7.0, "best_served": 4, "calls": 4}
    ],
    "flaky": [
        {
            "share": 0.8,
            "kind": "hang",
            "arrival": "in a row",
            "served": 0,
            "mean": None,
            "best_served": 2,
            "calls": 4,
        }
    ],
}
FLEET = {
    "rows": [
        {
            "workers": 1000,
            "calls": 2000,
            "served": 1840,
            "told": 60,
            "silent": 100,
            "median": 0.0,
            "p95": None,
            "p99": None,
            "slowest": 7.5,
            "within": [[0.0, 1800], [10.0, 1900]],
            "cpu": 6.25,
        }
    ]
}
PARTS = {
    "waiting": part({"virtual": WAITING, "real": WAITING}, CLOCKS),
    "outages": part(dict.fromkeys(NAMES, OUTAGES)),
    "spawns": part(
        {
            "preloaded": dict.fromkeys(NAMES, SPAWNED) | {"1.5.11": STOPPED},
            "imported": dict.fromkeys(NAMES, SPAWNED),
        },
        {"seconds": 60},
    ),
    "cost": part(dict.fromkeys(NAMES, COSTS), {"most": 60}),
    "contended": part(
        {
            "virtual": dict.fromkeys(NAMES, MODEL),
            "real": dict.fromkeys([*NAMES, "1 at once"], REAL),
        },
        {"real": {"work": 2.0}, "fixed numbers on": "1.8.9 patched"},
    ),
    "fleet": part(dict.fromkeys([*NAMES, "1.8.9 pool only"], FLEET)),
    "healthy": part(
        {name: [0.2, 0.1, 0.3] for name in [*NAMES, "1.8.9 again"]},
        {"rounds": 3, "server": "a server"},
    ),
    "script": part({"1.8.9": "STALLED", "1.8.9 patched": "no process became available after 9s"}),
}


def test_every_part_has_a_section_with_its_command_and_plot() -> None:
    assert PARTS.keys() == MEASUREMENTS.keys()
    text = page(PARTS)
    assert text.count("\n## ") == len(PARTS)
    assert one_line(text).count("`nox -s bench -- --only it`: ") == len(PARTS)
    assert text.count("<picture>") == text.count("-dark.svg") == len(PARTS)
    assert "quick run" not in one_line(text)


@pytest.mark.parametrize("name", list(PARTS))
def test_a_quick_part_is_marked(name: str) -> None:
    assert one_line(page({name: PARTS[name] | {"quick": True}})).count("**A quick run") == 1


def test_the_first_plot_says_what_to_see() -> None:
    text = one_line(readme_part(PARTS))
    assert "Virtual time, T = 10 s, 0 to 4 idle processes wanted: 120 s after" in text
    assert "Real processes, T = 1 s, 0, 2 or 4 idle processes wanted: 24 s after" in text
    assert "120 s after they came 100 % on 1.5.11 and 75 % on 1.8.9 still wait" in text
    assert "the last is answered after 44.9 s (bound: 45 s)" in text
    assert "(bound: 18 s)" in text
    assert readme_part({}) == ""


def test_a_patched_pool_that_lets_a_job_wait_is_not_hidden() -> None:
    waits = WAITING | {"1.8.9 patched": rows(16.0, None)}
    broken = part({"virtual": waits, "real": waits}, CLOCKS)
    text = one_line(readme_part({"waiting": broken}))
    assert text.count("with the patches some still wait too") == 2


def test_the_table_of_the_pull_request() -> None:
    lines = pull_request_part(PARTS).splitlines()
    assert lines[0] == "|  | 1.5.11 | 1.8.9 | 1.8.9 with this change |"
    assert "| jobs that wait after 120 s, T = 10 s, in virtual time | 100 % | 75 % | 0 % |" in lines
    assert "| slowest verdict there | none | none | 19.0 s |" in lines
    cpu = "CPU seconds burnt in 60 s of outage"
    assert f"| {cpu}, each spawn imports the release | 12.25 | 12.25 | 12.25 |" in lines
    # also where a pool that has given up burns less
    assert f"| {cpu}, release preloaded | 0.75 | 12.25 | 12.25 |" in lines
    assert " 1.5.11 stops spawning after 1 s (release preloaded): it burns no more" in lines[-1]
    assert "| event-loop CPU a job, 4000 waiting | too long | too long | too long |" in lines
    assert lines[-1].endswith("Python 3.13.0, 2 cores, 2026-11-26.")
    assert pull_request_part({}) == ""
    only = pull_request_part({"cost": PARTS["cost"] | {"quick": True}})
    assert "jobs that wait" not in only and only.endswith("still to come.**\n")


def test_the_figures_of_each_part() -> None:
    text = page(PARTS)
    assert "| outage of 5 s, spawns raise | 100 % | 75 %, 7.0 s |" in text
    assert "| 80 % of spawns hang, calls in a row | 50 % | 0 %, none |" in text
    assert "| 1 at once | 3 of 4 | 3.0 s | 7.0 s | 9 | 8.2 s |" in text
    assert "| 4 s of work, burst | 19/20; 1/12; 0.99 |" in text
    assert "| 1,000 workers, 2,000 calls | 92 %; 60; 100 |" in text
    assert "| 1,000 workers, 2,000 calls | 0.0 s, none, none |" in text
    assert "1.8.9 pool only serves 92 % of the calls and leaves 100 without" in one_line(text)
    assert "| median | 200 ms |" in text and "| p99 | 300 ms |" in text
    assert "| median of 1.8.9 patched | 1.000 | " in text and "| p99 of 1.8.9 again | 1.0" in text


@pytest.mark.parametrize(
    ("patched", "words"),
    [
        ([1.0] * 9, "within it: median of 1.0 patched (1.000), p99 of 1.0 patched (1.000)."),
        ([1.1] * 9, "above it: median of 1.0 patched (1.100), p99 of 1.0 patched (1.100)."),
        (
            [1.0] * 8 + [1.1],
            "within it: median of 1.0 patched (1.000); too uncertain to say: p99 of 1.0 patched"
            " (1.100).",
        ),
    ],
)
def test_the_caption_of_the_healthy_path_says_what_was_found(
    patched: list[float], words: str
) -> None:
    found = {"1.0": [1.0] * 9, "1.0 patched": patched}
    text = one_line(page({"healthy": part(found, {"rounds": 9, "server": "a server"})}))
    assert (
        f"The ratio is not to be above 1.02. By the intervals, {words}" in text
        and "*Again*" not in text
    )


def test_a_ratio_and_its_spread() -> None:
    slow, fast = [2.0, 2.2, 1.8, 2.1, 1.9] * 20, [1.0, 1.1, 0.9, 1.05, 0.95] * 20
    middle, low, high = ratio(slow, fast, statistics.median)
    assert middle == 2.0 and 1.8 < low <= 2.0 <= high < 2.2
    assert ratio(slow, fast, statistics.median) == (middle, low, high)


def test_a_quantile_is_a_value_by_its_nearest_rank() -> None:
    # of the numbers from 1 on, each is its own rank
    assert quantile(range(1, 101), 0.99) == 99 and quantile(range(1, 101), 0.07) == 7
    assert quantile(range(1, 102), 0.99) == 100 and quantile([3, 1, 2], 0.99) == 3
    assert quantile(range(1, 101), 0.5) == 50 and quantile([1.0], 0.99) == 1.0


def test_a_stale_figure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("README.md", "PR_DESCRIPTION.md", "scripts/doctor.py", "benchmarks/README.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text((ROOT / name).read_text("utf-8"), "utf-8")
    results = {"measurements": PARTS}
    (tmp_path / "benchmarks" / "results.json").write_text(json.dumps(results))
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    texts = tables.computed()
    assert readme_part(PARTS) in texts[tmp_path / "README.md"]
    assert pull_request_part(PARTS) in texts[tmp_path / "PR_DESCRIPTION.md"]
    for path, text in texts.items():
        if path.is_relative_to(tmp_path):
            path.write_text(text, "utf-8")
    assert tables.main(["--check"]) == 0
    request = tmp_path / "PR_DESCRIPTION.md"
    request.write_text(request.read_text("utf-8").replace("| 75 % |", "| 74 % |"), "utf-8")
    with pytest.raises(UserError, match=r"stale: PR_DESCRIPTION\.md: run"):
        tables.main(["--check"])


def test_the_documents_show_what_was_measured() -> None:
    parts = load(ROOT / "benchmarks" / "results.json")
    assert (ROOT / "benchmarks" / "README.md").read_text("utf-8") == figures.page(parts)
    assert figures.readme_part(parts) in (ROOT / "README.md").read_text("utf-8")
    assert figures.pull_request_part(parts) in (ROOT / "PR_DESCRIPTION.md").read_text("utf-8")
    shown = {line for line in page(parts).splitlines() if "srcset=" in line}
    missing = [line for line in shown if not (ROOT / "benchmarks" / line.split('"')[3]).is_file()]
    assert missing == []
