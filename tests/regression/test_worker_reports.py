"""Promise 12: when a job cannot be launched, the worker tells the server so, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import features
import pytest
from livekit.protocol import agent
from workers import GUARD, JOB_ID, SECRETS, CoreWorker, Launch, Worker


async def _succeed(info: Any) -> None:
    await asyncio.sleep(0)


async def _fail(info: Any) -> None:
    await asyncio.sleep(0.05)
    raise RuntimeError("no process became available after 3 attempts")


async def _fail_with_secrets(info: Any) -> None:
    raise RuntimeError(f"cannot launch {info!r} for " + ", ".join(SECRETS.values()))


async def _check_nothing_reserved(worker: Worker) -> None:
    await worker.settle()
    assert worker.reserved() == 0


def _run(launch: Launch, then: Callable[[Worker], Awaitable[None]] | None = None) -> Worker:
    async def main() -> Worker:
        worker = CoreWorker(launch) if features.COMPILED_CORE else Worker(launch)
        await worker.offer()
        try:
            if then is not None:
                await then(worker)
            await worker.settle()
        finally:
            await worker.close()
        return worker

    return asyncio.run(asyncio.wait_for(main(), 3 * GUARD))


def test_a_job_that_cannot_be_launched_is_reported_as_failed_once() -> None:
    worker = _run(_fail)
    reports = worker.reports()
    assert len(worker.pool.launched) == 1
    assert len(reports) == 1, f"{len(reports)} reports"
    assert reports[0].job_id == JOB_ID
    assert reports[0].status == agent.JobStatus.JS_FAILED
    if features.REPORTS_SAY_WHY:
        assert reports[0].error.strip()


def test_a_job_that_is_launched_is_not_reported_as_failed() -> None:
    worker = _run(_succeed)
    assert len(worker.pool.launched) == 1
    assert worker.reports() == []


@pytest.mark.parametrize("launch", [_fail, _fail_with_secrets])
def test_the_error_text_carries_no_personal_data(launch: Launch) -> None:
    reports = _run(launch).reports()
    assert len(reports) == 1
    for what, secret in SECRETS.items():
        assert secret not in reports[0].error, f"the error text gives away the {what}"


def test_the_logs_carry_no_personal_data(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="livekit.agents")
    _run(_fail)
    text = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    for what, secret in SECRETS.items():
        assert secret not in text, f"a log record gives away the {what}"


def test_drain_ends_and_the_failing_launch_is_reported() -> None:
    async def drain(worker: Worker) -> None:
        await asyncio.wait_for(worker.server.drain(timeout=None), GUARD)
        if features.DRAIN_WAITS_FOR_LAUNCHES:
            await worker.delivered()
            assert len(worker.reports()) == 1

    assert len(_run(_fail, drain).reports()) == 1


def test_aclose_ends_and_the_failing_launch_is_reported() -> None:
    async def close(worker: Worker) -> None:
        await asyncio.wait_for(worker.server.aclose(), GUARD)
        assert worker.pool.closed

    worker = _run(_fail, close)
    if features.CLOSE_ENDS_LAUNCHES:
        assert worker.pool.cancelled == 1
    else:
        assert len(worker.reports()) == 1


def test_a_failed_launch_leaves_nothing_reserved() -> None:
    _run(_fail, _check_nothing_reserved)
