"""Run upstream's own checks on a checkout of livekit/agents, with the tools that it pins.

They are those of its makefile and workflows (ruff format, ruff check, mypy, `pytest --unit`), the
rule of its REVIEW.md for log calls. Then the new tests: on the code before its fix, each must fail.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from procpool.base.errors import UserError
from procpool.base.git import git as run_git
from procpool.base.pythons import choose_python, installed_pythons, uv
from procpool.catalog.releases import newest_release
from procpool.suite.outcomes import Outcome, read_outcomes

NEW_TESTS = "tests/test_proc_pool.py"
# The modules of upstream's that touch the pool.
_UPSTREAM_TESTS = (
    "tests/test_ipc.py",
    "tests/test_worker_connection.py",
    "tests/test_drain_timeout.py",
)
# What a log call may carry beside its message: nothing of a job but its id.
_LOG_KEYS = {"job_id", "attempt"}
_TIMEOUT = 900  # seconds, for one check


def git(repository: Path, *arguments: str, **environment: str) -> str:
    """Run git in `repository` without the user's settings and return what it printed, stripped.

    Raises `UserError` with git's reason.
    """
    return run_git(repository, *arguments, **environment).strip()


def make_environment(checkout: Path, folder: Path, patches: Path) -> Path:
    """Install what the checkout's `uv.lock` pins for livekit-agents and for the groups dev and
    typing; return the interpreter.

    Without a lock file, as in a stand-in, the package's requirements are taken as of the day of the
    newest release in the folder `patches`. livekit-agents itself is imported from the checkout.
    Raises `UserError`.
    """
    settings = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))
    package = tomllib.loads((checkout / "livekit-agents/pyproject.toml").read_text("utf-8"))
    groups = settings.get("dependency-groups", {})
    requires, lock = package["project"]["requires-python"], checkout / "uv.lock"
    if lock.is_file():
        # the pins hold for fewer Pythons than the package: for those of the examples too
        requires += f",{tomllib.loads(lock.read_text('utf-8'))['requires-python']}"
    python = choose_python(requires, "newest", installed_pythons())
    interpreter = folder / "environment" / "bin" / "python"
    uv("venv", "--quiet", "--python", python, str(folder / "environment"))
    install = ["pip", "install", "--quiet", "--python", str(interpreter)]
    if lock.is_file():
        export = ["export", "--quiet", "--frozen", "--project", str(checkout), "--no-hashes"]
        export += ["--no-emit-workspace", "--no-header", "--no-annotate"]
        # before dependency groups, uv had its own list, which counts as the group dev
        tools = [f"--only-group={group}" for group in ("dev", "typing") if group in groups]
        for name, options in {
            "package": ["--package", "livekit-agents", "--no-dev"],
            "tools": tools or ["--only-dev"],
        }.items():
            pins = folder / f"{name}.txt"
            uv(*export, *options, "--output-file", str(pins))
            install += ["--requirement", str(pins)]
    else:
        release = newest_release(patches)
        dated = ["--exclude-newer", release.dependencies_as_of, "--only-binary", ":all:"]
        uv(*install, *dated, *package["project"]["dependencies"])
        install += groups["dev"]
    uv(*install)
    return interpreter


class Gates:
    """The checks. Each returns what is wrong, or an empty text, and a remark for the report."""

    def __init__(self, branch: Path, base: Path, folder: Path, patches: Path) -> None:
        """`branch` is a checkout of the branch, `base` one of its base with the new tests.

        `folder` is an empty directory for the environment and the reports, `patches` that of the
        series.
        """
        self.branch, self.base, self.folder = branch, base, folder
        self.python = make_environment(branch, folder, patches)

    def _run(
        self, checkout: Path, *arguments: str, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a module of the environment in a checkout, so that it sees the checkout's package."""
        package = str(checkout / "livekit-agents")
        paths = {"PYTHONPATH": os.pathsep.join([str(checkout), package]), "MYPYPATH": package}
        try:
            return subprocess.run(
                [str(self.python), "-m", *arguments],
                cwd=checkout,
                env=os.environ | paths | environ,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"{' '.join(arguments[:2])} did not end within {_TIMEOUT} s") from None

    def ruff_format(self) -> tuple[str, str]:
        """Run `ruff format --check .` with the checkout's settings."""
        result = self._run(self.branch, "ruff", "format", "--check", ".")
        return (result.stdout + result.stderr if result.returncode else ""), ""

    def ruff_check(self) -> tuple[str, str]:
        """Run `ruff check .` with the checkout's settings."""
        result = self._run(self.branch, "ruff", "check", ".")
        return (result.stdout + result.stderr if result.returncode else ""), ""

    def mypy(self) -> tuple[str, str]:
        """Run mypy on the package with the checkout's settings; errors of the base do not count.

        Upstream installs every plugin first. Here they are missing, on the branch as on the base.
        """

        def errors(checkout: Path) -> set[str]:
            cache = f"--cache-dir={self.folder / 'mypy'}"
            result = self._run(checkout, "mypy", "--platform=linux", cache, "-p", "livekit.agents")
            lines = [line for line in result.stdout.splitlines() if ": error: " in line]
            if result.returncode not in (0, 1) or (result.returncode and not lines):
                raise UserError(f"mypy failed: {(result.stdout + result.stderr)[-500:]}")
            return {re.sub(r":\d+: ", ": ", line) for line in lines}

        found = errors(self.branch)
        if not found:
            return "", "no error"
        return "\n".join(sorted(found - errors(self.base))), f"{len(found)} errors, as on the base"

    def _pytest(
        self, checkout: Path, modules: list[str], **environ: str
    ) -> tuple[str, dict[str, Outcome]]:
        """Run test modules as upstream's unit gate does.

        Returns what pytest printed, and the outcome of every test. Raises `UserError` if no test
        ran.
        """
        settings = (checkout / "pyproject.toml").read_text("utf-8")
        unit = ["--unit"] if "select with --unit" in settings else []
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        # pytest's own tracebacks parse the sources, which some Python 3.11 can't in a deep stack
        options = ["-q", "--tb=native", "-p", "no:cacheprovider", f"--junitxml={report}"]
        result = self._run(checkout, "pytest", *modules, *unit, *options, **environ)
        output = result.stdout + result.stderr
        if not report.is_file() or not (outcomes := read_outcomes(report)):
            raise UserError(f"pytest ran no test: {output.strip()[-500:]}")
        return output, outcomes

    def tests(self) -> tuple[str, str]:
        """Run upstream's tests that touch the pool, and the new ones, on the branch.

        Upstream runs the tests of a module side by side, each with its own children, which on a
        loaded host takes some of upstream's own past their limits: if only such fail, all are run
        again one at a time, and the remark says which fail side by side on the base. The new tests
        must pass side by side.
        """
        modules = [m for m in (*_UPSTREAM_TESTS, NEW_TESTS) if (self.branch / m).is_file()]
        output, outcomes = self._pytest(self.branch, modules)
        remark = f"{len(outcomes)} passed in {', '.join(modules)}"
        failed = _not_passed(outcomes)
        if failed and not any(f"{Path(NEW_TESTS).stem}::" in name for name in failed):
            _, on_base = self._pytest(self.base, [m for m in modules if m != NEW_TESTS])
            remark += f"; one at a time, as side by side {', '.join(failed)} did not pass"
            remark += f"; on the base: {', '.join(_not_passed(on_base)) or 'all did'}"
            output, outcomes = self._pytest(self.branch, modules, LK_TEST_CONCURRENCY="0")
            failed = _not_passed(outcomes)
        if failed:
            return f"{output[-5000:]}\nnot passed: {', '.join(failed)}", ""
        return "", remark

    def tests_on_base(self) -> tuple[str, str]:
        """Run the new tests on the base; each must fail there."""
        output, outcomes = self._pytest(self.base, [NEW_TESTS])
        wrong = [name for name, outcome in outcomes.items() if not outcome.failed]
        failed = len(outcomes) - len(wrong)
        return (
            f"{output[-5000:]}\ndid not fail: {', '.join(wrong)}" if wrong else "",
            f"{failed} of {len(outcomes)} fail without the fix",
        )

    def each_commit(self) -> tuple[str, str]:
        """Run the new tests of each commit on the code before its fix: only its own must fail.

        So every commit of the branch leaves its tests passing, and no test passes by a later fix.
        """
        since = git(self.base, "rev-parse", "HEAD")
        commits = git(self.branch, "rev-list", "--reverse", f"{since}..HEAD").split()
        step = self.folder / "step"
        git(
            self.folder,
            "clone",
            "--quiet",
            "--shared",
            "--no-checkout",
            str(self.branch),
            step.name,
        )
        known: set[str] = set()
        for fix, tests in zip(commits[::2], commits[1::2], strict=True):
            git(step, "checkout", "--quiet", "--force", "--detach", f"{fix}^")
            git(step, "checkout", "--quiet", tests, "--", NEW_TESTS)
            output, outcomes = self._pytest(step, [NEW_TESTS])
            added = outcomes.keys() - known
            if set(_not_passed(outcomes)) != added:
                subject = git(step, "log", "-1", "--format=%s", fix)
                failed = ", ".join(_not_passed(outcomes)) or "none"
                return f"{output[-5000:]}\nbefore '{subject}' failed: {failed}", ""
            known |= added
        return "", f"each of {len(commits) // 2} fixes is what its test needs"

    def log_calls(self) -> tuple[str, str]:
        """Check every log call in the files that differ from the base and is not in the base.

        The message must be a constant, `extra` hold nothing of a job but its id, and no traceback
        be logged, which may hold anything: upstream's REVIEW.md.
        """
        changed = [
            path.relative_to(self.branch)
            for path in sorted((self.branch / "livekit-agents").rglob("*.py"))
            if _text(path) != _text(self.base / path.relative_to(self.branch))
        ]
        wrong, count = [], 0
        for name in changed:
            known = set(map(ast.unparse, _log_calls(self.base / name)))
            for call in _log_calls(self.branch / name):
                if ast.unparse(call) not in known:
                    count += 1
                    if not _harmless(call):
                        wrong.append(f"{name}:{call.lineno}: {ast.unparse(call)}")
        return "\n".join(wrong), f"{count} new log calls in {len(changed)} files"


def _not_passed(outcomes: dict[str, Outcome]) -> list[str]:
    """Return the tests that failed or did not run."""
    return [name for name, outcome in outcomes.items() if outcome.failed or outcome.not_run]


def _text(path: Path) -> str:
    """Return a file's text, empty if there is no such file."""
    return path.read_text("utf-8") if path.is_file() else ""


def _log_calls(path: Path) -> list[ast.Call]:
    """Return the calls of a method of `logger` in a file, in order."""
    return [
        node
        for node in ast.walk(ast.parse(_text(path)))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "logger"
    ]


def _harmless(call: ast.Call) -> bool:
    """Whether a log call has a constant message into which only numbers are put, no traceback, and
    extras that hold no personal data."""
    message = call.args[0] if call.args else None
    if not (isinstance(message, ast.Constant) and isinstance(message.value, str)):
        return False
    if not set(re.findall(r"%[^a-zA-Z%]*(.)", message.value)) <= set("df%"):
        return False
    if ast.unparse(call.func).endswith(".exception"):
        return False
    for keyword in call.keywords:
        value = keyword.value
        if keyword.arg != "extra":
            return False
        if ast.unparse(value).endswith(".logging_extra()"):
            continue
        keys = (
            {ast.unparse(k).strip("'") for k in value.keys if k}
            if isinstance(value, ast.Dict)
            else {"?"}
        )
        if not keys <= _LOG_KEYS:
            return False
    return True


def run_gates(branch: Path, base: Path, folder: Path, patches: Path) -> list[str]:
    """Run every check, a line for each on stdout; return the names of those that failed.

    The arguments are those of `Gates`.
    """
    print("installing upstream's tools", flush=True)
    gates = Gates(branch, base, folder, patches)
    failed = []
    for name, gate in {
        "ruff format": gates.ruff_format,
        "ruff check": gates.ruff_check,
        "mypy": gates.mypy,
        "log calls": gates.log_calls,
        "tests": gates.tests,
        "new tests on the base": gates.tests_on_base,
        "new tests before each fix": gates.each_commit,
    }.items():
        start = time.monotonic()
        wrong, remark = gate()
        print(
            f"{name}: {'FAILED' if wrong else 'passed'} in {time.monotonic() - start:.0f} s", end=""
        )
        print(f", {remark}" if remark else "", flush=True)
        if wrong:
            print(wrong, file=sys.stderr, flush=True)
            failed.append(name)
    return failed
