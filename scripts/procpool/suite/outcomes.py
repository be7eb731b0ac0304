"""Read pytest's JUnit report: what became of each test."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from procpool.base.errors import UserError


@dataclass
class Outcome:
    """What happened to one test; `not_run` says why it did not run."""

    failed: bool = False
    not_run: str = ""


def read_outcomes(report: Path) -> dict[str, Outcome]:
    """Return the outcome of every test in a JUnit XML file.

    Raise `UserError` if it cannot be read.
    """
    try:
        root = ElementTree.parse(report).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(f"pytest left no readable report, {report}: {error}") from None
    outcomes: dict[str, Outcome] = {}
    for case in root.iter("testcase"):
        # A test that fails in its call and again in its teardown is listed twice.
        name = f"{case.get('classname')}::{case.get('name')}"
        outcome = outcomes.setdefault(name, Outcome())
        outcome.failed |= case.find("failure") is not None
        if (broken := case.find("error")) is not None:
            if "teardown" in (broken.get("message") or ""):
                outcome.failed = True
            else:
                outcome.not_run = "error before the test"
        elif case.find("skipped") is not None:
            outcome.not_run = "skipped"
    return outcomes
