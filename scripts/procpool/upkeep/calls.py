"""What the documents show of benchmarks/e2e.json: computed, and never edited by hand.

README shows what became of the calls in some cases, benchmarks/e2e.md in all.
"""

from __future__ import annotations

from typing import Any

from procpool.suite.e2e import Recorded
from procpool.upkeep.figures import markdown_table, wrapped

KINDS = ("unpatched", "patched")
# The cases of README, in its words.
CHOSEN = {
    "sick-beside-well": "one sick idle worker beside a busy well one, 40 calls",
    "two-sick-of-four": "two sick workers of four, 20 calls",
    "all-sick": "all workers sick, 5 calls",
    "short-outage": "an outage of 3 s, two calls wait",
    "contended-core": "one core for two initializations that each fit T alone",
    "shared-core": "a model of that: prewarm sleeps as long as its share of a core would take",
    "dispatch-deleted": "a dispatch deleted while its call waits",
    "sigterm-drain-limit": "SIGTERM while two calls wait, drain limit 3 s",
    "sigterm-200": "SIGTERM while 200 calls wait",
    "prewarm-raises": "prewarm raises",
    "prewarm-forks": "prewarm forks and raises; then the worker is ended",
}
_WORDS = (
    "A call is *served* when the agent joins the caller's room, *failed* when the server is told"
    " so, *refused* when every worker declines, *silent* when nothing happens until the case gives"
    " up. What did not come out as expected was repeated alone, with twice the time, and that"
    " decides; what was found at first stands beside it."
)


def _cell(outcome: dict[str, Any]) -> str:
    """Return what was found in a run of a case, and what was found before it was repeated."""
    text = "; ".join(outcome["found"])
    first = "; ".join(outcome.get("first", []))
    return f"{text} (repeated; at first: {first})" if first else text


def _table(found: Recorded, first: str, rows: dict[str, str]) -> str:
    """Return a table: a row for each case that was run, its name in the words of `rows`."""
    cells = {
        (outcome["case"], outcome["release"], outcome["kind"]): _cell(outcome)
        for outcome in found["outcomes"]
    }
    columns = [(release, kind) for release in found["releases"] for kind in KINDS]
    lines = [[first, *(f"{release} {kind}" for release, kind in columns)]]
    for case, words in rows.items():
        found_here = [cells.get((case, *column), "-") for column in columns]
        if set(found_here) != {"-"}:
            lines.append([words, *found_here])
    return markdown_table(lines)


def _how(found: Recorded) -> str:
    """Return how the calls were made, in words."""
    wheels = " and ".join(found["releases"].values())
    pace = f"{found['pace']:g}"
    slow = "" if pace == "1" else f", each time {pace} times as long, for this machine was busy"
    return (
        f"`{found['command']}` on {found['date']}, in {found['seconds'] / 60:.0f} minutes:"
        f" whole workers, {wheels} beside the releases as upstream published them, on"
        f" {found['server']}, {found['cores']} cores; T = 2 s, so W = 7 s{slow}. The same agent"
        " runs on both sides; where signals may get lost, before livekit/agents#6724, it has them"
        " heard as from there on."
    )


def calls_part(found: Recorded | None) -> str:
    """Return README's part, empty where nothing is recorded."""
    if found is None:
        return ""
    how = f"{_how(found)} All cases: [benchmarks/e2e.md](benchmarks/e2e.md). {_WORDS}"
    return f"\n{wrapped(how)}\n\n{_table(found, 'on a real livekit-server', CHOSEN)}\n\n"


def calls_page(found: Recorded | None) -> str:
    """Return the text of benchmarks/e2e.md."""
    parts = ["<!-- Written by `nox -s tables` from e2e.json. -->", "# Calls on a real server"]
    if found is None:
        return "\n\n".join([*parts, "None recorded: `nox -s e2e -- --record`."]) + "\n"
    about = {name: f"{name}: {text}" for name, text in found["about"].items()}
    parts += [wrapped(_how(found)), wrapped(_WORDS), _table(found, "case", about)]
    return "\n\n".join(parts) + "\n"
