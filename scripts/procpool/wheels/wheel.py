"""What a wheel says of itself: its metadata, and a member's row of RECORD."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

from packaging.metadata import RawMetadata, parse_email
from procpool.base.errors import UserError


def wheel_metadata(wheel: Path) -> RawMetadata:
    """Return the core metadata of a wheel.

    Raise `UserError` if it is no wheel.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            [name] = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
            return parse_email(archive.read(name))[0]
    except (zipfile.BadZipFile, ValueError):
        raise UserError(f"{wheel} is not a whole wheel: remove it and try again") from None


def wheel_requirements(wheel: Path) -> list[str]:
    """Return the requirements that a wheel declares (Requires-Dist, PEP 508), sorted; no extras."""
    requirements = wheel_metadata(wheel).get("requires_dist", [])
    return sorted(r for r in requirements if "extra ==" not in r)


def record_row(name: str, data: bytes) -> tuple[str, str, str]:
    """Return a member's row of RECORD.

    Path, sha256 in URL-safe base64 without padding, size in bytes.
    """
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return name, f"sha256={digest}", str(len(data))
