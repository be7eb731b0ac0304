"""Judge what a soak has seen: the end of each call, and what each worker took and left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

# What may take an end from a call, by what was seen of it: nobody was there who could have said
# more. For all that is not listed: a restart of the server, which forgets its rooms and jobs.
_EXCUSES = {
    "silent": ("restart-server", "kill-worker"),
    "lost": ("restart-server", "kill-worker", "stop-worker", "no-descriptors"),
}
# The kind of the times in which a worker was not registered: killed or ended, and not back yet.
AWAY = "away"
# Seconds that the worker has to answer, in which an earlier fault may still be felt.
_FELT = 3.0
# What a worker may have more of, when all is well again, than before the faults: the share, and so
# many more.
FLAT = {"MB": (0.5, 50.0), "threads": (0.0, 4.0), "descriptors": (0.0, 8.0)}


@dataclass(frozen=True)
class Incident:
    """A fault that was brought about, from `start` to `end`; `worker` is None for the server."""

    start: float
    end: float
    kind: str
    worker: int | None
    text: str


@dataclass(frozen=True)
class Seen:
    """What was seen of a call. Times are monotonic seconds.

    `outcome` is one of `calls.Call`'s, or `not made`: the server would not take it. `end` is when
    that was seen. `workers` are those that were asked for it, `progress` is when a process of the
    last of these became ready for the last time before the end. `reports` are the final states that
    workers reported, `unknown` how many reports came when the job had ended. `launches` counts the
    processes that began the job.
    """

    room: str
    dispatched: float
    outcome: str
    end: float
    workers: tuple[int, ...] = ()
    progress: float = 0.0
    reports: tuple[str, ...] = ()
    unknown: int = 0
    launches: int = 0
    timeline: tuple[tuple[float, str], ...] = field(default=(), compare=False)


def frozen(incidents: Sequence[Incident], start: float, end: float) -> float:
    """How many seconds between these times something was stopped, each incident for itself."""
    return sum(
        max(0.0, min(end, incident.end) - max(start, incident.start))
        for incident in incidents
        if incident.kind in ("stop-worker", "stop-child")
    )


def due(seen: Seen, incidents: Sequence[Incident], bound: float) -> float:
    """When the call must have had its end.

    That is `bound` seconds after the later of the call and the last progress of its worker; a time
    in which something was stopped does not count.
    """
    since = max(seen.dispatched, min(seen.progress, seen.end))
    return since + bound + frozen(incidents, since, seen.end)


def concerns(incident: Incident, seen: Seen) -> bool:
    """Whether a fault has hit the server or a worker that was asked; any, if that is not known."""
    return incident.worker is None or not seen.workers or incident.worker in seen.workers


def felt(incident: Incident, seen: Seen, until: float) -> bool:
    """Whether a fault was felt while the call was under way, until then at most."""
    since = seen.dispatched - (_FELT if seen.outcome == "lost" else 0.0)
    return incident.start <= min(until, seen.end) and incident.end >= since


def nobody_there(seen: Seen, incidents: Sequence[Incident], workers: int) -> bool:
    """Whether the call was lost for want of anybody to ask: all of so many workers were away."""
    away = {
        incident.worker
        for incident in incidents
        if incident.kind == AWAY and felt(incident, seen, seen.end)
    }
    return seen.outcome == "lost" and not seen.workers and len(away) == workers


def excused(seen: Seen, incidents: Sequence[Incident], until: float) -> str:
    """Name what has made it impossible to say, until then, what became of the call; or nothing."""
    kinds = _EXCUSES.get(seen.outcome, ("restart-server",))
    for incident in incidents:
        hit = felt(incident, seen, until) and concerns(incident, seen)
        if incident.kind in kinds and hit:
            return incident.kind
    return ""


def judge_call(
    seen: Seen, incidents: Sequence[Incident], bound: float, workers: int = 3
) -> list[str]:
    """Return which invariants a call breaks, in a soak of so many workers.

    It must be served, refused or reported as failed, once, and before it is `due`.
    """
    limit = due(seen, incidents, bound)
    if excused(seen, incidents, limit) or nobody_there(seen, incidents, workers):
        return []
    broken = []
    took = seen.end - seen.dispatched
    if seen.outcome in ("silent", "lost", "not made"):
        broken.append(f"{seen.outcome} after {took:.1f} s")
    elif seen.end > limit:
        most = limit - seen.dispatched
        broken.append(f"{seen.outcome} after {took:.1f} s, its bound was {most:.1f} s")
    if len(seen.reports) + seen.unknown > 1:
        broken.append(f"reported {len(seen.reports) + seen.unknown} times")
    if seen.launches > 1:
        broken.append(f"launched {seen.launches} times")
    if seen.outcome == "refused" and seen.launches:
        broken.append("refused, and launched")
    return broken


def judge_flat(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """Return what a worker has more of than it may, by the names of `FLAT`."""
    return [
        f"{name}: {before[name]:.0f} before the faults, {after[name]:.0f} after"
        for name, (share, more) in FLAT.items()
        if after[name] > before[name] * (1 + share) + more
    ]


def moment(words: Sequence[str]) -> str:
    """What a child of the pool does, by the first words of its notes, in their order."""
    for word, name in (
        ("joined", "job"),
        ("job", "hand-over"),
        ("ready", "idle"),
        ("prewarm", "prewarm"),
    ):
        if word in words:
            return name
    return "import"


def timeline(seen: Seen, incidents: Sequence[Incident], begin: float) -> list[str]:
    """Return the lines of a call's timeline, in seconds of the soak that began at `begin`.

    Faults stand in it from 30 s before the call on, those of the server and of its workers.
    """
    faults = [
        (incident.start, f"fault: {incident.text}")
        for incident in incidents
        if concerns(incident, seen)
        and incident.end > seen.dispatched - 30
        and incident.start < seen.end
    ]
    events = [
        (seen.dispatched, f"dispatched ({seen.room})"),
        *faults,
        *seen.timeline,
        (seen.end, seen.outcome),
    ]
    return [f"{at - begin:8.2f} s  {text}" for at, text in sorted(events)]


def counts(seen: Sequence[Seen]) -> str:
    """Such as `38 served (median 0.4 s, longest 9.1 s), 2 failed (…)`."""
    parts = []
    for outcome, count in Counter(one.outcome for one in seen).most_common():
        took = sorted(one.end - one.dispatched for one in seen if one.outcome == outcome)
        times = f"median {took[len(took) // 2]:.1f} s, longest {took[-1]:.1f} s"
        parts.append(f"{count} {outcome} ({times})")
    return ", ".join(parts)
