"""Print promise 12's model: the pool beside every fixed number of initializations at once.

Runs in an environment of a patched release, in virtual time, so the figures are the same on every
machine. `benchmarks/contended.py` makes the environment and calls it.
"""

from __future__ import annotations

import logging
from unittest import mock

from livekit.agents.ipc.proc_pool import ProcPool
from test_promise_contended import ARRIVALS, WORK, Run, contended, served

SEEDS = range(100)


def cell(run: Run, jobs: int) -> str:
    """Return what became of the jobs, and of the spawns once the pool had settled."""
    return f"{run.served}/{jobs}, {run.timeouts}/{run.spawns}, {run.throughput:.2f}"


def main() -> None:
    """Print both tables, in Markdown."""
    logging.disable(logging.CRITICAL)
    print("Jobs that ran, timeouts of spawns, seconds of work in a second that led to a process:")
    print()
    print("| work alone | jobs | the pool | 1 at once | 2 | 3 | 4 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows = [(name, gap, idle, 20) for name, (gap, idle) in ARRIVALS.items()]
    rows.append(("burst", *ARRIVALS["burst"], 60))
    for work in WORK:
        for name, gap, idle, jobs in rows:
            cells = [cell(contended(work, gap, idle, jobs), jobs)]
            with (
                mock.patch.object(ProcPool, "_on_init_timeout", lambda self, started_at: None),
                mock.patch.object(ProcPool, "_on_init_done", lambda self, started_at: None),
            ):
                cells += [
                    cell(contended(work, gap, idle, jobs, number), jobs) for number in (1, 2, 3, 4)
                ]
            print(f"| {work} s | {jobs}, {name} | {' | '.join(cells)} |")
    print()
    print(
        f"Jobs of a burst of 60 that run where initializations hang at random, {len(SEEDS)} seeds:"
    )
    print()
    for share in (0.4, 0.6, 0.8):
        part = sum(served(share, seed) for seed in SEEDS) / (60 * len(SEEDS))
        print(f"- {share:.0%} hang: {part:.1%}")


if __name__ == "__main__":
    main()
