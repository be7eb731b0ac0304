"""The marker of the tests that are too costly to run on every release."""

from __future__ import annotations

import pytest

# Takes both cores for a quarter of a minute: left out where the suite has run on the same text.
COSTLY = "costly"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{COSTLY}: run on the ends of each text of the pool only")
