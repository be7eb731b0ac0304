"""The marker that tells the tests an unpatched release must fail from those it must pass."""

from __future__ import annotations

import pytest

MARKER = "breaks_unpatched"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{MARKER}: fails on an unpatched release, where the contract is broken"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.user_properties.append((MARKER, item.get_closest_marker(MARKER) is not None))
