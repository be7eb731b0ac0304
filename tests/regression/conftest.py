"""The marker that tells the tests an unpatched release must fail from those it must pass.

`breaks_unpatched(unless=FEATURE)` leaves out the releases that have what the test asks for by
themselves; FEATURE comes from `features.py`.
"""

from __future__ import annotations

import pytest

MARKER = "breaks_unpatched"
# Takes both cores for a quarter of a minute: left out where the suite has run on the same text.
COSTLY = "costly"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARKER}(unless=False): fails on an unpatched release, where the contract is broken",
    )
    config.addinivalue_line("markers", f"{COSTLY}: run on the ends of each text of the pool only")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        marker = item.get_closest_marker(MARKER)
        breaks = marker is not None and not marker.kwargs.get("unless", False)
        item.user_properties.append((MARKER, breaks))
