"""Read the pinned versions of livekit-agents from a project's requirements or lock file.

The reader is doctor.py's, which must be one file of the standard library: two readers would come to
differ, and one of them would build a wheel of what the other calls patched. Here stands only what
the wheel step makes of it: what was not understood, or leaves the version open, is refused.
"""

from __future__ import annotations

from pathlib import Path

import doctor
from packaging.version import InvalidVersion, Version
from procpool.base.errors import UserError, one_line
from procpool.catalog.releases import PROJECT, unlabelled

_SUFFIXES = (".lock", ".toml", ".txt", ".in", ".yml", ".yaml", ".json")


def names_a_file(argument: str) -> bool:
    """Whether a command-line argument is the path of a file, not a version."""
    return Path(argument).suffix in _SUFFIXES or Path(argument).is_file()


def upstream_version(text: str) -> str:
    """Return the upstream version that a version stands for: 1.5.11 for 1.5.11+procpool.1.

    What is no version, or the build of others, is returned as it is.
    """
    try:
        return str(unlabelled(Version(text)))
    except InvalidVersion:
        return text


def pinned_versions(path: Path) -> list[str]:
    """Return the versions of livekit-agents that the file pins, each once, in the file's order.

    There are several where environments get different ones. A version that carries this project's
    local label stands for upstream's: 1.5.11 for 1.5.11+procpool.1. Raises `UserError` if the file
    cannot be read, pins none, or says something that was not understood.
    """
    try:
        pins = doctor.read_pins(path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except doctor.Unknown as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{path}: {one_line(str(error.strerror or error))}") from None
    for pin in pins:
        if pin.version is None:
            place = f"{pin.path}, line {pin.first}" if pin.first else str(pin.path)
            source = f"it comes from {pin.code}" if pin.code else ""
            raise UserError(
                f"{place}: {pin.problem or source}; write {PROJECT}==VERSION, or give the"
                " version itself"
            )
    found = dict.fromkeys(upstream_version(pin.version or "") for pin in pins)
    if not found:
        kind = f"add {PROJECT}==VERSION, or give another file or the version itself"
        raise UserError(f"{path} pins no version of {PROJECT}: {kind}")
    return list(found)
