"""The cases: what happens to a worker, and what its callers may expect of a patched one.

The promises are the README's. T is 2 s unless a case says otherwise, so W is 7 s; on a slow machine
both are longer, as is every limit here: `bench.pace`. Each case runs in the same way on the
stand-in and on a real server, on patched and unpatched releases.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench import Bench
from calls import Call
from server import HERE
from waiting import TooLateError, holds, until
from worker import Worker

# Seconds beyond a bound of the pool until its end has reached the server and been read there.
SLACK = 3.0
# Seconds in which a worker ends that has nothing to wait for: its executors may take 3 to close.
CLOSE = 12.0
# Releases whose compiled core reports a job that failed without a text: a limit that README names.
NO_TEXT = {"2.0.0b1"}
# A call that nobody can take must be refused in this time; a server first asks around for up to 1 s
# which of its nodes has a worker that is free.
AT_ONCE = 2.5
# Seconds from when prewarms succeed again to a call that is served: a probe's pause is up to 5 s,
# the worker tells the server how it is every 2.5 s, and the caller pauses, too.
COMES_BACK = 15.0

Run = Callable[[Bench], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """A case: its name, what it is about, how to run it.

    `seconds` only ends what hangs: a case has its own limits.
    """

    name: str
    about: str
    run: Run
    seconds: float = 1800
    # Needs a core of its own, so nothing else runs beside it.
    alone: bool = False
    # Part of the short run, which CI makes.
    short: bool = False
    # What every release gets, on the stand-in.
    bulk: bool = False


CASES: dict[str, Case] = {}


def case(
    about: str, *, alone: bool = False, short: bool = False, bulk: bool = False
) -> Callable[[Run], Run]:
    """Make a case of a function; its name is the case's."""

    def add(run: Run) -> Run:
        name = run.__name__.replace("_", "-")
        CASES[name] = Case(name, about, run, alone=alone, short=short, bulk=bulk)
        return run

    return add


def summary(calls: list[Call]) -> str:
    """Such as `38 served in 0.4 s, 2 failed in 7.3 s`; the time is the longest."""
    parts = []
    for outcome, count in Counter(call.outcome for call in calls).most_common():
        longest = max(call.seconds for call in calls if call.outcome == outcome)
        parts.append(f"{count} {outcome} in {longest:.1f} s")
    return ", ".join(parts)


def says_why(bench: Bench, error: str) -> bool:
    """Whether a report has a text, or has none on a release that cannot send one."""
    return bool(error) is (bench.release not in NO_TEXT)


def expect_failed(bench: Bench, call: Call) -> None:
    """The server must have been told that the call failed, and why."""
    right = call.outcome == "failed" and says_why(bench, call.error)
    bench.expect(right, summary([call]))


async def one_after_another(bench: Bench, count: int, every: float, bound: float) -> list[Call]:
    """Make `count` calls, one every so many seconds, each followed to its end within `bound`."""
    following = []
    every *= bench.pace
    for _ in range(count):
        start = time.monotonic()
        call = await bench.caller.dispatch()
        following.append(asyncio.create_task(bench.caller.follow(call, bound)))
        await asyncio.sleep(max(0.0, start + every - time.monotonic()))  # the rate of the calls
    return list(await asyncio.gather(*following))


async def all_served(bench: Bench, count: int, every: float, bound: float) -> None:
    calls = await one_after_another(bench, count, every, bound)
    served = sum(call.outcome == "served" for call in calls)
    bench.expect(served == count, f"{served} of {count} served")
    if served != count:
        bench.say(summary([call for call in calls if call.outcome != "served"]))


async def served_again(bench: Bench, worker: Worker) -> None:
    """The worker's prewarms succeed from now on: its caller, who tries again, is served in time."""
    worker.become("well")
    start = time.monotonic()
    bound = COMES_BACK * bench.pace
    while time.monotonic() - start < bound:
        last = await bench.caller.call(bound)
        if last.outcome == "served":
            break
        await asyncio.sleep(0.5)  # the caller's pause
    took = time.monotonic() - start
    bench.expect(last.outcome == "served", f"then well: {last.outcome} {took:.1f} s after")


async def end(bench: Bench, worker: Worker) -> None:
    """End a worker: by itself, in time, and with nothing left."""
    seconds = CLOSE * bench.pace
    ending = await worker.end(seconds)
    if not ending.by_itself:
        bench.expect(False, f"does not end in {seconds:g} s")
    elif ending.left:
        bench.expect(False, f"leaves {len(ending.left)} processes ({'; '.join(ending.left)})")


@case(
    "one worker: a call is served, one fails and is reported, one is served again",
    bulk=True,
    short=True,
)
async def a_life(bench: Bench) -> None:
    worker = await bench.worker(ready=True, unlimited=True)
    worker.become("raise")
    await bench.first_call()
    # until 1.0.20 a process whose prewarm raises stays until T, which is no fast failure
    call = await bench.caller.call(3 * worker.settings.wait + SLACK * bench.pace)
    expect_failed(bench, call)
    await served_again(bench, worker)
    await end(bench, worker)


# A worker that cannot start processes, beside others.


@case("one sick idle worker beside a busy well one; 40 calls")
async def sick_beside_well(bench: Bench) -> None:
    await bench.worker(ready=True, idle=2, load=0.5, unlimited=True)
    sick = await bench.worker(idle=2, mood="raise")
    await bench.sick_for(sick, sick.settings.wait + SLACK * bench.pace)
    await all_served(bench, 40, 0.4, 2 * sick.settings.wait + SLACK * bench.pace)


@case("two sick idle workers beside two busy well ones; 20 calls")
async def two_sick_of_four(bench: Bench) -> None:
    for _ in range(2):
        await bench.worker(ready=True, idle=2, load=0.5, unlimited=True)
    sick = [await bench.worker(idle=2, mood="raise") for _ in range(2)]
    await bench.sick_for(sick[1], sick[1].settings.wait + SLACK * bench.pace)
    await all_served(bench, 20, 0.4, 2 * sick[0].settings.wait + SLACK * bench.pace)


@case(
    "each spawn costs 1.9 s of CPU (1.5.11) and raises, two jobs wait, a busy well one beside it;"
    " 60 calls",
    alone=True,
)
async def costly_spawns(bench: Bench) -> None:
    # What a spawn costs is the import of the release, which the fork server has not made here.
    sick = await bench.worker(ready=True, idle=2, timeout=10.0, preload=False)
    sick.become("raise")
    for _ in range(sick.settings.idle):
        await bench.first_call()
    await bench.waiting_calls(2)  # which fill it, where releases count them
    await bench.worker(ready=True, idle=2, load=0.5, unlimited=True)
    await all_served(bench, 60, 0.6, 2 * sick.settings.wait)


@case("one worker, sick and then well: calls come back by themselves")
async def sick_then_well(bench: Bench) -> None:
    worker = await bench.worker(idle=1, mood="raise", unlimited=True)
    await bench.sick_for(worker, worker.settings.wait + SLACK * bench.pace)
    await served_again(bench, worker)


@case("two workers, both sick: each of 5 calls is refused at once", short=True)
async def all_sick(bench: Bench) -> None:
    sick = [await bench.worker(idle=2, mood="raise") for _ in range(2)]
    await bench.sick_for(sick[1], sick[1].settings.wait + SLACK * bench.pace)
    calls = await one_after_another(bench, 5, 0.4, 2 * sick[0].settings.wait + SLACK * bench.pace)
    right = all(call.outcome == "refused" and call.seconds < AT_ONCE * bench.pace for call in calls)
    bench.expect(right, summary(calls))


# An outage of one worker.


async def outage(bench: Bench, worker: Worker) -> None:
    """Two calls wait through an outage of 3 s, less than W, and are served."""
    calls = await bench.waiting_calls(2)
    await until(lambda: time.monotonic() - calls[0].dispatched > 3, 4, "the outage")
    worker.become("well")
    took = time.monotonic() - calls[0].dispatched
    if took > worker.settings.wait - 1:
        raise TooLateError(f"an outage shorter than W: it took {took:.1f} s")
    calls = [await bench.caller.follow(call, 2 * worker.settings.wait) for call in calls]
    bench.expect(all(call.outcome == "served" for call in calls), summary(calls))
    await end(bench, worker)


@case("an outage shorter than W, two calls wait", short=True)
async def short_outage(bench: Bench) -> None:
    worker = await bench.worker(ready=True, unlimited=True)
    worker.become("raise")
    await bench.first_call()
    await outage(bench, worker)


@case("the same with thread executors")
async def short_outage_threads(bench: Bench) -> None:
    worker = await bench.worker(ready=True, unlimited=True, executor="thread")
    worker.become("raise")
    await bench.first_call()
    await outage(bench, worker)


@case("no idle processes wanted: a call is served, and two after a short outage")
async def no_idle_processes(bench: Bench) -> None:
    worker = await bench.worker(idle=0, unlimited=True)
    await bench.first_call()
    worker.become("raise")
    await outage(bench, worker)


@case("no idle processes wanted, sick: the first call fails, the next is refused, then well again")
async def no_idle_processes_sick(bench: Bench) -> None:
    worker = await bench.worker(idle=0, unlimited=True)
    await bench.first_call()
    worker.become("raise")
    first = await bench.caller.call(2 * worker.settings.wait + SLACK * bench.pace)
    bench.expect(first.outcome == "failed", summary([first]))
    second = await bench.caller.call(2 * worker.settings.wait + SLACK * bench.pace)
    at_once = second.seconds < AT_ONCE * bench.pace
    bench.expect(second.outcome == "refused" and at_once, summary([second]))
    await served_again(bench, worker)


@case("one core (taskset), two initializations that each fit T alone; 6 calls at once", alone=True)
async def contended_core(bench: Bench) -> None:
    assert bench.core is not None
    # What one takes alone is far above what a start costs, and well below 5 s: the first to be
    # ready was started after T, and before W = T + 5 s the worker is not sick. That holds whatever
    # else runs there; T lies between what one takes and what two at once take, 1.5 times the former
    # on a core of their own. No idle process is wanted, and all come at once: on 1.5.11 the
    # cleaning up of a failed process hangs now and then, which leaves the core to one by chance.
    cpu = 2.5 / await time_to_burn(bench.core, 1, 1.0)
    alone = await time_to_burn(bench.core, 1, cpu)
    together = await time_to_burn(bench.core, 2, cpu)
    timeout = (alone + together) / 2 / bench.pace
    worker = await bench.worker(idle=0, timeout=timeout, cores=(bench.core,), unlimited=True)
    await bench.first_call()  # has the fork server import the release
    worker.become(f"burn {cpu:.2f}")
    await all_served(bench, 6, 0.1, 16 * alone)


async def time_to_burn(core: int, count: int, seconds: float) -> float:
    """How long so many processes at once, each with so many seconds of CPU, take on that core."""
    command = [sys.executable, "-I", str(HERE / "burning.py"), str(count), str(seconds)]
    burning = await asyncio.create_subprocess_exec(
        *("taskset", "--cpu-list", str(core), *command),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # as a worker has: cores are shared out among sessions
    )
    output, _ = await burning.communicate()
    return float(output)


@case(
    "the same of a model: prewarm sleeps for as long as its share of a core would take; 1.6 s"
    " alone, T = 2.5 s, 5 calls"
)
async def shared_core(bench: Bench) -> None:
    mood = f"share {1.6 * bench.pace}"
    await bench.worker(idle=2, timeout=2.5, mood=mood, unlimited=True)
    await all_served(bench, 5, 2.0, 60 * bench.pace)


# Calls that wait, and what happens to their dispatch, worker or server meanwhile.


@case("a dispatch is deleted while its call waits: nobody joins the dead room")
async def dispatch_deleted(bench: Bench) -> None:
    worker = await bench.worker(ready=True, unlimited=True)
    worker.become("raise")
    await bench.first_call()
    [dead] = await bench.waiting_calls(1)
    await bench.caller.delete_dispatch(dead)
    [other] = await bench.waiting_calls(1)
    worker.become("well")
    await bench.caller.follow(other, 2 * worker.settings.wait)
    # Calls are served in their order, so the dead one's process would have come before.
    nobody = await holds(lambda: not worker.notes("job", dead.room), 2 * bench.pace)
    bench.expect(nobody, "nobody joins" if nobody else "the agent joins the dead room")
    bench.expect(other.outcome == "served", f"the next call: {summary([other])}")
    reports = bench.server.unknown_updates(dead.room)
    if nobody and reports:
        bench.expect(False, f"{reports} reports for the ended job")


def reported(bench: Bench, calls: list[Call]) -> int:
    """How many of the calls the server was told of, once, as failed, and with a reason."""
    ended = [bench.server.ended(call.room) for call in calls]
    failed = [[end for end in ends if end.status == "JS_FAILED"] for ends in ended]
    return sum([says_why(bench, end.error) for end in ends] == [True] for ends in failed)


async def sigterm(
    bench: Bench,
    count: int,
    drain: int | None,
    *,
    join: bool = True,
    timeout: float | None = None,
    busy: bool = False,
) -> None:
    """SIGTERM while calls wait: the server hears of each, and the worker ends by itself.

    `busy`: the call before them goes on, so that the drain reaches its limit in any case.
    """
    bound = (drain or 0) + CLOSE * bench.pace
    settings = {} if timeout is None else {"timeout": timeout}
    worker = await bench.worker(ready=True, drain=drain, unlimited=True, **settings)
    worker.become("hang")
    if busy:
        (worker.folder / "stay").touch()
    await bench.first_call()
    calls = await bench.waiting_calls(count, join=join)
    ending = await worker.end(bound)
    with contextlib.suppress(TooLateError):  # what has arrived may not have been read yet
        await until(lambda: reported(bench, calls) == count, bench.pace, "")
    told = reported(bench, calls)
    bench.expect(told == count, f"{told} of {count} reported")
    if ending.by_itself:
        bench.expect(not ending.left, f"ends in {ending.seconds:.1f} s")
        if ending.left:
            bench.say(f"leaves {'; '.join(ending.left)}")
    else:
        bench.expect(False, f"does not end in {bound:g} s")
    records = worker.log().count("failed to launch job on process after")
    bench.expect(records == count, f"{records} records")


async def sigterm_many(bench: Bench, count: int, drain: int | None) -> None:
    """The same with many calls.

    For each room that opens, a livekit-server also asks for a worker without a name, for a second,
    and it asks 25 times at once: the calls of other cases would wait for these.
    """
    await bench.own_server()
    # the initialization must not fail before all are here: the worker would decline the rest
    await sigterm(bench, count, drain, join=False, timeout=45.0)


@case("SIGTERM while two calls wait, drain limit 3 s", short=True)
async def sigterm_drain_limit(bench: Bench) -> None:
    await sigterm(bench, 2, 3)


@case("SIGTERM while a call goes on and two wait, drain limit 3 s")
async def sigterm_busy(bench: Bench) -> None:
    await sigterm(bench, 2, 3, busy=True)


@case("SIGTERM while two calls wait, no drain (dev mode)")
async def sigterm_no_drain(bench: Bench) -> None:
    await sigterm(bench, 2, None)


@case("SIGTERM while 200 calls wait, drain limit 3 s")
async def sigterm_200(bench: Bench) -> None:
    await sigterm_many(bench, 200, 3)


@case("SIGTERM while 200 calls wait, no drain (dev mode)")
async def sigterm_200_no_drain(bench: Bench) -> None:
    await sigterm_many(bench, 200, None)


def ends_of(worker: Worker, call: Call, jobs: list[str]) -> int:
    """How often the launch of a call has come to its end: launched, or an error on record."""
    failures = [
        line
        for line in worker.log().splitlines()
        if "failed to launch job on process after" in line and any(job in line for job in jobs)
    ]
    return len(worker.notes("job", call.room)) + len(failures)


@case("the server restarts while two calls wait: each has one end, and new ones are served")
async def server_restarted(bench: Bench) -> None:
    server = await bench.own_server()
    worker = await bench.worker(ready=True, unlimited=True)
    worker.become("raise")
    await bench.first_call()
    calls = await bench.waiting_calls(2)
    registered = server.workers(bench.name)
    await server.kill()
    await server.start()
    took = await until(
        lambda: server.workers(bench.name) > registered,
        30 * bench.pace,
        "the worker comes back",
    )
    bench.say(f"back in {took:.1f} s")
    worker.become("well")
    new = await bench.caller.call(2 * worker.settings.wait)
    bench.expect(new.outcome == "served", summary([new]))

    def ends() -> list[int]:
        return [ends_of(worker, call, server.jobs(call.room)) for call in calls]

    # The server that took them is gone: what becomes of the two is for the worker's log to say.
    with contextlib.suppress(TooLateError):
        await until(lambda: all(ends()), 3 * worker.settings.wait + SLACK * bench.pace, "")
    have = sum(count == 1 for count in ends())
    bench.expect(have == 2, f"{have} of 2 that waited have one end")
    await end(bench, worker)


@case("the worker is frozen past 3 W while three calls wait for processes that become ready")
async def frozen(bench: Bench) -> None:
    worker = await bench.worker(idle=0, timeout=3.0, unlimited=True)
    await bench.first_call()
    worker.become("slow 1.5")
    calls = await bench.waiting_calls(3)
    begin = 10 * bench.pace
    await until(lambda: worker.notes("prewarm", "slow"), begin, "an initialization begins")
    worker.send(signal.SIGSTOP)
    try:
        stopped = time.monotonic()
        freeze = 3 * worker.settings.wait + 1
        await until(lambda: time.monotonic() - stopped > freeze, freeze + 1, "the freeze")
    finally:
        worker.send(signal.SIGCONT)
    bound = time.monotonic() - calls[0].dispatched + 2 * worker.settings.wait
    calls = [await bench.caller.follow(call, bound) for call in calls]
    bench.expect(all(call.outcome == "served" for call in calls), summary(calls))


# A prewarm that never succeeds: the call is reported as failed in time, the worker ends.


async def broken(
    bench: Bench, mood: str, bounds: float, *, executor: str = "process", most: int | None = None
) -> None:
    """A call must fail, and be reported, within so many times W."""
    worker = await bench.worker(ready=True, idle=1, executor=executor, unlimited=True)
    worker.become(mood)
    await bench.first_call()
    call = await bench.caller.dispatch()
    await bench.caller.follow(call, bounds * worker.settings.wait + SLACK * bench.pace)
    expect_failed(bench, call)
    if most is None:
        await end(bench, worker)
    else:  # Python ends when its threads have, which nothing can stop
        stuck = len(worker.notes("prewarm", mood))
        bench.expect(stuck <= most, f"{stuck} threads stuck")
    if again := bench.server.unknown_updates(call.room):
        bench.expect(False, f"reported {again} times more")


@case("prewarm raises")
async def prewarm_raises(bench: Bench) -> None:
    await broken(bench, "raise", 2)


@case("prewarm hangs")
async def prewarm_hangs(bench: Bench) -> None:
    await broken(bench, "hang", 3)


@case("prewarm ends its process")
async def prewarm_exits(bench: Bench) -> None:
    await broken(bench, "exit", 2)


@case("prewarm forks a process that lives on, and raises")
async def prewarm_forks(bench: Bench) -> None:
    await broken(bench, "fork", 2)


@case("prewarm raises, thread executors")
async def prewarm_raises_threads(bench: Bench) -> None:
    await broken(bench, "raise", 2, executor="thread")


@case("prewarm hangs, thread executors: no more threads are stuck than may initialize at once")
async def prewarm_hangs_threads(bench: Bench) -> None:
    await broken(bench, "hang", 3, executor="thread", most=min(os.cpu_count() or 1, 4))


@case("a process dies 50 ms after it was ready: at most 25 spawns in 15 s, and no call is silent")
async def dies_after_ready(bench: Bench) -> None:
    worker = await bench.worker(idle=1, mood="die", unlimited=True)
    first = worker.notes("prewarm")[0].at
    await until(lambda: time.monotonic() - first > 15, 16, "15 seconds")
    spawns = sum(note.at < first + 15 for note in worker.notes("prewarm"))
    bench.expect(spawns <= 25, f"{spawns} spawns")
    call = await bench.caller.call(3 * worker.settings.wait + SLACK * bench.pace)
    bench.expect(call.outcome not in ("silent", "lost"), summary([call]))
    await end(bench, worker)


async def run_case(chosen: Case, bench: Bench) -> None:
    """Run it; what takes too long, or cannot be brought about, is wrong too."""
    try:
        async with asyncio.timeout(chosen.seconds), bench:
            await chosen.run(bench)
    except Exception as error:  # one case must not end the others
        bench.cut_short = True
        text = str(error) if isinstance(error, TooLateError) else repr(error)
        bench.expect(False, f"cut short: {text}")
