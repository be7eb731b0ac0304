"""Draw the plots of a file of results: `python plots.py results.json FOLDER`.

Each plot is an SVG for a light page and one for a dark page, which differ in their colours only.
The same results give the same files: ids are salted with a fixed word, and no date is written.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Found = dict[str, Any]
PATCHED = " patched"

# Inks that are read on either page: text and axes, grid; and a colour for each release, dark on the
# light page and light on the dark one. Patched ones are drawn solid and with marks, so that colour
# alone decides nothing.
PAGES = {
    "light": {
        "ink": "#1f2328",
        "grid": "#d1d9e0",
        "fixed": "#818b98",
        "colours": ["#9a6700", "#cf222e"],
    },
    "dark": {
        "ink": "#e6edf3",
        "grid": "#3d444d",
        "fixed": "#9198a1",
        "colours": ["#e3b341", "#ff7b72"],
    },
}
PATCHED_COLOURS = {"light": ["#0969da", "#1a7f37"], "dark": ["#79c0ff", "#56d364"]}
STYLE = {
    "svg.hashsalt": "procpool",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


class Page:
    """A light or a dark page, and how each release is drawn on it."""

    def __init__(self, name: str, releases: Sequence[str]) -> None:
        self.ink: str = str(PAGES[name]["ink"])
        self.grid: str = str(PAGES[name]["grid"])
        self.fixed: str = str(PAGES[name]["fixed"])
        self.lines: dict[str, dict[str, Any]] = {}
        unpatched = [release for release in releases if not release.endswith(PATCHED)]
        for number, release in enumerate(unpatched):
            dashes = ["--", ":"][number % 2]
            colour = PAGES[name]["colours"][number % 2]
            self.lines[release] = {"color": colour, "linestyle": dashes, "linewidth": 2}
            colour = PATCHED_COLOURS[name][number % 2]
            self.lines[release + PATCHED] = {
                "color": colour,
                "linestyle": "-",
                "linewidth": 2 if number == 0 else 1.4,
                "marker": ["o", "s"][number % 2],
                "markersize": 4,
                "markevery": (number * 3, 7),
            }
        self.best: dict[str, Any] = {
            "color": self.ink,
            "linestyle": "-.",
            "linewidth": 1.2,
            "label": "the best",
        }

    def line(self, release: str, **more: Any) -> dict[str, Any]:
        """Return how the line of a release is drawn, or of something else beside it."""
        other = {"color": self.fixed, "linestyle": "-.", "linewidth": 1.4, "marker": "^"}
        return {**self.lines.get(release, other), "label": release, **more}

    def style(self) -> Any:
        """Return matplotlib's settings."""
        colours = ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color")
        return STYLE | dict.fromkeys(colours, self.ink) | {"grid.color": self.grid}


def share_waiting(rows: list[Found], at: float, **which: str) -> float:
    """Return the per cent of jobs that wait longer than `at` seconds, in the rows that fit."""
    waits = [
        waited
        for row in rows
        if all(row[key] == value for key, value in which.items())
        for waited in row["waits"]
    ]
    return 100.0 * sum(waited is None or bool(waited > at) for waited in waits) / len(waits)


def _curve(axes: Axes, page: Page, found: Found, end: float, **which: str) -> None:
    """Draw the jobs that still wait, a curve a release."""
    times = [end * number / 240 for number in range(241)]
    for release, part in found.items():
        shares = [share_waiting(part["rows"], at, **which) for at in times]
        style = page.line(release)
        if "markevery" in style:
            style["markevery"] = (style["markevery"][0] * 4, 30)
        axes.plot(times, shares, **style)
    axes.set_ylim(-3, 104)
    axes.set_xlim(0, end)


def waiting(results: Found, page: Page) -> Figure:
    """Jobs still waiting against time, virtual and real."""
    part = results["waiting"]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), sharey=True)
    for one, clock in zip(axes, ("virtual", "real"), strict=True):
        settings = part["settings"][clock]
        _curve(one, page, part["found"][clock], settings["horizon"])
        bound = 3 * (settings["T"] + 5)
        one.axvline(bound, color=page.ink, linewidth=0.8)
        one.annotate(f" 3·W = {bound} s", (bound, 50), color=page.ink)
        what = "virtual time" if clock == "virtual" else "real processes"
        one.set_title(f"{what}, T = {settings['T']} s")
        one.set_xlabel("seconds since the job came")
    axes[0].set_ylabel("jobs still waiting, %")
    _legend(figure, axes[0])
    return figure


def waiting_by_failure(results: Found, page: Page) -> Figure:
    """The same in virtual time, for each way to fail."""
    part = results["waiting"]
    rows = next(iter(part["found"]["virtual"].values()))["rows"]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    steps = list(dict.fromkeys(row["step"] for row in rows))
    size = (9, 4.6)
    figure, axes = pyplot.subplots(len(steps), len(kinds), figsize=size, sharex=True, sharey=True)
    for step, line in zip(steps, axes, strict=True):
        for kind, one in zip(kinds, line, strict=True):
            end = part["settings"]["virtual"]["horizon"]
            _curve(one, page, part["found"]["virtual"], end, kind=kind, step=step)
            one.set_title(f"{kind}, {step}")
    for one in axes[-1]:
        one.set_xlabel("seconds since the job came")
    for line in axes:
        line[0].set_ylabel("jobs still waiting, %")
    _legend(figure, axes[0][0])
    return figure


def outages(results: Found, page: Page) -> Figure:
    """Calls served through outages and on flaky pools, beside the best."""
    found = results["outages"]["found"]
    first = next(iter(found.values()))
    kinds = list(dict.fromkeys(row["kind"] for row in first["outages"]))
    arrivals = list(dict.fromkeys(row["arrival"] for row in first["flaky"]))
    columns = 1 + len(arrivals)
    figure, axes = pyplot.subplots(len(kinds), columns, figsize=(9, 5.2), sharey=True)
    for kind, line in zip(kinds, axes, strict=True):
        _served(line[0], page, found, "outages", "seconds", 1, kind=kind)
        line[0].set_title(f"outage, spawns {kind}")
        line[0].set_ylabel("calls served within 3·W, %")
        for arrival, one in zip(arrivals, line[1:], strict=True):
            _served(one, page, found, "flaky", "share", 100, kind=kind, arrival=arrival)
            one.set_title(f"some {kind}, calls {arrival}")
    axes[-1][0].set_xlabel("seconds of outage")
    for one in axes[-1][1:]:
        one.set_xlabel("initializations that fail, %")
    _legend(figure, axes[0][0])
    return figure


def _served(
    axes: Axes, page: Page, found: Found, table: str, key: str, scale: float, **which: str
) -> None:
    """Draw the share of calls served by `key`, a curve a release, and the best."""
    for number, (release, part) in enumerate(found.items()):
        rows = [r for r in part[table] if all(r[k] == value for k, value in which.items())]
        values = [row[key] * scale for row in rows]
        if number == 0:
            best = [100 * row["best_served"] / row["calls"] for row in rows]
            axes.plot(values, best, **page.best)
        shares = [100 * row["served"] / row["calls"] for row in rows]
        axes.plot(values, shares, **page.line(release, markevery=1))
    axes.set_ylim(-3, 104)


def spawns(results: Found, page: Page) -> Figure:
    """Processes spawned and CPU burnt in an outage, in all, against time."""
    found = results["spawns"]["found"]
    figure, grid = pyplot.subplots(
        len(found), 2, figsize=(9, 0.8 + 2.6 * len(found)), squeeze=False
    )
    names = {"preloaded": "release preloaded", "imported": "each spawn imports"}
    for (label, releases), line in zip(found.items(), grid, strict=True):
        for key, one in zip(("spawned", "cpu"), line, strict=True):
            for release, row in releases.items():
                one.plot(row["seconds"], row[key], **page.line(release))
            what = "processes spawned" if key == "spawned" else "CPU seconds"
            one.set_title(f"{what}, {names[label]}")
            one.set_ylabel("in all" if key == "spawned" else "in all, s")
            one.set_ylim(bottom=0)
    for one in grid[-1]:
        one.set_xlabel("seconds since the outage began")
    _legend(figure, grid[0][0])
    return figure


def cost(results: Found, page: Page) -> Figure:
    """Event-loop CPU for each job, log-log."""
    figure, axes = pyplot.subplots(figsize=(6, 3.8))
    for release, row in results["cost"]["found"].items():
        points = [(int(size), cpu) for size, cpu in row.items() if cpu is not None]
        axes.loglog(*zip(*points, strict=True), **page.line(release, markevery=1))
    axes.set_xlabel("jobs that wait")
    axes.set_ylabel("event-loop CPU a job, ms")
    _legend(figure, axes)
    return figure


def contended(results: Found, page: Page) -> Figure:
    """Calls served, and when, where real initializations share a core."""
    found = results["contended"]["found"]["real"]
    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(9, 3.4))
    names = list(found)
    served = [100 * len(row["waits"]) / row["jobs"] for row in found.values()]
    for number, name in enumerate(names):
        colour = page.lines[name]["color"] if name in page.lines else page.fixed
        row = found[name]
        left.barh(number, served[number], color=colour)
        if row["waits"]:
            middle.barh(number, statistics.median(row["waits"]), color=colour)
        right.barh(number, row["cpu"], color=colour)
    for one in (left, middle, right):
        one.set_yticks(range(len(names)), names if one is left else [""] * len(names))
        one.set_ylim(len(names) - 0.5, -0.5)
        one.grid(axis="y", visible=False)
    left.set_xlabel("calls served, %")
    left.set_xlim(0, 100)
    middle.set_xlabel("median to a process, s")
    right.set_xlabel("CPU burnt, s")
    figure.tight_layout()
    return figure


def fleet(results: Found, page: Page) -> Figure:
    """Calls served by fleets, how soon they are answered, and what it costs to simulate them."""
    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(9, 3.6))
    for name, found in results["fleet"]["found"].items():
        rows = found["rows"]
        sizes = [row["workers"] for row in rows]
        style = page.line(name, markevery=1)
        left.semilogx(sizes, [100 * row["served"] / row["calls"] for row in rows], **style)
        within = [(at, 100 * calls / rows[-1]["calls"]) for at, calls in rows[-1]["within"]]
        middle.plot(*zip(*within, strict=True), **page.line(name, markevery=5))
        right.loglog(sizes, [row["cpu"] for row in rows], **style)
        middle.set_title(f"{sizes[-1]:,} workers")
    left.set_ylabel("calls served, %")
    left.set_ylim(top=100.5)
    middle.set_xscale("symlog", linthresh=1)
    middle.set_xticks([0, 1, 10], ["0", "1", "10"])
    middle.set_xlabel("seconds since the call came")
    middle.set_ylabel("calls answered by then, %")
    right.set_ylabel("CPU to simulate it, s")
    for one in (left, right):
        one.set_xlabel("workers")
    _legend(figure, left)
    return figure


def healthy(results: Found, page: Page) -> Figure:
    """Dispatch to agent joined, each call, on a real server."""
    found = results["healthy"]["found"]
    figure, axes = pyplot.subplots(figsize=(7.5, 3.8))
    for release, seconds in found.items():
        ordered = sorted(1000 * took for took in seconds)
        shares = [100 * (number + 1) / len(ordered) for number in range(len(ordered))]
        every = max(1, len(ordered) // 8)
        axes.step(ordered, shares, where="post", **page.line(release, markevery=every))
    axes.set_xlabel("dispatch to agent joined, ms")
    axes.set_ylabel("calls answered by then, %")
    _legend(figure, axes)
    return figure


def _legend(figure: Figure, axes: Axes) -> None:
    """Put one legend below all."""
    handles, labels = axes.get_legend_handles_labels()
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), fontsize=9)


# The part of the results that each plot is of.
PLOTS: dict[str, tuple[str, Callable[[Found, Page], Figure]]] = {
    "waiting": ("waiting", waiting),
    "waiting-by-failure": ("waiting", waiting_by_failure),
    "outages": ("outages", outages),
    "spawns": ("spawns", spawns),
    "cost": ("cost", cost),
    "contended": ("contended", contended),
    "fleet": ("fleet", fleet),
    "healthy": ("healthy", healthy),
}


def draw(results: Found, folder: Path) -> list[Path]:
    """Draw the plots of the parts that there are into a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (part, plot) in PLOTS.items():
        if part not in results:
            continue
        for page_name in PAGES:
            page = Page(page_name, list(results[part]["releases"]))
            with pyplot.rc_context(page.style()):
                figure = plot(results, page)
                path = folder / f"{name}-{page_name}.svg"
                figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
                pyplot.close(figure)
            written.append(path)
    return written


def main() -> None:
    """Draw all plots, and say how many."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    results = json.loads(options.results.read_text("utf-8"))["measurements"]
    print(f"{len(draw(results, options.folder))} plots in {options.folder}")


if __name__ == "__main__":
    main()
