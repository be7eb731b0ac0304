"""Run upstream's own checks on a checkout of livekit/agents, with the tools that it pins.

They are those of its makefile and workflows (ruff format, ruff check, mypy, `pytest --unit`), and
the rule of its REVIEW.md for log calls. Then what a request claims: its script must print what it
says without and with it, and on the code before its fix, each new test must fail.

What has passed, and what was found on which commit, is kept in a file, so that a run can go on.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from procpool.base.errors import UserError
from procpool.base.files import replace_file
from procpool.base.git import git as run_git
from procpool.suite.outcomes import Outcome, read_outcomes
from procpool.upstream.requests import Request

NEW_TESTS = "tests/test_proc_pool.py"
# Upstream's test modules that can see a change of the pool or of the worker: by what they name.
_TOUCHED = re.compile(r"\bipc\b|AgentServer|WorkerOptions|proc_pool|duplex")
_UNIT = re.compile(r"pytest\.mark\.unit\b")
# What a log call may carry beside its message: nothing of a job but its id.
_LOG_KEYS = {"job_id", "attempt"}
# Seconds that each gate may take on a busy machine; an idle one takes a tenth.
LIMITS = {
    "ruff format": 300,
    "ruff check": 300,
    "mypy": 1800,
    "log calls": 60,
    "reproduction": 600,
    "tests": 3600,
    "new tests before each fix": 1800,
}
# How many gates of a request run side by side: they wait most of the time.
_AT_ONCE = 2
# Seconds for a module of upstream's tests, and for one test where the module took longer.
MODULE_LIMIT, TEST_LIMIT = 400, 150


def git(repository: Path, *arguments: str, **environment: str) -> str:
    """Run git in `repository` without the user's settings and return what it printed, stripped.

    Raises `UserError` with git's reason.
    """
    return run_git(repository, *arguments, **environment).strip()


@dataclass
class Record:
    """What has been found out, kept in a file so that a run can be resumed.

    `environment` is the interpreter that all is run with. `passed` maps a gate, "COMMITS NAME", to
    its remark; `errors` maps a commit to what mypy says of it, and `upstream` to the tests of
    upstream's that were run there, and whether each passes.
    """

    path: Path
    environment: str = ""
    passed: dict[str, str] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)
    upstream: dict[str, dict[str, bool]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Record:
        """Return the record in a JSON file that `write` wrote, an empty one if there is no file.

        Raises `UserError` if it is damaged.
        """
        try:
            return cls(path, **json.loads(_text(path) or "{}"))
        except (ValueError, TypeError):
            raise UserError(f"{path} is damaged: leave out --resume, or delete it") from None

    def write(self) -> None:
        """Write the file."""
        # of copies: gates that run add to it
        values = {name: copy.copy(value) for name, value in vars(self).items() if name != "path"}
        replace_file(self.path, json.dumps(values, indent=1) + "\n")


class TooLong(Exception):
    """A gate has reached its time limit."""


class Running:
    """What is being run, so that all of it ends when the run is interrupted."""

    def __init__(self) -> None:
        self.processes: set[subprocess.Popen[str]] = set()
        self.interrupted = threading.Event()

    @contextlib.contextmanager
    def hold(self, process: subprocess.Popen[str]) -> Iterator[None]:
        """Kill the group of a process if what is inside fails, or the run is interrupted.

        Raises `KeyboardInterrupt` in the second case.
        """
        self.processes.add(process)
        try:
            if self.interrupted.is_set():
                kill_group(process)
            yield
            if self.interrupted.is_set():
                raise KeyboardInterrupt
        except BaseException:
            kill_group(process)
            raise
        finally:
            self.processes.discard(process)

    def interrupt(self) -> None:
        """End all that is being run, and all that is started later."""
        self.interrupted.set()
        for process in tuple(self.processes):
            kill_group(process)


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a process that was started with a session of its own, and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Gates:
    """The checks. Each returns what is wrong, or an empty text, and a remark for the report.

    Checks that run side by side have a copy each: a time limit and a last command of their own.
    """

    def __init__(self, request: Request, branch: Path, base: Path, record: Record) -> None:
        """`branch` is a checkout of the request, `base` one of what it is stacked on, with the new
        tests of the request. What else is made goes into the folder of `record`.
        """
        self.request, self.branch, self.base, self.record = request, branch, base, record
        self.folder = record.path.parent
        self.commit, self.below = (git(path, "rev-parse", "HEAD") for path in (branch, base))
        self.deadline = time.monotonic() + max(LIMITS.values())
        # the checkout and the shell line of the command that ran last
        self.ran: tuple[Path, str] | None = None
        self.running = Running()  # one for all copies

    def _prepared(
        self, checkout: Path, *arguments: str, **environ: str
    ) -> tuple[list[str], dict[str, str], str]:
        """Return the command that runs the environment's Python in a checkout, so that it sees the
        checkout's package; what it needs in the environment; and both as a shell line."""
        package = str(checkout / "livekit-agents")
        environ |= {
            "PYTHONPATH": os.pathsep.join([str(checkout), package]),
            "MYPYPATH": package,
            # every child of a test imports the package: to compile it anew takes most of its time
            "PYTHONDONTWRITEBYTECODE": "",
        }
        command = [self.record.environment, *arguments]
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in environ.items())
        line = f"cd {shlex.quote(str(checkout))} && {settings} {shlex.join(command)}"
        return command, environ, line

    def run(
        self, checkout: Path, *arguments: str, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python in a checkout.

        Raises `TooLong` when the gate's time is over, with all that was started killed.
        """
        command, environ, line = self._prepared(checkout, *arguments, **environ)
        self.ran = checkout, line
        with subprocess.Popen(
            command,
            cwd=checkout,
            env=os.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                with self.running.hold(process):
                    left = max(self.deadline - time.monotonic(), 0)
                    out, err = process.communicate(timeout=left)
            except subprocess.TimeoutExpired:
                raise TooLong from None
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def ruff_format(self) -> tuple[str, str]:
        """Run `ruff format --check .` with the checkout's settings."""
        result = self.run(self.branch, "-m", "ruff", "format", "--check", ".")
        return (result.stdout + result.stderr if result.returncode else ""), "nothing to change"

    def ruff_check(self) -> tuple[str, str]:
        """Run `ruff check .` with the checkout's settings."""
        result = self.run(self.branch, "-m", "ruff", "check", ".")
        return (result.stdout + result.stderr if result.returncode else ""), "nothing found"

    def _mypy(self, checkout: Path, commit: str) -> list[str]:
        """Return mypy's errors in a checkout, without line numbers; `UserError` if it can't run."""
        if commit not in self.record.errors:
            cache = f"--cache-dir={Path(self.record.environment).parents[1] / 'mypy'}"
            options = ["--platform=linux", cache, "-p", "livekit.agents"]
            result = self.run(checkout, "-m", "mypy", *options)
            lines = [line for line in result.stdout.splitlines() if ": error: " in line]
            if result.returncode not in (0, 1) or (result.returncode and not lines):
                raise UserError(f"mypy failed: {(result.stdout + result.stderr)[-500:]}")
            self.record.errors[commit] = sorted({re.sub(r":\d+: ", ": ", line) for line in lines})
        return self.record.errors[commit]

    def mypy(self) -> tuple[str, str]:
        """Run mypy on the package with the checkout's settings; errors of the base do not count.

        Upstream installs every plugin first. Here they are missing, on the branch as on the base.
        """
        on_base = self._mypy(self.base, self.below)
        found = self._mypy(self.branch, self.commit)
        new = sorted(set(found) - set(on_base))
        return "\n".join(new), f"{len(found)} errors, as on the base" if found else "no error"

    def reproduction(self) -> tuple[str, str]:
        """Run the request's script on the base and on the branch: it must print what it says.

        Side by side, as it waits most of the time.
        """
        script = self.folder / "reproduction.py"
        script.write_text(self.request.script, "utf-8")
        other = copy.copy(self)
        with ThreadPoolExecutor(1) as pool:
            below = pool.submit(other.run, self.base, str(script))
            above = self.run(self.branch, str(script))
        mine, self.ran = self.ran, other.ran
        before, wrong = _last_line(below.result(), self.request.before)
        if wrong:
            return wrong, ""
        self.ran = mine
        after, wrong = _last_line(above, self.request.after)
        if wrong:
            return wrong, ""
        return "", f"without the change it prints `{before}`, with it `{after}`"

    def _pytest(
        self, checkout: Path, modules: Collection[str], **environ: str
    ) -> tuple[str, dict[str, Outcome]]:
        """Run test modules as upstream's unit gate does.

        Returns what pytest printed, and the outcome of every test. Raises `UserError` if no test
        ran.
        """
        report = checkout.with_name(f"{checkout.name}.xml")
        report.unlink(missing_ok=True)
        # pytest's own tracebacks parse the sources, which some Python 3.11 can't in a deep stack
        options = ["-q", "--tb=native", "-p", "no:cacheprovider", f"--junitxml={report}"]
        result = self.run(
            checkout, "-m", "pytest", *modules, *_unit_option(checkout), *options, **environ
        )
        output = result.stdout + result.stderr
        if not report.is_file() or not (outcomes := read_outcomes(report)):
            raise UserError(f"pytest ran no test: {output.strip()[-500:]}")
        return output, outcomes

    def _ran_tests(self, checkout: Path, modules: Collection[str], tests: Collection[str]) -> None:
        """Let the line that repeats the gate run those of the modules' tests, one at a time."""
        nodes = _nodes(tests, modules)
        arguments = ["-m", "pytest", *nodes, *_unit_option(checkout), "--tb=native"]
        self.ran = checkout, self._prepared(checkout, *arguments, LK_TEST_CONCURRENCY="0")[2]

    def _twice(
        self, checkout: Path, modules: Collection[str], **environ: str
    ) -> tuple[str, set[str], set[str], set[str]]:
        """Run test modules, and the tests that do not pass again, one at a time.

        Returns what pytest printed last, and the names of all tests, of those that did not pass at
        first, and of those that did not pass at all.
        """
        output, outcomes = self._pytest(checkout, modules, **environ)
        first = not_passed(outcomes)
        ran = {name for name in first if outcomes[name].not_run != "skipped"}
        again = _nodes(ran, modules)
        if not again:
            return output, set(outcomes), first, first
        output, alone = self._pytest(checkout, again, LK_TEST_CONCURRENCY="0")
        return output, set(outcomes), first, first - (alone.keys() - not_passed(alone))

    @contextlib.contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        """Let what is run inside take so many seconds, and no more than the gate has left."""
        deadline = self.deadline
        self.deadline = min(deadline, time.monotonic() + seconds)
        try:
            yield
        finally:
            self.deadline = deadline

    def _one_by_one(self, checkout: Path, module: str) -> dict[str, bool]:
        """Run the tests of a module in a process each; return whether each passes, in time."""
        options = ["--collect-only", "-q", "-p", "no:cacheprovider", *_unit_option(checkout)]
        listed = self.run(checkout, "-m", "pytest", module, *options).stdout.splitlines()
        found = {}
        for node in (line for line in listed if line.startswith(f"{module}::")):
            # tests/test_ipc.py::TestClass::test_this is tests.test_ipc.TestClass::test_this
            *where, test = node.removeprefix(f"{module}::").split("::")
            name = ".".join([module.removesuffix(".py").replace("/", "."), *where])
            try:
                with self._within(TEST_LIMIT):
                    found[f"{name}::{test}"] = not not_passed(self._pytest(checkout, [node])[1])
            except TooLong:
                found[f"{name}::{test}"] = False
        return found

    def _upstream(self, checkout: Path, commit: str) -> dict[str, bool]:
        """Run upstream's tests that can see the change; return whether each passes.

        One test at a time: upstream runs those of a module side by side, each with its own
        children, which on a busy host takes many past their limits. Without the change some never
        end there, so a module that takes too long is run again with a process for each test.
        """
        if commit not in self.record.upstream:
            found: dict[str, bool] = {}
            for module in upstream_tests(checkout):
                try:
                    with self._within(MODULE_LIMIT):
                        one = {"LK_TEST_CONCURRENCY": "0"}
                        _, names, _, broken = self._twice(checkout, [module], **one)
                    found |= {name: name not in broken for name in names}
                except TooLong:
                    found |= self._one_by_one(checkout, module)
            if time.monotonic() > self.deadline:
                raise TooLong
            self.record.upstream[commit] = dict(sorted(found.items()))
        return self.record.upstream[commit]

    def tests(self) -> tuple[str, str]:
        """Run upstream's tests that can see the change, before and after, and all new ones after.

        What does not pass before does not count. The new ones run side by side.
        """
        before = self._upstream(self.base, self.below)
        after = self._upstream(self.branch, self.commit)
        worse = [name for name, passes in after.items() if not passes and before.get(name, True)]
        if worse:
            self.record.upstream.pop(self.commit)  # it is run again when the run is resumed
            self._ran_tests(self.branch, upstream_tests(self.branch), worse)
            return f"passed before, and does not now: {', '.join(worse)}", ""
        output, names, first, broken = self._twice(self.branch, [NEW_TESTS])
        if broken:
            return f"{output[-5000:]}\nnot passed: {', '.join(sorted(broken))}", ""
        remark = f"{len(names)} new tests pass" if len(names) > 1 else "the new test passes"
        if after:
            modules = ", ".join(Path(module).stem for module in upstream_tests(self.branch))
            passes = [sum(found.values()) for found in (before, after)]
            remark += f"; of upstream's ({modules}) {passes[0]} pass before and {passes[1]} after"
            if broken := {name for name, passes in after.items() if not passes}:
                remark += f", neither before nor after {_short(sorted(broken))}"
        if first:
            remark += f"; {_short(sorted(first))} one at a time only"
        return "", remark

    def _fail_only(self, checkout: Path, wanted: set[str]) -> str:
        """Run the new tests in a checkout: exactly the functions `wanted` must fail.

        What fails beside them on a busy host gets a second try, one test at a time. Returns what is
        wrong.
        """
        output, outcomes = self._pytest(checkout, [NEW_TESTS])
        if _functions(not_passed(outcomes)) > wanted:
            output, alone = self._pytest(checkout, [NEW_TESTS], LK_TEST_CONCURRENCY="0")
            outcomes = {
                name: outcome if _functions([name]) <= wanted else alone.get(name, outcome)
                for name, outcome in outcomes.items()
            }
        failed = _functions(name for name, outcome in outcomes.items() if outcome.failed)
        if failed == wanted == _functions(not_passed(outcomes)):
            return ""
        wrong = [f"did not fail: {', '.join(sorted(wanted - failed))}"] if wanted - failed else []
        if others := _functions(not_passed(outcomes)) - wanted:
            wrong.append(f"failed too: {', '.join(sorted(others))}")
        return f"{output[-5000:]}\n{'; '.join(wrong) or 'did not run'}"

    def each_commit(self) -> tuple[str, str]:
        """Run the new tests of each commit on the code before its fix: only its own must fail.

        So every commit of the branch leaves its tests passing, and no test passes by a later fix.
        """
        commits = git(self.branch, "rev-list", "--reverse", f"{self.below}..HEAD").split()
        step = self.folder / "step"
        if not step.exists():
            clone = ["clone", "--quiet", "--shared", "--no-checkout"]
            git(self.folder, *clone, str(self.branch), step.name)
        git(step, "fetch", "--quiet", "origin", "HEAD")
        known = self._defined_at(self.below)
        for fix, tests in zip(commits[::2], commits[1::2], strict=True):
            git(step, "checkout", "--quiet", "--force", "--detach", f"{fix}^")
            git(step, "checkout", "--quiet", tests, "--", NEW_TESTS)
            defined = _defined(_text(step / NEW_TESTS))
            if wrong := self._fail_only(step, defined - known):
                return f"{wrong} (before '{git(step, 'log', '-1', '--format=%s', fix)}')", ""
            known = defined
        fixes = "the fix is" if len(commits) == 2 else f"each of {len(commits) // 2} fixes is"
        return "", f"{fixes} what its test needs to pass"

    def _defined_at(self, commit: str) -> set[str]:
        """Return the test functions that the new tests have at a commit of the base."""
        if not git(self.base, "ls-tree", commit, "--", NEW_TESTS):
            return set()
        return _defined(git(self.base, "show", f"{commit}:{NEW_TESTS}"))

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
        files = "file" if len(changed) == 1 else "files"
        calls = "log call" if count == 1 else "log calls"
        remark = f"{count} new {calls} in {len(changed)} {files}, nothing of a job but its id"
        return "\n".join(wrong), remark


def _unit_option(checkout: Path) -> list[str]:
    """Return the option that selects upstream's unit tests, if the checkout has it."""
    settings = _text(checkout / "pyproject.toml")
    return ["--unit"] if "select with --unit" in settings else []


def upstream_tests(checkout: Path) -> list[str]:
    """Return upstream's unit test modules that can see a change of the pool or the worker, sorted.

    They are the paths in a checkout of those marked `pytest.mark.unit` that name what is changed.
    """
    found = []
    for path in sorted((checkout / "tests").glob("test_*.py")):
        text = _text(path)
        name = path.relative_to(checkout).as_posix()
        if name != NEW_TESTS and _UNIT.search(text) and _TOUCHED.search(text):
            found.append(name)
    return found


def not_passed(outcomes: dict[str, Outcome]) -> set[str]:
    """Return the tests that failed or did not run."""
    return {name for name, outcome in outcomes.items() if outcome.failed or outcome.not_run}


def _nodes(tests: Collection[str], modules: Collection[str]) -> list[str]:
    """Return those of `tests` that are of the modules with these paths, as pytest takes them: a
    module after the other, each sorted.

    Its report names them otherwise: tests.test_ipc.TestClass::test_this is
    tests/test_ipc.py::TestClass::test_this.
    """
    found = []
    for module in modules:
        name = module.removesuffix(".py").replace("/", ".")
        for test in sorted(tests):
            if test.startswith((f"{name}::", f"{name}.")):
                where, _, function = test.removeprefix(name).partition("::")
                found.append("::".join([module, *where.split(".")[1:], function]))
    return found


def _last_line(result: subprocess.CompletedProcess[str], wanted: str) -> tuple[str, str]:
    """Return the last line that a script printed, and what is wrong if it is not as wanted."""
    last = (result.stdout.splitlines() or ["nothing"])[-1].strip()
    if re.fullmatch(wanted, last):
        return last, ""
    return last, f"{result.stderr[-3000:]}\nprinted {last!r}, not {wanted!r}"


def _short(tests: Collection[str]) -> str:
    """Return the names of tests without their modules, as one text."""
    return ", ".join(test.rpartition("::")[2] for test in tests)


def _functions(tests: Iterable[str]) -> set[str]:
    """Return the functions of tests as pytest's report names them, parameters left out."""
    return {test.rpartition("::")[2].partition("[")[0] for test in tests}


def _defined(text: str) -> set[str]:
    """Return the names of the test functions in a module's text."""
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", text, re.MULTILINE))


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


def _run_gate(
    gates: Gates, check: Callable[[Gates], tuple[str, str]], limit: float
) -> tuple[str, str, str]:
    """Run a check; return what is wrong, or an empty text, the remark, and how long it took."""
    start = time.monotonic()
    gates.deadline = start + limit
    try:
        wrong, remark = check(gates)
    except TooLong:
        wrong, remark = f"did not end within {limit} s", ""
    except UserError as error:
        wrong, remark = str(error), ""
    return wrong, remark, f"{time.monotonic() - start:.0f} s"


def run_gates(gates: Gates, resume_line: str) -> tuple[list[str], dict[str, str]]:
    """Run every check that has not passed on these commits yet; stdout gets a line for each.

    Returns the names of those that failed, and what the others found, by name. Of one that failed,
    stderr gets what is wrong, the checkout, and the line that repeats it; of those that were
    interrupted too, and then `resume_line`, which goes on with the rest.
    """
    checks: dict[str, Callable[[Gates], tuple[str, str]]] = {
        "ruff format": Gates.ruff_format,
        "ruff check": Gates.ruff_check,
        "mypy": Gates.mypy,
        "log calls": Gates.log_calls,
        "reproduction": Gates.reproduction,
        "tests": Gates.tests,
        "new tests before each fix": Gates.each_commit,
    }
    failed, remarks = [], {}
    keys = {name: f"{gates.below}..{gates.commit} {name}" for name in checks}
    own = {name: copy.copy(gates) for name in checks if keys[name] not in gates.record.passed}

    def explain(name: str, wrong: str) -> None:
        checkout, line = own[name].ran or (gates.branch, resume_line)
        print(f"{wrong}\ncheckout: {checkout}\nrepeat: {line}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        runs = {
            name: pool.submit(_run_gate, mine, checks[name], LIMITS[name])
            for name, mine in own.items()
        }
        try:
            for name, key in keys.items():
                print(f"{time.strftime('%H:%M:%S')} {gates.request}: {name}", end="", flush=True)
                if name not in runs:
                    remarks[name] = gates.record.passed[key]
                    print(f": passed before, {remarks[name]}", flush=True)
                    continue
                print(f", at most {LIMITS[name]} s: ", end="", flush=True)
                wrong, remark, took = runs[name].result()
                if wrong:
                    print(f"FAILED in {took}", flush=True)
                    explain(name, wrong)
                    failed.append(name)
                else:
                    print(f"passed in {took}, {remark}", flush=True)
                    remarks[name] = gates.record.passed[key] = remark
                gates.record.write()
        except BaseException:
            print(flush=True)
            for name, run in runs.items():
                if not run.cancel() and not run.done():
                    explain(name, f"{name}: interrupted")
            gates.running.interrupt()
            print(f"go on with: {resume_line}", file=sys.stderr, flush=True)
            raise
    return failed, remarks
