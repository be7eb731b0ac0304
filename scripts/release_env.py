"""Make a virtual environment with one release, its dependencies as of its day, and the test tools.

The release is the patched wheel, or with `--unpatched` the pristine one. uv resolves and installs,
so the user's own index settings hold; it uses an installed Python and downloads none.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from build_wheel import build_release
from errors import UserError, one_line, run_main
from fetch import fetch, file_sha256
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version
from releases_table import PATCHES, PYTHONS, ROOT, Release, get_release
from uv import find_uv_bin

_STAMP = "procpool-environment.json"


def installed_pythons() -> dict[Version, str]:
    """Return the installed CPythons, newest first, as full version -> path; no pre-releases."""
    result = _uv("python", "list", "--only-installed", "--output-format", "json")
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


def _uv(*arguments: str) -> subprocess.CompletedProcess[str]:
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


def _version_in(python: Path) -> str:
    """Return `livekit.agents.__version__` as the interpreter `python` imports it.

    Raise `UserError`.
    """
    code = "import livekit.agents; print(livekit.agents.__version__)"
    environment = os.environ.copy()
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # the children of the tests import it often
    result = subprocess.run(
        [str(python), "-c", code],
        capture_output=True,
        text=True,
        cwd=python.parent,
        env=environment,
    )
    if result.returncode != 0:
        raise UserError(f"the installed release cannot be imported: {result.stderr.strip()[-300:]}")
    return result.stdout.strip()


def make_environment(release: Release, wheel: Path, python: str, path: Path) -> Path:
    """Make, or reuse, the environment in the directory `path` and return its interpreter.

    `wheel` is installed with the dependencies of the release's day, then the pinned test tools,
    whose date does not matter. An environment made from the same inputs is reused. Raises
    `UserError`.
    """
    project = ROOT / "pyproject.toml"
    tools = tomllib.loads(project.read_text("utf-8"))["dependency-groups"]["regression"]
    inputs = {
        "wheel": file_sha256(wheel),
        "python": python,
        "as-of": release.dependencies_as_of,
        "tools": tools,
    }
    interpreter = path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = path / _STAMP
    if stamp.is_file() and interpreter.exists() and json.loads(stamp.read_text("utf-8")) == inputs:
        return interpreter
    _uv("venv", "--quiet", "--clear", "--python", python, str(path))
    install = ["pip", "install", "--quiet", "--python", str(interpreter)]
    # A dependency whose wheels came days after its sdist (av 14.4, of 1.0.22's day) is passed over.
    binary = ["--only-binary", ":all:"]
    _uv(*install, *binary, "--exclude-newer", release.dependencies_as_of, str(wheel))
    _uv(*install, "--group", f"{project}:regression")
    expected, actual = wheel.name.split("-")[1], _version_in(interpreter)
    if actual != expected:
        raise UserError(f"installed livekit.agents.__version__ is {actual}, not {expected}")
    stamp.write_text(json.dumps(inputs), "utf-8")
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
    wheel = fetch(release) if options.unpatched else build_release(release, series, wheels)
    print(
        f"{wheel.name}: Python {python}, dependencies as of {release.dependencies_as_of}",
        file=sys.stderr,
    )
    print(make_environment(release, wheel, python, options.path))
    return 0


if __name__ == "__main__":
    run_main(main)
