"""`SOURCE_DATE_EPOCH` (reproducible-builds.org): the moment that stands in for now."""

from __future__ import annotations

import os
import time

from procpool.base.errors import UserError


def source_date() -> time.struct_time | None:
    """Return the moment that `SOURCE_DATE_EPOCH` (seconds since 1970) names, in UTC, or None.

    Raise `UserError` if it is no number.
    """
    value = os.environ.get("SOURCE_DATE_EPOCH")
    if not value:
        return None
    try:
        return time.gmtime(int(value))
    except (ValueError, OverflowError, OSError):
        raise UserError(f"SOURCE_DATE_EPOCH is not a number of seconds: {value!r}") from None


def today() -> str:
    """Return the day in UTC, as YYYY-MM-DD: that of `SOURCE_DATE_EPOCH` (seconds) if it is set.

    Raise `UserError` if that is no number.
    """
    return time.strftime("%Y-%m-%d", source_date() or time.gmtime())
