# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "build==1.6.1; python_version >= '3.11'",
#     "cyclonedx-python-lib[json-validation]==11.12.0; python_version >= '3.11'",
#     "dumb-pypi==1.15.0; python_version >= '3.11'",
#     "filelock==4.2.12; python_version >= '3.11'",
#     "hatchling==1.33.0; python_version >= '3.11'",
#     "nox[uv]==2026.10.20; python_version >= '3.11'",
#     "packageurl-python==0.17.6; python_version >= '3.11'",
#     "packaging==26.3; python_version >= '3.11'",
#     "pathspec==1.1.1; python_version >= '3.11'",
#     "pip==26.3; python_version >= '3.11'",
#     "pluggy==1.7.0; python_version >= '3.11'",
#     "pyflakes==4.1.0; python_version >= '3.11'",
#     "pypi-simple==1.8.0; python_version >= '3.11'",
#     "requests==2.34.2; python_version >= '3.11'",
#     "rich==15.0.0; python_version >= '3.11'",
#     "tomlkit==0.15.2; python_version >= '3.11'",
#     "trove-classifiers==2026.9.21.13; python_version >= '3.11'",
#     "unidiff==1.0.1; python_version >= '3.11'",
#     "uv==0.13.9; python_version >= '3.11'",
#     "nox[uv]; python_version < '3.11'",
# ]
#
# [tool.nox]
# script-download-python = "never"
# script-venv-backend = "virtualenv"
# ///
"""The project's sessions; `nox --list` names them. Each calls a script or pytest, and holds no
logic.

The block above is what nox and the steps run on, and the one list of it: nox makes that environment
by itself, and sessions that need it take it from there. On an older Python it asks for nothing but
nox, so that this file can say what is wrong. Not uv makes that environment: called from a user's
project, uv would take the settings of that project, such as `exclude-newer`.
The tag `ci` is README's test command; `products` checks what people take away. `apply-and-test`,
`quick` and `control` take `-- --python 3.10`, which may be given more than once, and pytest's own
arguments after it.
"""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import nox

if sys.version_info < (3, 11):  # noqa: UP036 - nox itself may run on an older one
    have = ".".join(map(str, sys.version_info[:3]))
    sys.exit(
        f"error: this is Python {have}, and nox has to run on 3.11 or newer: make .venv with"
        " python3.11 or a later one"
    )

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.download_python = "never"
# A Python that is not installed is named in the output, in CI too, and its session left out.
nox.options.error_on_missing_interpreters = False

SCRIPTS = Path(__file__).resolve().parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

from procpool.suite.plan import load_plan

PLAN = load_plan()
TOOLING = nox.project.load_toml("noxfile.py")["dependencies"]
# Servers and workers import it often, also where PYTHONDONTWRITEBYTECODE is set; and by default uv
# gives up a file that takes a minute, as it may on a busy machine.
COMPILE = {"UV_COMPILE_BYTECODE": "1", "UV_COMPILE_BYTECODE_TIMEOUT": "900"}
RELEASES = [nox.param(v, id=v) for v in PLAN.versions]
QUICK = [nox.param(v, id=v) for v in PLAN.quick]


def proof(function: Callable[[nox.Session], None]) -> Callable[[nox.Session], None]:
    """Have a session print the line that runs it again, where one of its commands fails."""

    @functools.wraps(function)
    def session_function(session: nox.Session) -> None:
        try:
            function(session)
        except nox.command.CommandFailed:
            arguments = ["--", *session.posargs] if session.posargs else []
            print(f"to repeat: {shlex.join(['nox', '-s', session.name, *arguments])}", flush=True)
            raise

    return session_function


def step(session: nox.Session, name: str, *arguments: str) -> None:
    """Run a step, `python scripts NAME`, on the Python that runs nox, where nox was called."""
    with session.chdir(session.invoked_from):
        session.run(sys.executable, str(SCRIPTS), name, *arguments, external=True)


# -- what people run -------------------------------------------------------------------------------


@nox.session(venv_backend="none", allow_parallel=True)
def wheel(session: nox.Session) -> None:
    """Build patched wheels, their sums and an index into dist/: nox -s wheel -- 1.5.11"""
    step(session, "wheel", *session.posargs)


@nox.session(name="apply-and-test", venv_backend="none", allow_parallel=True)
@nox.parametrize("release", RELEASES)
def apply_and_test(session: nox.Session, release: str) -> None:
    """Fetch, verify, patch, build, install as of the release's day, run the regression suite."""
    step(session, "suite", release, *session.posargs)


@nox.session(allow_parallel=True, default=False)
@proof
def e2e(session: nox.Session) -> None:
    """Have whole workers serve calls, on a livekit-server and a stand-in: nox -s e2e -- 1.5.11"""
    session.install("--group", "e2e", env=COMPILE)
    step(session, "e2e", "--tests-python", str(Path(session.bin, "python")), *session.posargs)


@nox.session(name="e2e-ci", allow_parallel=True, tags=["ci"])
@proof
def e2e_ci(session: nox.Session) -> None:
    """Make the short run of `e2e`; on the stand-in only where there is no livekit-server or Go."""
    session.install("--group", "e2e", env=COMPILE)
    python = str(Path(session.bin, "python"))
    step(session, "e2e", "--ci", "--tests-python", python, *session.posargs)


@nox.session(name="bench-ci", venv_backend="none", allow_parallel=True, tags=["ci"])
@proof
def bench_ci(session: nox.Session) -> None:
    """Measure what is the same on every machine, on the newest release, patched; judge that."""
    step(session, "bench", "--ci", *session.posargs)


@nox.session(allow_parallel=True, default=False)
def soak(session: nox.Session) -> None:
    """Soak workers under random faults: nox -s soak -- --minutes 10 --seed 1 --workers 3"""
    session.install("--group", "e2e", env=COMPILE)
    step(session, "soak", "--tests-python", str(Path(session.bin, "python")), *session.posargs)


@nox.session(venv_backend="none", default=False)
@proof
def worse(session: nox.Session) -> None:
    """Compare what a failing pool costs, unpatched and patched: nox -s worse -- 1.5.11"""
    step(session, "worse", *session.posargs)


@nox.session(name="upstream-pr", venv_backend="none", allow_parallel=True, tags=["products"])
def upstream_pr(session: nox.Session) -> None:
    """Make the upstream pull requests: nox -s upstream-pr -- CLONE BASE; no clone: a stand-in"""
    step(session, "upstream-pr", *session.posargs)


@nox.session(venv_backend="none", default=False)
def proposals(session: nox.Session) -> None:
    """Compare with what else was proposed, in PR_DESCRIPTION.md: nox -s proposals -- CLONE"""
    step(session, "compare-proposals", *session.posargs)


@nox.session(venv_backend="none", default=False)
def edit(session: nox.Session) -> None:
    """Unpack a release to edit its patches with git or quilt: nox -s edit -- 1.8.9"""
    step(session, "edit", *session.posargs)


@nox.session(venv_backend="none", default=False)
def refresh(session: nox.Session) -> None:
    """Write what was edited into its series, and carry the change to the other series."""
    step(session, "refresh", *session.posargs)


@nox.session(venv_backend="none", default=False)
def revisions(session: nox.Session) -> None:
    """Raise the revision of every series whose text has changed, and record it."""
    step(session, "revisions", *session.posargs)


@nox.session(venv_backend="none", default=False)
def verify(session: nox.Session) -> None:
    """Prove that a wheel is upstream's plus our patches: nox -s verify -- WHEEL"""
    step(session, "verify", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure and plot unpatched and patched releases side by side; -- --quick: small samples"""
    session.install("--group", "bench", env=COMPILE)
    step(session, "bench", "--bench-python", str(Path(session.bin, "python")), *session.posargs)
    step(session, "tables")


@nox.session(default=False)
def picture(session: nox.Session) -> None:
    """Draw README's picture of the doctor's and e2e's output; needs a real livekit-server."""
    session.install("--group", "e2e", env=COMPILE)
    step(session, "picture", "--tests-python", str(Path(session.bin, "python")), *session.posargs)


@nox.session(venv_backend="none", default=False)
def releases(session: nox.Session) -> None:
    """Write patches/releases.toml from the package index; try the series on new releases."""
    step(session, "update-releases", *session.posargs)


@nox.session(venv_backend="none", default=False)
def upkeep(session: nox.Session) -> None:
    """Look after new upstream releases: table, try, which hunks fail, which file to open"""
    step(session, "upkeep", *session.posargs)


@nox.session(venv_backend="none", default=False)
def tables(session: nox.Session) -> None:
    """Write what is computed: tables, figures and versions in README.md and other files."""
    step(session, "tables", *session.posargs)


# -- what CI runs too ------------------------------------------------------------------------------


@nox.session(allow_parallel=True, tags=["ci"])
@proof
def lint(session: nox.Session) -> None:
    """Run the hooks of .pre-commit-config.yaml on all files, and check what is computed."""
    session.install("--group", "lint")
    # mypy has a session of its own, which this one would start inside itself.
    session.run("prek", "run", "--all-files", env={"SKIP": "types"})
    step(session, "tables", "--check")


@nox.session(allow_parallel=True, tags=["ci"])
@proof
def types(session: nox.Session) -> None:
    """Check the types of everything, strictly."""
    session.install(*TOOLING, "--group", "types", "--group", "tests", "--group", "regression")
    session.run("mypy", "noxfile.py", "benchmarks/plots.py", "scripts", "tests/scripts")
    # The suite runs on 3.9 too, which mypy no longer knows: ruff looks after that.
    inside = ["tests/regression", "tests/worse", "benchmarks/measure"]
    session.run("mypy", "--python-version", "3.10", *inside)
    session.run("mypy", "tests/e2e", "benchmarks/healthy.py")


@nox.session(python=["3.11", "3.13"], allow_parallel=True, tags=["ci"])
@proof
def tests(session: nox.Session) -> None:
    """Run the steps' own tests, and measure which branches they take; no network."""
    session.install(*TOOLING, "--group", "tests")
    data = Path(session.cache_dir, f"coverage-{session.python}").absolute()
    session.env["COVERAGE_FILE"] = str(data)
    session.run("coverage", "run", "-m", "pytest", "tests/scripts", *session.posargs)
    session.run("coverage", "combine")
    # A part of the tests takes a part of the branches.
    session.run("coverage", "report", *(["--fail-under=0"] if session.posargs else []))


@nox.session(venv_backend="none", allow_parallel=True, tags=["ci"])
@proof
def texts(session: nox.Session) -> None:
    """Check the texts of the patches and the revisions: none too many, none unrecorded."""
    step(session, "check-texts", *session.posargs)
    step(session, "revisions", "--check")


@nox.session(venv_backend="none", allow_parallel=True)
@nox.parametrize("release", RELEASES)
def control(session: nox.Session, release: str) -> None:
    """Run the suite on the unpatched release.

    Exactly the tests that patches/control has on record must fail.
    """
    step(session, "suite", release, "--control", *session.posargs)


@nox.session(venv_backend="none", allow_parallel=True, tags=["ci"])
@nox.parametrize("release", QUICK)
def quick(session: nox.Session, release: str) -> None:
    """Run a part of apply-and-test, on one Python: all of it on two releases, else a few cases."""
    step(session, "suite", release, "--quick", *session.posargs)


@nox.session(venv_backend="none", allow_parallel=True, default=False)
@proof
def prefixes(session: nox.Session) -> None:
    """Show that each patch is needed and breaks no test: -- RELEASE; default: one of each line"""
    step(session, "prefixes", *session.posargs)


@nox.session(venv_backend="none", allow_parallel=True, default=False)
@proof
def mutants(session: nox.Session) -> None:
    """Show that the suite sees what breaks; -- RELEASE: all of it there, else spread over lines"""
    step(session, "mutants", *session.posargs)


@nox.session(venv_backend="none", allow_parallel=True, tags=["products"])
@proof
def quilt(session: nox.Session) -> None:
    """Check the series with real quilt, zero fuzz, and git am, on every distinct text."""
    step(session, "check-quilt")


@nox.session(name="check-wheels", allow_parallel=True, tags=["products"])
@proof
def check_wheels(session: nox.Session) -> None:
    """Build wheels on every Python, compare them bit for bit, verify them, and have the packagers'
    tools check them; default: the release of the report and the newest.
    """
    session.install("--group", "check-wheels")
    folder = Path(session.cache_dir, "check-wheels").absolute()
    step(session, "check-wheels", str(folder), *session.posargs)
    wheels = sorted(str(path) for path in (folder / "dist").glob("*.whl"))
    session.run("twine", "check", "--strict", *wheels)
    session.run("check-wheel-contents", "--no-config", *wheels)


@nox.session(allow_parallel=True, tags=["products"])
@proof
def consumers(session: nox.Session) -> None:
    """Run README's recipes for users' projects in throw-away ones; -- NAME: only that."""
    session.install(*TOOLING, "--group", "consumers", "--group", "tests")
    # The doctor's fix for Poetry, which the session of the tests does not have.
    session.run("pytest", "-q", "tests/scripts/test_doctor_fixes.py", "-k", "poetry")
    session.run("python", "scripts", "check-consumers", *session.posargs)


@nox.session(name="check-site", venv_backend="none", default=False)
def check_site(session: nox.Session) -> None:
    """Check a folder of wheels that is to be published: -- FOLDER --all"""
    step(session, "check-site", *session.posargs)


@nox.session(name="rehearse-publish", venv_backend="none", tags=["products"])
@proof
def rehearse_publish(session: nox.Session) -> None:
    """Run the commands of publish.yml that need no GitHub; -- RELEASE …: of these, not of two"""
    step(session, "check-site", "--rehearse", *session.posargs)
