"""Unpack an sdist, and build the wheel of an unpacked one with its own PEP 517 backend.

The backend runs in the environment of the scripts, whose packages `noxfile.py` pins: nothing is
installed, so the same backend is used everywhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from build import BuildBackendException, BuildException, ProjectBuilder, check_dependency
from packaging.requirements import Requirement
from procpool.base.errors import UserError, one_line


def unpack_sdist(sdist: Path, tree: Path) -> None:
    """Unpack `sdist` and move its root, the directory `{name}-{version}`, to `tree`.

    Raise `UserError` if it is damaged or holds an unsafe path (PEP 706).
    """
    scratch = tree.parent / "sdist"
    try:
        with tarfile.open(sdist, "r:gz") as archive:
            archive.extractall(scratch, filter="data")
        (scratch / sdist.name.removesuffix(".tar.gz")).rename(tree)
    except (tarfile.TarError, EOFError, FileNotFoundError) as error:
        raise UserError(f"{sdist.name} is not an sdist that can be used: {error}") from None


def _run(
    cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None
) -> None:
    """Run the backend without the settings of the user's that would change what it builds."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "SOURCE_DATE_EPOCH" and not name.startswith("HATCH_")
    } | dict(extra_environ or {})
    result = subprocess.run(cmd, cwd=cwd, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        raise UserError(f"the sdist's build backend failed: {one_line(result.stderr)[-400:]}")


def _pinned(requirements: set[str]) -> dict[str, str]:
    """Return the names and versions of the packages that meet the requirements (PEP 508).

    Raise `UserError` that names those that nothing meets.
    """
    missing = {Requirement(row).name for row in requirements if any(check_dependency(row))}
    if missing:
        raise UserError(
            f"the sdist needs {', '.join(sorted(missing))} to be built, which noxfile.py does not"
            " pin: build from the wheel, or pin it there"
        )
    return {name: version(name) for name in sorted({Requirement(row).name for row in requirements})}


def build_unpacked(tree: Path, out: Path) -> tuple[Path, dict[str, str]]:
    """Build a wheel of the unpacked sdist `tree` in the directory `out`.

    Returns its path, and the names and versions of what the sdist requires for the build. Raises
    `UserError` if that is not among the pinned packages, or if the backend fails.
    """
    try:
        builder = ProjectBuilder(tree, python_executable=sys.executable, runner=_run)
        tools = _pinned(builder.build_system_requires)
        tools |= _pinned(builder.get_requires_for_build("wheel"))
        wheel = Path(builder.build("wheel", out))
    except (BuildException, BuildBackendException) as error:
        raise UserError(f"the sdist cannot be built: {one_line(str(error))}") from None
    return wheel, tools
