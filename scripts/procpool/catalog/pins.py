"""Read the pinned versions of livekit-agents from a project's requirements or lock file.

Lock files are TOML: `uv.lock` and `poetry.lock` have `[[package]]` tables, `pylock.toml` (PEP 751)
has `[[packages]]`. Every other file is read as pip's requirements file format, of which only the
lines of livekit-agents matter, and `-r` and `-c`. The parsers on the package index do not serve:
`pip-requirements-parser` has had no release since 2022, `requirements-parser` does not join
continuation lines, and `pip-api` gives up on lines of other packages that pip accepts.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from procpool.base.errors import UserError, one_line
from procpool.catalog.releases import PROJECT

_LOCK_SUFFIXES = (".lock", ".toml")
_SUFFIXES = (*_LOCK_SUFFIXES, ".txt", ".in")


def names_a_file(argument: str) -> bool:
    """Whether a command-line argument is the path of a file, not a version."""
    return Path(argument).suffix in _SUFFIXES or Path(argument).is_file()


def _text(path: Path) -> str:
    """Return the text of a file.

    Raise `UserError` if there is none.
    """
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file in UTF-8") from None


def _lock_file(path: Path) -> Iterator[str]:
    """Yield the versions of livekit-agents that a lock file locks."""
    try:
        data = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: {error}") from None
    for table in ("package", "packages"):
        rows = data.get(table, [])
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict) and canonicalize_name(str(row.get("name", ""))) == PROJECT:
                if not isinstance(row.get("version"), str):
                    raise UserError(f"{path} locks no version of {PROJECT}: it comes from a source")
                yield row["version"]


def _requirements_file(path: Path, seen: frozenset[Path] = frozenset()) -> Iterator[str]:
    """Yield the versions that a requirements file, and those that it includes, pin with ==.

    Markers are not evaluated: each version that some environment of the project gets counts.
    """
    for line in re.sub(r"\\\r?\n", "", _text(path)).splitlines():
        line = re.sub(r"(^|\s+)#.*$", "", line).strip()
        include = re.match(r"(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)$", line)
        if include:
            inner = path.parent / include[1]
            if inner.resolve() not in seen | {path.resolve()}:
                yield from _requirements_file(inner, seen | {path.resolve()})
            continue
        name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
        if name is None or canonicalize_name(name[0]) != PROJECT:
            continue
        try:
            requirement = Requirement(re.split(r"\s--", line)[0])
        except InvalidRequirement as error:
            raise UserError(f"{path}: {line!r}: {one_line(str(error))}") from None
        pins = [s for s in requirement.specifier if s.operator in ("==", "===")]
        if len(pins) != 1 or pins[0].version.endswith(".*"):
            raise UserError(
                f"{path} does not pin {PROJECT}: it says {str(requirement)!r}; write"
                f" {PROJECT}==VERSION, or give the version itself"
            )
        yield pins[0].version


def pinned_versions(path: Path) -> list[str]:
    """Return the versions of livekit-agents that the file pins, each once, in the file's order.

    There are several where environments get different ones. A version that carries this project's
    local label stands for upstream's: 1.5.11 for 1.5.11+procpool.1. Raises `UserError` if the file
    cannot be read, or pins none.
    """
    lock = path.suffix in _LOCK_SUFFIXES
    found: dict[str, None] = {}
    for text in _lock_file(path) if lock else _requirements_file(path):
        try:
            version = Version(text)
        except InvalidVersion:
            raise UserError(f"{path} pins {PROJECT} to {text!r}, which is no version") from None
        ours = (version.local or "").startswith("procpool.")
        found[version.public if ours else str(version)] = None
    if not found:
        kind = "is it a lock file that names it?" if lock else f"add {PROJECT}==VERSION"
        raise UserError(f"{path} pins no version of {PROJECT}: {kind}")
    return list(found)
