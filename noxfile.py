# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "build==1.6.1",
#     "cyclonedx-python-lib==11.12.0",
#     "dumb-pypi==1.15.0",
#     "filelock==4.2.12",
#     "hatchling==1.33.0",
#     "nox[uv]==2026.10.20",
#     "packageurl-python==0.17.6",
#     "packaging==26.3",
#     "pathspec==1.1.1",
#     "pip==26.3",
#     "pluggy==1.7.0",
#     "pypi-simple==1.8.0",
#     "requests==2.34.2",
#     "tomlkit==0.15.2",
#     "trove-classifiers==2026.9.21.13",
#     "uv==0.13.9",
# ]
# ///
"""The project's sessions; `nox --list` names them. Each calls a script or pytest, and holds no
logic.

The block above is what nox and the scripts run on: nox makes that environment by itself.
The tag `ci` is README's test command; `products` checks what people take away. `apply-and-test` and
`control` take `-- --python 3.10`, which may be given more than once, and
pytest's own arguments after it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "tests"]

sys.path.insert(0, str(Path(__file__).parent / "scripts"))

from releases_table import ends, load_all_series, load_releases  # noqa: E402

# The release of the bug report.
REPORTED = "1.5.11"

# `nox -s releases` must be able to write the table that is missing.
TABLE = load_releases() if Path("patches/releases.toml").is_file() else {}
LINE = {series.name: series.line for series in load_all_series()}
FINALS = [release for release in TABLE.values() if not release.preview]
# Both ends of each text of proc_pool.py: what `nox -t ci` tests, and where the costly tests run.
TEXT_ENDS = ends(FINALS, lambda release: release.pool_sha256)
# Both ends of each line: tested on the oldest and the newest Python that they support.
LINE_ENDS = ends(FINALS, lambda release: LINE[release.series])
# A preview is no end of a line, and not of the promise that `nox -t ci` checks, but all tests run
# on it, on both Pythons.
PREVIEWS = {release.version for release in TABLE.values() if release.preview}
RELEASES = [
    nox.param(v, id=v, tags=["ci"] if v in TEXT_ENDS | {REPORTED} else []) for v in TABLE
] or [nox.param(REPORTED, id=REPORTED)]
CONTROLS = [nox.param(v, id=v, tags=["ci"] if v == REPORTED else []) for v in TABLE] or RELEASES


def script(session: nox.Session, name: str, *arguments: str) -> None:
    """Run `scripts/<name>.py` on the Python that runs nox."""
    session.run(sys.executable, f"scripts/{name}.py", *arguments, external=True)


def script_output(session: nox.Session, name: str, *arguments: str) -> str:
    """Run `scripts/<name>.py` on the Python that runs nox and return what it printed to stdout."""
    command = [sys.executable, f"scripts/{name}.py", *arguments]
    return str(session.run(*command, external=True, silent=True, stderr=None) or "").strip()


def regression(session: nox.Session, release: str, control: bool) -> None:
    """Run the regression suite on one release, patched or not, on each of the chosen Pythons."""
    parser = argparse.ArgumentParser(prog=f"nox -s {session.name} --", allow_abbrev=False)
    parser.add_argument("--python", action="append", help="3.10, newest or oldest")
    if control:
        parser.add_argument("--record", action="store_true", help="write patches/control/")
    options, pytest_arguments = parser.parse_known_args(session.posargs)
    kind = "control" if control else "patched"
    both = release in LINE_ENDS | PREVIEWS and not control
    if not control and release not in TEXT_ENDS | PREVIEWS | {REPORTED}:
        session.log("leaving out the costly tests: they ran on both ends of this text of the pool")
        pytest_arguments = ["-m", "not costly", *pytest_arguments]
    for python in options.python or (["oldest", "newest"] if both else ["newest"]):
        path = Path(session.cache_dir, "regression", f"{kind}-{release}-{python}").absolute()
        unpatched = ["--unpatched"] if control else []
        interpreter = script_output(
            session, "release_env", release, str(path), "--python", python, *unpatched
        )
        report = path.with_suffix(path.suffix + ".xml")
        report.unlink(missing_ok=True)
        command = [interpreter, "-m", "pytest", "tests/regression", f"--junitxml={report}", "-q"]
        command += ["-o", f"cache_dir={path}/pytest-cache", *pytest_arguments]
        if control:
            recording = ["--record"] if options.record else []
            # 1: tests failed, as they must; 0: none did, which check_control reports.
            command += ["--unpatched", "--tb=no", "-r", "N"]
            session.run(*command, external=True, success_codes=[0, 1])
            script(session, "check_control", release, str(report), *recording)
        else:
            session.run(*command, external=True)


# The longest session of `nox -t ci`: first, so that it does not run alone at the end.
@nox.session(venv_backend="none", allow_parallel=True)
@nox.parametrize("release", CONTROLS)
def control(session: nox.Session, release: str) -> None:
    """Run the suite on the unpatched release.

    Exactly the tests that patches/control has on record must fail.
    """
    regression(session, release, control=True)


@nox.session(name="apply-and-test", venv_backend="none", allow_parallel=True)
@nox.parametrize("release", RELEASES)
def apply_and_test(session: nox.Session, release: str) -> None:
    """Fetch, verify, patch, build, install as of the release's day, run the regression suite."""
    regression(session, release, control=False)


@nox.session(venv_backend="none", allow_parallel=True)
def wheel(session: nox.Session) -> None:
    """Build patched wheels, their sums and an index into dist/: nox -s wheel -- 1.5.11"""
    script(session, "build_wheel", *session.posargs)


@nox.session(venv_backend="none", default=False)
def verify(session: nox.Session) -> None:
    """Prove that a wheel is upstream's plus our patches: nox -s verify -- WHEEL"""
    script(session, "verify_wheel", *session.posargs)


@nox.session(name="check-wheels", allow_parallel=True, tags=["products"])
def check_wheels(session: nox.Session) -> None:
    """Build wheels on every Python, compare them bit for bit, verify them, and have the packagers'
    tools check them; default: the release of the report and the newest.
    """
    session.install("--group", "check-wheels")
    versions = session.posargs or [REPORTED, *[release.version for release in FINALS[-1:]]]
    folder = Path(session.cache_dir, "check-wheels").absolute()
    script(session, "check_wheels", str(folder), *versions)
    wheels = sorted(str(path) for path in (folder / "dist").glob("*.whl"))
    session.run("twine", "check", "--strict", *wheels)
    session.run("check-wheel-contents", "--no-config", *wheels)


@nox.session(allow_parallel=True, tags=["products"])
def consumers(session: nox.Session) -> None:
    """Run README's recipes for pip, uv and Poetry in throw-away projects; -- NAME: only that."""
    session.install("--group", "scripts", "--group", "consumers")
    session.run("python", "scripts/check_consumers.py", *session.posargs)


@nox.session(name="upstream-pr", venv_backend="none", allow_parallel=True, tags=["products"])
def upstream_pr(session: nox.Session) -> None:
    """Make the upstream pull request: nox -s upstream-pr -- CLONE BASE; no clone: a stand-in"""
    script(session, "upstream_pr", *session.posargs)


@nox.session(venv_backend="none", default=False)
def figures(session: nox.Session) -> None:
    """Measure the figures of PR_DESCRIPTION.md and write them there."""
    path = Path(session.cache_dir, "figures").absolute()
    session.run(sys.executable, "benchmarks/measure.py", str(path), external=True)


@nox.session(venv_backend="none", allow_parallel=True, tags=["products"])
def quilt(session: nox.Session) -> None:
    """Check the series with real quilt, zero fuzz, and git am, on every distinct text."""
    script(session, "check_quilt")


@nox.session(venv_backend="none", default=False)
def edit(session: nox.Session) -> None:
    """Unpack a release to edit its patches with git or quilt: nox -s edit -- 1.8.9"""
    script(session, "edit", *session.posargs)


@nox.session(venv_backend="none", default=False)
def refresh(session: nox.Session) -> None:
    """Write what was edited into its series, and carry the change to the other series."""
    script(session, "refresh", *session.posargs)


@nox.session(venv_backend="none", default=False)
def revisions(session: nox.Session) -> None:
    """Raise the revision of every series whose text has changed, and record it."""
    script(session, "revisions", *session.posargs)


@nox.session(venv_backend="none", default=False)
def releases(session: nox.Session) -> None:
    """Write patches/releases.toml from the package index; try the series on new releases."""
    script(session, "update_releases", *session.posargs)


@nox.session(venv_backend="none", default=False)
def readme(session: nox.Session) -> None:
    """Write the tables in README.md and scripts/doctor.py from patches/ and the control runs."""
    script(session, "readme_table", *session.posargs)
    script(session, "doctor_table", *session.posargs)


@nox.session(allow_parallel=True, tags=["ci"])
def lint(session: nox.Session) -> None:
    """Check format, lint and types."""
    session.install("--group", "lint", "--group", "scripts", "--group", "regression")
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")
    session.run("mypy", "noxfile.py", "benchmarks", "scripts", "tests/scripts")
    # The suite runs on 3.9 too, which mypy no longer knows: ruff looks after that.
    session.run("mypy", "--python-version", "3.10", "tests/regression")
    session.run("python", "scripts/readme_table.py", "--check")
    session.run("python", "scripts/doctor_table.py", "--check")
    session.run("python", "scripts/revisions.py", "--check")
    workflows = sorted(str(path) for path in Path(".github/workflows").glob("*.yml"))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)


@nox.session(allow_parallel=True, tags=["ci"])
def actionlint(session: nox.Session) -> None:
    """Check the workflows with actionlint, and the shell scripts in them with shellcheck."""
    session.install("--group", "actionlint")
    session.run("actionlint")


@nox.session(allow_parallel=True, tags=["ci"])
def tests(session: nox.Session) -> None:
    """Run the scripts' own tests; no network."""
    session.install("--group", "scripts")
    session.run("pytest", "tests/scripts", *session.posargs)
