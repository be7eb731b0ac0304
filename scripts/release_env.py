"""Make a virtual environment with one release, its dependencies as of its day, and the test tools.

The release is the patched wheel, or with `--unpatched` the pristine one. Releases with the same
requirements and date share one environment of dependencies beside it. uv resolves and installs, so
the user's own index settings hold; it uses an installed Python and downloads none.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from build_wheel import build_release
from errors import UserError, one_line, run_main
from fetch import fetch, wheel_requirements
from filelock import FileLock
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version
from releases_table import PATCHES, PYTHONS, ROOT, Release, get_release
from uv import find_uv_bin

# Children of the tests import the release often, also where PYTHONDONTWRITEBYTECODE is set.
_INSTALL = ["pip", "install", "--quiet", "--compile-bytecode", "--python"]

# In the environment's directory: what each phase of making it took, in seconds.
TIMES = "procpool-times.json"


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


def installed_pythons() -> dict[Version, str]:
    """Return the installed CPythons, newest first, as full version -> path; no pre-releases."""
    result = uv("python", "list", "--only-installed", "--output-format", "json")
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
        tested = [v for v in fitting if f"{v.major}.{v.minor}" in PYTHONS] or fitting
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


def uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run uv; raise `UserError` with its own reason if it fails."""
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
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


def _make_dependencies(requirements: list[str], as_of: str, python: str, folder: Path) -> Path:
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
        shared = _make_dependencies(
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


def main() -> int:
    """Make the environment and print the path of its interpreter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("version", help="a supported release, such as 1.5.11")
    parser.add_argument("path", type=Path, help="directory of the environment")
    parser.add_argument(
        "--python", default="newest", help="3.10, newest or oldest; default: %(default)s"
    )
    parser.add_argument("--unpatched", action="store_true", help="install the pristine release")
    parser.add_argument(
        "--patches", type=Path, default=PATCHES, help="folder that holds releases.toml"
    )
    options = parser.parse_args()
    release, series = get_release(options.version, options.patches)
    installed = installed_pythons()
    python = choose_python(release.requires_python, options.python, installed)
    if missing := missing_python(release, options.python, installed):
        print(f"notice: {missing}; testing {release.version} on {python}", file=sys.stderr)
    wheels = options.path.parent / f"{options.path.name}-wheel"
    times: dict[str, float] = {}
    with timed(times, "fetch"):
        wheel = fetch(release)
    if not options.unpatched:
        with timed(times, "patch and build"):
            wheel = build_release(release, series, wheels)
    print(
        f"{wheel.name}: Python {python}, dependencies as of {release.dependencies_as_of}",
        file=sys.stderr,
    )
    interpreter = make_environment(release, wheel, python, options.path, times)
    (options.path / TIMES).write_text(json.dumps(times), "utf-8")
    print(interpreter)
    return 0


if __name__ == "__main__":
    run_main(main)
