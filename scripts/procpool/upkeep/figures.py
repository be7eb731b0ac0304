"""What the documents show of benchmarks/results.json: computed, and never edited by hand.

README shows the first plot; the pull request, which can show no plot of ours, a table; and
benchmarks/README.md all plots and figures, each with the command that made it.
"""

from __future__ import annotations

import math
import random
import statistics
import textwrap
from collections.abc import Callable, Sequence

from procpool.suite.bench import AGAIN, PATCHED, Found

# What the ratio of the healthy path, patched to unpatched, is not to exceed.
LIMIT = 1.02
# How often the calls are drawn anew for the spread of a ratio, and the seed of that.
_DRAWS, _SEED = 2000, 1
# The two outages whose cost is measured, and for how many seconds a pool that has stopped spawning
# has spawned nothing: a patched one goes on at least every five.
_OUTAGES = {"preloaded": "release preloaded", "imported": "each spawn imports the release"}
_STOPPED = 15.0
# The quantiles of the time to an answer, as the fleets' rows name them.
_ANSWERS = ("median", "p95", "p99")
_QUICK = " **A quick run, with small samples: the full one is still to come.**"


def share_waiting(rows: Sequence[Found], seconds: float) -> float:
    """Return the share, 0 to 1, of the jobs in rows that wait longer than so many seconds."""
    waits = [waited for row in rows for waited in row["waits"]]
    return sum(waited is None or bool(waited > seconds) for waited in waits) / len(waits)


def longest(rows: Sequence[Found]) -> float | None:
    """Return the longest wait in rows, in seconds; None if one had no end."""
    waits = [waited for row in rows for waited in row["waits"]]
    return None if None in waits else max(waits)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the least value that such a share, above 0, of the values does not exceed.

    That is the quantile by the nearest rank.
    """
    # of 100 values 0.07 is the seventh, though 0.07 * 100 is a little more than 7
    return sorted(values)[math.ceil(share * len(values) - 1e-9) - 1]


def ratio(
    patched: Sequence[float], unpatched: Sequence[float], figure: Callable[[Sequence[float]], float]
) -> tuple[float, float, float]:
    """Return the ratio of a figure of two samples, and the ends of its 95 % interval.

    Which is found by drawing both samples anew, with the same seed each time (bootstrap).
    """
    rng = random.Random(_SEED)
    drawn = sorted(
        figure(rng.choices(patched, k=len(patched)))
        / figure(rng.choices(unpatched, k=len(unpatched)))
        for _ in range(_DRAWS)
    )
    return (
        figure(patched) / figure(unpatched),
        drawn[int(0.025 * _DRAWS)],
        drawn[int(0.975 * _DRAWS)],
    )


_HEALTHY: dict[str, Callable[[Sequence[float]], float]] = {
    "median": statistics.median,
    "p99": lambda values: quantile(values, 0.99),
}


def made(part: Found) -> str:
    """Return how a part was made: the command, the Python, the machine and the day."""
    pythons = "/".join(dict.fromkeys(one["python"] for one in part["releases"].values()))
    versions = ", ".join(one["version"] for one in part["releases"].values())
    cores = part["machine"]["cores"]
    text = (
        f"`{part['command']}`: {versions}; Python {pythons}, {part['machine']['processor']},"
        f" {cores} cores, {part['day']}."
    )
    return wrapped(text + (_QUICK if part["quick"] else ""))


def picture(name: str, alt: str, folder: str) -> str:
    """Return the HTML that shows a plot on a light or a dark page."""
    return (
        "<picture>\n"
        f'  <source media="(prefers-color-scheme: dark)" srcset="{folder}{name}-dark.svg">\n'
        f'  <img alt="{alt}" src="{folder}{name}-light.svg">\n'
        "</picture>"
    )


def wrapped(text: str) -> str:
    """Return a paragraph in lines of the documents' length."""
    return textwrap.fill(text, 119, break_long_words=False, break_on_hyphens=False)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _seconds(value: float | None, digits: int = 0) -> str:
    return "none" if value is None else f"{value:.{digits}f} s"


def _counted(numbers: Sequence[int]) -> str:
    """Return "0 to 4" for numbers in a row, else "0, 2 or 4"."""
    first, last = numbers[0], numbers[-1]
    if len(numbers) > 2 and list(numbers) == list(range(first, last + 1)):
        return f"{first} to {last}"
    return " or ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(last))))


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


# -- a section for each part -----------------------------------------------------------------------


def _waiting_caption(part: Found) -> str:
    """Return what the first plot shows."""
    clocks = []
    for clock in ("virtual", "real"):
        settings = part["settings"][clock]
        rows = {name: one["rows"] for name, one in part["found"][clock].items()}
        bound = 3 * (settings["T"] + 5)
        still = " and ".join(
            f"{_percent(share_waiting(of, settings['horizon']))} on {name}"
            for name, of in rows.items()
            if not name.endswith(PATCHED)
        )
        ends = [longest(of) for name, of in rows.items() if name.endswith(PATCHED)]
        last = None if None in ends else max(end for end in ends if end is not None)
        patched = (
            "with the patches some still wait too"
            if last is None
            else f"with the patches the last is answered after {last:.1f} s (bound: {bound} s)"
        )
        where = "virtual time" if clock == "virtual" else "real processes"
        clocks.append(
            f"{where}, T = {settings['T']} s, {_counted(settings['idle'])} idle processes wanted:"
            f" {settings['horizon']} s after they came {still} still wait; {patched}"
        )
    return (
        "No process can initialize: prewarm raises, hangs or exits, in step and out of step. Jobs"
        " that still wait, by the time since they came. "
        + ". ".join(text[0].upper() + text[1:] for text in clocks)
        + "."
    )


def _waiting(part: Found, folder: str) -> str:
    rows = part["found"]["virtual"]
    cells = [["virtual time", *rows]]
    kinds = dict.fromkeys((row["kind"], row["step"]) for row in next(iter(rows.values()))["rows"])
    horizon = part["settings"]["virtual"]["horizon"]
    for kind, step in kinds:
        line = [f"{kind}, {step}"]
        for one in rows.values():
            fitting = [r for r in one["rows"] if (r["kind"], r["step"]) == (kind, step)]
            share = share_waiting(fitting, horizon)
            end = longest(fitting)
            line.append(f"{_percent(share)} wait" if end is None else f"none; {end:.1f} s")
        cells.append(line)
    return "\n\n".join(
        [
            picture("waiting", "Jobs still waiting against time", folder),
            wrapped(_waiting_caption(part)),
            picture("waiting-by-failure", "The same for each way to fail", folder),
            f"How many still wait after {horizon} s, or how long the slowest verdict took:",
            markdown_table(cells),
        ]
    )


def _outages(part: Found, folder: str) -> str:
    found = part["found"]
    first = next(iter(found.values()))
    cells = [["calls served within 45 s", "the best", *found]]
    for table in ("outages", "flaky"):
        for number, row in enumerate(first[table]):
            if table == "outages":
                label = f"outage of {row['seconds']} s, spawns {row['kind']}"
            else:
                share = _percent(row["share"])
                label = f"{share} of spawns {row['kind']}, calls {row['arrival']}"
            line = [label, _percent(row["best_served"] / row["calls"])]
            for one in found.values():
                served = one[table][number]
                line.append(
                    f"{_percent(served['served'] / served['calls'])}, {_seconds(served['mean'], 1)}"
                )
            cells.append(line)
    text = (
        "Calls that get a process within 45 s (3·W), of 20 in each run, in virtual time, T = 10 s,"
        " up to 4 initializations at once; and the mean time to it. An initialization that works"
        " takes 1 s, one that fails raises after 1 s or hangs for T. In an outage, calls come at"
        " random times of it. On a flaky pool one comes every 5 s (in a row), or all at once. *The"
        " best* knows every outcome beforehand: `benchmarks/measure/best.py`. A patched pool gives"
        " a job up soon after W = 15 s where every spawn fails within a second, so it loses calls"
        " in longer outages that an unpatched one, which never gives up, may still serve; it tells"
        " the server instead, and as a worker takes no more calls."
    )
    return "\n\n".join(
        [
            picture("outages", "Calls served through outages", folder),
            wrapped(text),
            markdown_table(cells),
        ]
    )


def _stops(part: Found) -> str:
    """Return which pools have stopped spawning by the end of the outage, as sentences or nothing.

    That is when nothing came in the last `_STOPPED` seconds.
    """
    stops: dict[str, list[str]] = {}
    for label, releases in part["found"].items():
        for name, one in releases.items():
            last = one["seconds"][one["spawned"].index(one["spawned"][-1])]
            if one["seconds"][-1] - last > _STOPPED:
                stops.setdefault(name, []).append(f"after {last:.0f} s ({_OUTAGES[label]})")
    return "".join(
        f" {name} stops spawning {' and '.join(found)}: it burns no more because it tries no more,"
        " and its jobs go on waiting."
        for name, found in stops.items()
    )


def _spawns(part: Found, folder: str) -> str:
    seconds = part["settings"]["seconds"]
    first = next(iter(part["found"].values()))
    cells = [[f"in the first {seconds} s", *first]]
    for label, releases in part["found"].items():
        for key, unit in (("spawned", "processes"), ("cpu", "CPU s")):
            values = [f"{one[key][-1]:.4g}" for one in releases.values()]
            cells.append([f"{unit}, {_OUTAGES[label]}", *values])
    text = (
        "An outage: prewarm raises at once, two jobs wait, two idle processes are wanted, T = 10 s,"
        " real processes. Processes spawned and CPU burnt in all, children included, each release"
        f" on a core of its own.{_stops(part)}"
    )
    return "\n\n".join(
        [
            picture("spawns", "Processes and CPU in an outage", folder),
            wrapped(text),
            markdown_table(cells),
        ]
    )


def _cost(part: Found, folder: str) -> str:
    found = part["found"]
    sizes = list(next(iter(found.values())))
    cells = [["jobs that wait", *found]]
    for size in sizes:
        values = [one[size] for one in found.values()]
        cells.append([size, *("left out" if v is None else f"{v:.3f} ms" for v in values)])
    text = (
        "A burst of jobs waits for processes that are ready after 20 ms, 4 at once. CPU time of the"
        " event loop for each job, on logarithmic axes: flat is what it should be. Bursts that"
        f" would take an unpatched pool more than {part['settings']['most']} s are left out."
    )
    return "\n\n".join(
        [
            picture("cost", "Event-loop CPU for each job", folder),
            wrapped(text),
            markdown_table(cells),
        ]
    )


def _contended(part: Found, folder: str) -> str:
    real, virtual = part["found"]["real"], part["found"]["virtual"]
    cells = [["real processes", "served", "median to a process", "last", "spawned", "CPU"]]
    for name, row in real.items():
        waits = row["waits"]
        cells.append(
            [
                name,
                f"{len(waits)} of {row['jobs']}",
                _seconds(statistics.median(waits) if waits else None, 1),
                _seconds(max(waits, default=None), 1),
                str(row["spawned"]),
                _seconds(row["cpu"], 1),
            ]
        )
    first = next(iter(virtual.values()))["rows"]
    model = [["virtual time: served; timeouts of spawns; throughput", *virtual]]
    for number, row in enumerate(first):
        cells_of_row = [
            f"{one['rows'][number]['served']}/{row['jobs']};"
            f" {one['rows'][number]['timeouts']}/{one['rows'][number]['spawns']};"
            f" {one['rows'][number]['throughput']:.2f}"
            for one in virtual.values()
        ]
        model.append([f"{row['work']:g} s of work, {row['arrival']}", *cells_of_row])
    settings = part["settings"]
    text = (
        f"All initializations share one core: each needs {settings['real']['work']:g} s of CPU, T"
        " is one and a half times what that takes alone, and the pool begins with 4 at once."
        f" *N at once* is {settings['fixed numbers on']} with a number that does not adapt. Below,"
        " the model in virtual time, T = 10 s, once the pool has settled (after 40 s); throughput"
        " is seconds of work a second that led to a process."
    )
    plot = picture("contended", "Calls served on a contended core", folder)
    return "\n\n".join([plot, wrapped(text), markdown_table(cells), markdown_table(model)])


def _fleet_found(part: Found) -> str:
    """Return what there is to see in the largest fleets."""
    said = [
        f"{name} serves {_percent(row['served'] / row['calls'])} of the calls"
        + (f" and leaves {row['silent']:,} without an answer" if row["silent"] else "")
        for name, one in part["found"].items()
        for row in one["rows"][-1:]
    ]
    workers = next(iter(part["found"].values()))["rows"][-1]["workers"]
    return f"With {workers:,} workers {', '.join(said)}."


def _fleet(part: Found, folder: str) -> str:
    found = part["found"]
    first = next(iter(found.values()))["rows"]
    cells = [["served; told that not; silent", *found]]
    times = [["to the answer: median, p95, p99", *found]]
    costs = [["CPU to simulate it", *found]]
    for number, row in enumerate(first):
        size = f"{row['workers']:,} workers, {row['calls']:,} calls"
        rows = [one["rows"][number] for one in found.values()]
        cells.append(
            [
                size,
                *(
                    f"{_percent(r['served'] / r['calls'])}; {r['told']}; {r['silent']}"
                    for r in rows
                ),
            ]
        )
        times.append([size, *(", ".join(_seconds(r[key], 1) for key in _ANSWERS) for r in rows)])
        costs.append([size, *(_seconds(r["cpu"], 1) for r in rows)])
    text = (
        "The releases' own pools and workers in virtual time, T = 2 s, on a server that chooses at"
        " random by 1-load. On a tenth of the workers prewarm raises. Two calls a worker come"
        " within 10 s and stay. *Pool only* is the patched pool with the unpatched worker. A call"
        " is answered when its agent has a process, or the server is told that it has none; a"
        " quantile is of all calls, and *none* where it falls on calls that nobody answers."
        f" {_fleet_found(part)}"
    )
    plot = picture("fleet", "Calls served by fleets", folder)
    return "\n\n".join(
        [plot, wrapped(text), markdown_table(cells), markdown_table(times), markdown_table(costs)]
    )


def _ratios(part: Found, other: str) -> list[tuple[str, tuple[float, float, float]]]:
    """Return, for each `other` worker and figure, its ratio to the release as it is."""
    found = part["found"]
    return [
        (f"{what} of {name}{other}", ratio(found[name + other], found[name], figure))
        for name in found
        if name + other in found
        for what, figure in _HEALTHY.items()
    ]


def _healthy_found(part: Found) -> str:
    """Return what the ratios say of their limit, by where their intervals lie."""
    said: dict[str, list[str]] = {"within it": [], "too uncertain to say": [], "above it": []}
    for what, (middle, low, high) in _ratios(part, PATCHED):
        place = (
            "within it" if high <= LIMIT else "above it" if low > LIMIT else "too uncertain to say"
        )
        said[place].append(f"{what} ({middle:.3f})")
    return "; ".join(f"{place}: {', '.join(of)}" for place, of in said.items() if of)


def _healthy(part: Found, folder: str) -> str:
    found = part["found"]
    cells = [["", *found]]
    for what, figure in _HEALTHY.items():
        cells.append([what, *(f"{1000 * figure(one):.0f} ms" for one in found.values())])
    ratios = [["against the release as it is", "ratio", "95 % interval"]]
    chance = _ratios(part, AGAIN)
    for what, (middle, low, high) in [*_ratios(part, PATCHED), *chance]:
        ratios.append([what, f"{middle:.3f}", f"{low:.3f} to {high:.3f}"])
    text = (
        f"{part['settings']['rounds']} calls to each worker on one real server"
        f" ({part['settings']['server']}), in turns, with an idle process ready: from the dispatch"
        f" until the agent has joined. The ratio is not to be above {LIMIT:g}. By the intervals,"
        f" {_healthy_found(part)}."
    )
    if chance:
        text += " *Again* is a second unpatched worker: its ratio differs from 1 by chance only."
    plot = picture("healthy", "From dispatch to agent joined", folder)
    return "\n\n".join([plot, wrapped(text), markdown_table(cells), markdown_table(ratios)])


def _script(part: Found, folder: str) -> str:
    cells = [["release", "last line of the script in PR_DESCRIPTION.md"]]
    cells += [[name, f"`{line}`"] for name, line in part["found"].items()]
    return markdown_table(cells)


_SECTIONS: dict[str, tuple[str, Callable[[Found, str], str]]] = {
    "waiting": ("Jobs that wait when no process can initialize", _waiting),
    "outages": ("Outages and flaky pools", _outages),
    "spawns": ("What an outage costs", _spawns),
    "cost": ("What waiting costs the event loop", _cost),
    "contended": ("A contended core", _contended),
    "fleet": ("A fleet with sick workers", _fleet),
    "healthy": ("The healthy path", _healthy),
    "script": ("The script of the pull request", _script),
}


# -- the documents ---------------------------------------------------------------------------------


def page(parts: Found) -> str:
    """Return the text of benchmarks/README.md: every part, its plots, figures and command."""
    sections = [
        "<!-- Written by `nox -s bench` and `nox -s tables` from results.json. -->\n\n"
        "# Figures\n\n"
        "Unpatched and patched releases, measured side by side. Compare within a part only: seconds"
        " of another machine are other seconds. `nox -s bench` measures all of them, in half an"
        " hour; `nox -s bench -- --only PART` one."
    ]
    for name, (title, section) in _SECTIONS.items():
        if name in parts:
            text = section(parts[name], "plots/")
            sections.append(f"## {title}\n\n{text}\n\n{made(parts[name])}")
    return "\n\n".join(sections) + "\n"


# The measurement that README shows.
IN_README = "waiting"


def readme_part(parts: Found) -> str:
    """Return what README shows: the first plot and its caption; nothing if it was not measured."""
    if IN_README not in parts:
        return ""
    part = parts[IN_README]
    plot = picture("waiting", "Jobs still waiting against time", "benchmarks/plots/")
    more = "All figures and plots: [benchmarks](benchmarks/README.md)."
    return f"{plot}\n\n{wrapped(f'{_waiting_caption(part)} {more}')}\n\n{made(part)}\n"


def pull_request_part(parts: Found) -> str:
    """Return the table of the pull request: the newest release, unpatched and patched."""
    rows: list[list[str]] = []
    used = [parts[name] for name in ("waiting", "spawns", "cost", "contended") if name in parts]
    if not used:
        return ""
    versions = list(used[0]["releases"])
    unpatched, patched = versions[-2:]
    reported = versions[0]
    names = list(dict.fromkeys([reported, unpatched, patched]))
    head = [name.replace(PATCHED, " with this change") for name in names]
    if "waiting" in parts:
        part = parts["waiting"]
        for clock, where in (("virtual", "in virtual time"), ("real", "real processes")):
            settings = part["settings"][clock]
            label = f"jobs that wait after {settings['horizon']} s, T = {settings['T']} s, {where}"
            found = part["found"][clock]
            shares = [share_waiting(found[n]["rows"], settings["horizon"]) for n in names]
            rows.append([label, *map(_percent, shares)])
            ends = [longest(found[name]["rows"]) for name in names]
            rows.append(["slowest verdict there", *(_seconds(end, 1) for end in ends)])
    if "spawns" in parts:
        part = parts["spawns"]
        for outage, found in part["found"].items():
            for key, unit in (("spawned", "processes spawned"), ("cpu", "CPU seconds burnt")):
                label = f"{unit} in {part['settings']['seconds']} s of outage, {_OUTAGES[outage]}"
                rows.append([label, *(f"{found[name][key][-1]:.4g}" for name in names)])
    if "cost" in parts:
        found = parts["cost"]["found"]
        for size in ("25", "100", "200", "4000"):
            values = [found[name][size] for name in names]
            cells = ("too long" if v is None else f"{v:.2f} ms" for v in values)
            rows.append([f"event-loop CPU a job, {size} waiting", *cells])
    if "contended" in parts:
        found = parts["contended"]["found"]["virtual"]
        served = [
            f"{sum(r['served'] for r in found[name]['rows'])}"
            f" of {sum(r['jobs'] for r in found[name]['rows'])}"
            for name in names
        ]
        rows.append(["calls served where initializations share a core, in virtual time", *served])
    table = markdown_table([["", *head], *rows])
    python = "/".join(dict.fromkeys(part["releases"][patched]["python"] for part in used))
    days = "/".join(dict.fromkeys(part["day"] for part in used))
    quick = _QUICK if any(part["quick"] for part in used) else ""
    stops = _stops(parts["spawns"]) if "spawns" in parts else ""
    return (
        f"{table}\n\nPrewarm raises, hangs or exits, in step and out of step, with up to four idle"
        " processes wanted; three jobs a pool. In the outage prewarm raises, and two jobs wait."
        f"{stops} Python {python}, {used[0]['machine']['cores']} cores, {days}.{quick}\n"
    )
