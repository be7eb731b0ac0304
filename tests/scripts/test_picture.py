"""README's picture of a terminal: what is drawn, and that it is of the newest revision."""

from __future__ import annotations

import html
import re

import pytest
from procpool.base.errors import UserError
from procpool.catalog.releases import REPORTED, get_release
from procpool.upkeep.picture import PICTURE, draw, tables_in


def words(drawn: str) -> str:
    """Return what a person can read in a picture."""
    return html.unescape(re.sub(r"<[^>]*>", "", drawn)).replace("\xa0", " ")


def test_the_picture_shows_every_line_and_loads_nothing() -> None:
    drawn = draw(["$ python doctor.py", "PATCHED: revision 4", "| 5 served in 0.2 s |"], "a title")
    for text in ("a title", "$ python doctor.py", "PATCHED", ": revision 4", "5 served"):
        assert text in words(drawn)
    assert "font-face" not in drawn and "url(http" not in drawn


def test_only_the_tables_of_e2e_are_shown() -> None:
    printed = "server: a server\n\n| case |\n|------|\n| one  |\n\n2 runs in 30 s\n"
    assert tables_in(printed) == ["| case |", "|------|", "| one  |"]
    with pytest.raises(UserError, match="printed no table: nothing ran"):
        tables_in("nothing ran\n")


def test_the_picture_is_of_the_newest_revision() -> None:
    _, series = get_release(REPORTED)
    stale = "run 'nox -s picture'"
    assert f"livekit-agents {REPORTED}+{series.local_version}" in words(
        PICTURE.read_text("utf-8")
    ), stale
