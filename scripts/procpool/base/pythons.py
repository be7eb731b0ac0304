"""The installed Pythons, and uv, which finds them."""

from __future__ import annotations

import json
import os
import subprocess

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version
from procpool.base.errors import UserError, one_line
from uv import find_uv_bin

# The Pythons that releases are tested on, as far as a release supports them.
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
# The newest of them on which a release is tested that names no upper bound: it was published
# before the next one, and its dependencies of that day have no wheels for that.
_NEWEST_UNBOUNDED = "3.13"


def pythons_for(requires: str) -> list[str]:
    """Return those of `PYTHONS` that a Requires-Python admits, oldest first, such as "3.10"."""
    supported = SpecifierSet(requires)
    last = PYTHONS.index(_NEWEST_UNBOUNDED) if "4.0" in supported else len(PYTHONS)
    # 3.10 stands for any 3.10.x, also where the requirement is >=3.10.1
    return [
        python
        for python in PYTHONS[: last + 1]
        if any(f"{python}.{micro}" in supported for micro in range(30))
    ]


def installed_pythons() -> dict[Version, str]:
    """Return the installed CPythons, newest first, as full version -> path; no pre-releases.

    Older ones than `PYTHONS` are not looked for, which takes long where a shim stands for each.
    """
    wanted = ("--only-installed", f">={PYTHONS[0]}")
    result = uv("python", "list", "--output-format", "json", *wanted)
    found: dict[Version, str] = {}
    for entry in json.loads(result.stdout):
        version = Version(entry["version"])
        usual = (
            entry["implementation"] == "cpython" and entry.get("variant", "default") == "default"
        )
        if usual and not version.is_prerelease:
            found.setdefault(version, entry["path"])
    return dict(sorted(found.items(), reverse=True))


def choose_python(requires: str, wanted: str, installed: dict[Version, str]) -> str:
    """Return the path of the interpreter to use.

    `requires` is the release's Requires-Python; `wanted` is "newest" or "oldest" (of those the
    release supports), or a version such as "3.10". Raises `UserError` that names the nearest one
    installed.
    """
    fitting = [version for version in sorted(installed) if version in SpecifierSet(requires)]
    if not fitting:
        have = ", ".join(str(version) for version in sorted(installed)) or "none"
        raise UserError(
            f"the release needs Python {requires}; installed: {have}: install one that fits"
        )
    if wanted in ("newest", "oldest"):
        pythons = pythons_for(requires)
        tested = [v for v in fitting if f"{v.major}.{v.minor}" in pythons] or fitting
        return installed[tested[-1 if wanted == "newest" else 0]]
    try:
        asked = Version(wanted)
    except InvalidVersion:
        raise UserError(f"not a Python version: {wanted!r}; give 3.10, newest or oldest") from None
    matches = [v for v in fitting if v.release[: len(asked.release)] == asked.release]
    if matches:
        return installed[matches[-1]]
    nearest = min(fitting, key=lambda v: (abs(v.minor - asked.minor), abs(v.micro - asked.micro)))
    # 3.10 stands for any 3.10.x, also where the requirement is >=3.10.1
    supported = Version(wanted) in SpecifierSet(requires) or any(
        Version(f"{wanted}.{micro}") in SpecifierSet(requires) for micro in range(100)
    )
    reason = (
        "is not installed"
        if supported
        else f"is not supported by the release (it needs {requires})"
    )
    raise UserError(f"Python {wanted} {reason}; the nearest installed one that works is {nearest}")


def uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run uv; raise `UserError` with its own reason if it fails."""
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    # By default uv gives up a file whose byte code takes a minute, as a busy machine may.
    environment.setdefault("UV_COMPILE_BYTECODE_TIMEOUT", "900")
    # Nox, or the user, may sit in an environment of their own: it is not the one meant here.
    environment.pop("VIRTUAL_ENV", None)
    result = subprocess.run(
        [find_uv_bin(), *arguments], capture_output=True, text=True, env=environment
    )
    if result.returncode != 0:
        lines = [
            line
            for line in result.stderr.splitlines()
            if not line.startswith(("warning:", "Using"))
        ]
        raise UserError(f"uv {' '.join(arguments[:2])} failed: {one_line(' '.join(lines))[:600]}")
    return result
