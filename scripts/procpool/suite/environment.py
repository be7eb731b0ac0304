"""Make a virtual environment with one release, its dependencies as of its day, and the test tools.

The release is the patched wheel, or with `--unpatched` the pristine one. Releases with the same
requirements and date share one environment of dependencies beside it. uv resolves and installs, so
the user's own index settings hold; it uses an installed Python and downloads none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock
from packaging.version import Version
from procpool.base.files import ROOT
from procpool.base.pythons import uv
from procpool.catalog.releases import Release
from procpool.wheels.wheel import wheel_requirements

_INSTALL = ["pip", "install", "--quiet", "--python"]

# Children of the tests import the release often. Compiling what they import takes a fraction of the
# time that compiling all of the dependencies takes.
WITH_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}


@contextlib.contextmanager
def timed(times: dict[str, float], phase: str) -> Iterator[None]:
    """Add the seconds that the block takes to `times[phase]`."""
    start = time.monotonic()
    try:
        yield
    finally:
        times[phase] = times.get(phase, 0.0) + time.monotonic() - start


def _interpreter(path: Path) -> Path:
    """Return where the interpreter of the environment in `path` is."""
    return path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def missing_python(release: Release, wanted: str, installed: dict[Version, str]) -> str | None:
    """Say that the oldest or newest Python that `release` is to be tested on is not installed.

    `wanted` is as for `choose_python`; only "oldest" and "newest" can stand for a missing one.
    """
    if wanted not in ("oldest", "newest") or not release.pythons:
        return None
    python = release.pythons[0 if wanted == "oldest" else -1]
    if any(f"{version.major}.{version.minor}" == python for version in installed):
        return None
    return f"Python {python}, the {wanted} that {release.version} supports, is not installed"


def make_dependencies(requirements: list[str], as_of: str, python: str, folder: Path) -> Path:
    """Make, or reuse, the environment of one dependency set in `folder`; return its interpreter.

    It holds what the releases with these `requirements` need, resolved as of `as_of`, and the
    pinned test tools, whose date does not matter. A lock keeps sessions that run side by side from
    making it twice. Raises `UserError`.
    """
    project = ROOT / "pyproject.toml"
    tools = tomllib.loads(project.read_text("utf-8"))["dependency-groups"]["regression"]
    inputs = {"requirements": requirements, "as-of": as_of, "python": python, "tools": tools}
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
    path = folder / f"dependencies-{key}"
    interpreter, stamp = _interpreter(path), path / "procpool-complete"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{path.name}.lock"):
        if stamp.is_file() and interpreter.exists():
            return interpreter
        uv("venv", "--quiet", "--clear", "--python", python, str(path))
        install = [*_INSTALL, str(interpreter)]
        # A dependency whose wheels came days after its sdist (av 14.4, of 1.0.22's day) is passed
        # over.
        dated = ["--only-binary", ":all:", "--exclude-newer", as_of]
        uv(*install, *dated, *requirements)
        uv(*install, "--group", f"{project}:regression")
        stamp.touch()
    return interpreter


def make_environment(
    release: Release, wheel: Path, python: str, path: Path, times: dict[str, float] | None = None
) -> Path:
    """Make the environment in the directory `path` and return its interpreter.

    `wheel` is alone in it: a path file (the module `site` of the standard library) lets it see its
    dependencies, which releases with the same requirements and date share. What the phases took, in
    seconds, is added to `times`. Raises `UserError`.
    """
    times = {} if times is None else times
    with timed(times, "dependencies"):
        shared = make_dependencies(
            wheel_requirements(wheel), release.dependencies_as_of, python, path.parent
        )
    interpreter = _interpreter(path)
    with timed(times, "install"):
        uv("venv", "--quiet", "--clear", "--python", python, str(path))
        uv(*_INSTALL, str(interpreter), "--no-deps", str(wheel))
    [site_packages] = path.glob("[Ll]ib/**/site-packages")
    dependencies = shared.parent.parent / site_packages.relative_to(path)
    (site_packages / "dependencies.pth").write_text(f"{dependencies}\n", "utf-8")
    return interpreter
