"""Build wheels on every installed Python that the tooling runs on; they must be the same files.

Each Python, in an environment of its own, builds them from upstream's wheel and from its sdist.
Wheels, sums and index are compared byte for byte with those that the Python of this script builds,
and these are verified as `nox -s verify` does.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from nox.project import load_toml
from packaging.specifiers import SpecifierSet
from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.base.pythons import installed_pythons, uv
from procpool.catalog.releases import REPORTED, newest_release
from procpool.wheels.verify import verify_wheel

_WAYS: tuple[list[str], ...] = ([], ["--from-sdist"])


def tooling_pythons() -> dict[str, str]:
    """Return the newest installed release of each Python that noxfile.py takes: "3.12" -> path."""
    requires = SpecifierSet(load_toml(ROOT / "noxfile.py")["requires-python"])
    found: dict[str, str] = {}
    for version, path in installed_pythons().items():
        if version in requires:
            found.setdefault(f"{version.major}.{version.minor}", path)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files under `folder`, by their relative paths."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def build_on(python: str, build: list[str], folder: Path) -> Path:
    """Build wheels with the interpreter `python` and the arguments `build`, in the new `folder`.

    Returns the directory of the wheels. Raises `UserError` if a build fails.
    """
    environment, out = str(folder / "environment"), folder / "dist"
    uv("venv", "--quiet", "--python", python, environment)
    tooling = load_toml(ROOT / "noxfile.py")["dependencies"]
    uv("pip", "install", "--quiet", "--python", environment, *tooling)
    for way in _WAYS:
        run = ["run", "--quiet", "--no-project", "--python", environment, "python"]
        uv(*run, *build, *way, "--out", str(out))
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Build, compare and verify; leave the wheels in the given directory."""
    parser = step_parser(__doc__)
    parser.add_argument("folder", type=Path, help="directory for the wheels; it is cleared first")
    parser.add_argument(
        "versions", nargs="*", help="default: the release of the report, and the newest"
    )
    options = parser.parse_args(argv)
    versions = options.versions or [REPORTED, newest_release(options.patches).version]
    shutil.rmtree(options.folder, ignore_errors=True)
    own = options.folder / "dist"
    build = [str(ROOT / "scripts"), "wheel", *versions, "--patches", str(options.patches)]
    for way in _WAYS:
        if subprocess.run([sys.executable, *build, *way, "--out", str(own)]).returncode != 0:
            raise UserError("the wheels could not be built: see above")
    expected = contents(own)
    for name, python in tooling_pythons().items():
        built = contents(build_on(python, build, options.folder / name))
        odd = [file for file in expected | built if expected.get(file) != built.get(file)]
        if odd:
            raise UserError(f"Python {name} builds other bytes: {', '.join(sorted(odd))}")
        print(f"Python {name} builds the same {len(expected)} files")
    for wheel in sorted(own.glob("*.whl")):
        print(verify_wheel(wheel, options.patches))
    return 0
