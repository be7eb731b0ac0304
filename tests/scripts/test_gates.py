"""Upstream's checks, on a made-up repository: pytest is the real one, ruff and mypy are made up."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from procpool.base.errors import UserError
from procpool.upstream import gates as gates_module
from procpool.upstream.gates import (
    LIMITS,
    NEW_TESTS,
    Gates,
    Record,
    TooLong,
    git,
    run_gates,
    upstream_tests,
)
from procpool.upstream.requests import Request

WHO = ("-c", "user.name=x", "-c", "user.email=x@example.invalid")
# Says, for each tool, what a file beside it holds; the exit code is the file's first line.
PYTHON = """\
#!/bin/sh
if test "$1" != -m || test "$2" = pytest; then exec {python} "$@"; fi
report="{folder}/$2-$(basename "$PWD")"
test -f "$report" || exit 0
tail -n +2 "$report"
exit "$(head -n 1 "$report")"
"""
# What makes a test module one of upstream's that are run.
MARK = "# pytest.mark.unit of AgentServer\n"


def write(checkout: Path, **files: str) -> None:
    """Write files, named by their stems: a pool, the new tests and tests of upstream's."""
    paths = {
        "pool": "livekit-agents/pool.py",
        "new": NEW_TESTS,
        "upstream": "tests/test_ipc.py",
        "late": "tests/test_worker.py",
        "settings": "pyproject.toml",
        "conftest": "conftest.py",
    }
    for name, text in files.items():
        path = checkout / paths[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def commit(checkout: Path, subject: str) -> None:
    git(checkout, "add", "--all")
    git(checkout, *WHO, "commit", "--quiet", "--allow-empty", "--message", subject)


def new_tests(*names: str) -> str:
    """Return the text of new tests, each of which wants a fix of its own."""
    rows = (f"def test_{name}():\n    assert '{name}' in DONE\n" for name in names)
    return "from pool import DONE\n" + "".join(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of the environment and the reports."""
    path = tmp_path / "work"
    path.mkdir()
    return path


REQUEST = Request(
    number=1,
    of=2,
    name="one",
    ideas=("one", "two"),
    before="DONE has 0",
    after="DONE has [12]",
    max_lines=None,
    title="fix(x): one",
    script='from pool import DONE\nprint("first")\nprint("DONE has", len(DONE))\n',
    sections={},
)


@pytest.fixture
def gates(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gates:
    """Return the gates of a branch that brings two fixes, each followed by its test."""
    base, branch = tmp_path / "base", tmp_path / "branch"
    upstream = f"{MARK}def test_upstream(): ...\n"
    write(base, pool="DONE = []\n", upstream=upstream, settings="")
    git(base, "init", "--quiet", "--initial-branch=main")
    commit(base, "base")
    git(tmp_path, "clone", "--quiet", str(base), str(branch))
    write(branch, pool="DONE = ['one']\n")
    commit(branch, "fix one")
    write(branch, new=new_tests("one"))
    commit(branch, "test one")
    write(branch, pool="DONE = ['one', 'two']\n")
    commit(branch, "fix two")
    write(branch, new=new_tests("one", "two"))
    commit(branch, "test two")
    write(base, new=new_tests("one", "two"))
    python = folder / "python"
    python.write_text(PYTHON.format(python=sys.executable, folder=folder))
    python.chmod(0o755)
    # each pytest that is started in the tests starts sooner without its plugins, and unmeasured
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    record = Record(folder / "record.json", environment=str(python))
    return Gates(REQUEST, branch, base, record)


def again(gates: Gates) -> Gates:
    """Return the gates of the branch as it is now, with what is on record."""
    gates.record.write()
    return Gates(REQUEST, gates.branch, gates.base, Record.read(gates.record.path))


def test_a_branch_that_is_as_it_should_be(gates: Gates, capsys: pytest.CaptureFixture[str]) -> None:
    failed, remarks = run_gates(gates, "again")
    captured = capsys.readouterr()
    assert (failed, captured.err) == ([], "")
    assert list(remarks) == list(LIMITS)
    for line, (name, limit) in zip(captured.out.splitlines(), LIMITS.items(), strict=True):
        start = rf"\d\d:\d\d:\d\d request 1 of 2: {name}, at most {limit} s: passed in \d+ s, "
        assert re.fullmatch(start + re.escape(remarks[name]), line)
    assert remarks["tests"] == (
        "2 new tests pass; of upstream's (test_ipc) 1 pass before and 1 after"
    )
    assert remarks["reproduction"] == (
        "without the change it prints `DONE has 0`, with it `DONE has 2`"
    )
    wanted = "each of 2 fixes is what its test needs to pass"
    assert remarks["new tests before each fix"] == wanted
    assert remarks["log calls"].startswith("0 new log calls in 1 file,")


def test_what_fails_can_be_repeated_and_the_rest_is_not_run_again(
    gates: Gates, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (gates.folder / "ruff-branch").write_text("1\npool.py: unused import\n")
    failed, first = run_gates(gates, "again")
    assert failed == ["ruff format", "ruff check"] and len(first) == len(LIMITS) - 2
    captured = capsys.readouterr()
    assert "ruff check, at most 300 s: FAILED in " in captured.out
    assert captured.err.count("pool.py: unused import\n") == 2
    assert captured.err.count(f"checkout: {gates.branch}\n") == 2
    lines = re.findall("^repeat: (.*)$", captured.err, re.MULTILINE)
    assert lines[1].startswith(f"cd {gates.branch} && PYTHONPATH=")
    result = subprocess.run(lines[1], shell=True, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "pool.py: unused import\n")

    (gates.folder / "ruff-branch").unlink()
    resumed = again(gates)
    monkeypatch.setattr(resumed, "_pytest", None)  # would fail
    failed, remarks = run_gates(resumed, "again")
    assert failed == [] and remarks.items() > first.items()
    out = capsys.readouterr().out
    assert out.count(": passed before, ") == len(LIMITS) - 2 and out.count(": passed in ") == 2

    # another commit is another matter
    for name in ("mypy", "reproduction", "tests", "each_commit"):
        monkeypatch.setattr(Gates, name, lambda _: ("changed", ""))
    commit(gates.branch, "more")
    failed, _ = run_gates(again(gates), "again")
    assert len(failed) == 4 and "passed before" not in capsys.readouterr().out


def test_a_record_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    for text in ("{", '{"unknown": 1}'):
        path.write_text(text)
        with pytest.raises(UserError, match=r"record.json is damaged: leave out --resume"):
            Record.read(path)


def test_each_gate_has_a_time_limit(
    gates: Gates, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "ruff check", 0)
    failed, remarks = run_gates(gates, "again")
    assert failed == ["ruff check"] and "mypy" in remarks, "the others have limits of their own"
    err = capsys.readouterr().err
    assert err.startswith("did not end within 0 s\n") and "-m ruff check ." in err


def test_a_gate_that_was_given_up_can_be_repeated(
    gates: Gates, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two scripts that run side by side, it is the one that did not end."""
    script = "import sys, time\nif DONE: time.sleep(600)\nprint('DONE has 0')\n"
    gates.request = dataclasses.replace(REQUEST, script=f"from pool import DONE\n{script}")
    monkeypatch.setitem(LIMITS, "reproduction", 5)
    failed, _ = run_gates(gates, "again")
    assert failed == ["reproduction"]
    said, checkout, line = capsys.readouterr().err.splitlines()
    assert (said, checkout) == ("did not end within 5 s", f"checkout: {gates.branch}")
    assert line.startswith(f"repeat: cd {gates.branch} && ") and line.endswith("reproduction.py")


def test_a_run_that_is_interrupted_ends_what_it_runs_and_says_how_to_repeat_it(
    gates: Gates, capsys: pytest.CaptureFixture[str]
) -> None:
    pids = [gates.folder / name for name in ("base.pid", "branch.pid")]
    script = "import os, time, pathlib, pool\nwhere = 'branch' if pool.DONE else 'base'\n"
    script += f"path = pathlib.Path({str(gates.folder)!r}, where)\n"
    script += "path.write_text(str(os.getpid()))\npath.rename(f'{path}.pid')\ntime.sleep(600)\n"
    gates.request = dataclasses.replace(REQUEST, script=script)

    def interrupt() -> None:
        while not all(pid.exists() for pid in pids):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    # what a shell starts in the background ignores it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_gates(gates, "nox --resume")
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    err = capsys.readouterr().err
    assert f"reproduction: interrupted\ncheckout: {gates.branch}\nrepeat: cd " in err
    assert err.endswith("go on with: nox --resume\n")
    for pid in pids:
        assert not Path("/proc", pid.read_text()).exists()
    assert not any("reproduction" in key for key in Record.read(gates.record.path).passed)


def test_what_a_gate_has_started_ends_with_it(gates: Gates) -> None:
    pid = gates.folder / "pid"
    code = f"sleep 600 & echo $! > {pid}; wait"
    gates.record.environment = "/bin/sh"
    gates.deadline = time.monotonic() + 1
    with pytest.raises(TooLong):
        gates.run(gates.branch, "-c", code)
    while Path("/proc", pid.read_text().strip(), "stat").exists():
        state = Path("/proc", pid.read_text().strip(), "stat").read_text().split()[2]
        if state == "Z":
            break
        time.sleep(0.01)


def test_errors_of_the_base_do_not_count(gates: Gates) -> None:
    (gates.folder / "mypy-branch").write_text("1\na.py:9: error: old\nb.py:1: note: see\n")
    (gates.folder / "mypy-base").write_text("1\na.py:7: error: old\n")
    assert gates.mypy() == ("", "1 errors, as on the base")
    (gates.folder / "mypy-branch").write_text("1\na.py:9: error: old\na.py:10: error: new\n")
    assert gates.mypy() == ("", "1 errors, as on the base"), "that commit's are on record"
    gates.record.errors.clear()
    assert gates.mypy()[0] == "a.py: error: new"


@pytest.mark.parametrize("report", ["2\nmypy: can't read file", "1\nno error line"])
def test_mypy_that_cannot_run(
    gates: Gates, report: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (gates.folder / "mypy-branch").write_text(report)
    with pytest.raises(UserError, match="mypy failed: "):
        gates.mypy()


@pytest.mark.parametrize(("before", "after"), [("DONE has 1", "DONE has 2"), ("DONE has 0", "x")])
def test_a_reproduction_must_print_what_it_says(gates: Gates, before: str, after: str) -> None:
    gates.request = dataclasses.replace(REQUEST, before=before, after=after)
    wrong, _ = gates.reproduction()
    checkout, wanted = (gates.base, before) if before != "DONE has 0" else (gates.branch, after)
    assert re.search(rf"printed 'DONE has \d', not {wanted!r}$", wrong)
    assert gates.ran and gates.ran[0] == checkout


ALONE = f"{MARK}import os\ndef test_{{}}():\n    assert os.environ.get('LK_TEST_CONCURRENCY')\n"


def test_upstreams_tests_run_one_at_a_time_and_new_ones_side_by_side(gates: Gates) -> None:
    for checkout in (gates.branch, gates.base):
        write(checkout, upstream=ALONE.format("upstream"))
    write(gates.branch, new=f"{new_tests('one')}{ALONE.format('new')}")
    wrong, remark = gates.tests()
    assert wrong == "" and remark == (
        "2 new tests pass; of upstream's (test_ipc) 1 pass before and 1 after;"
        " test_new one at a time only"
    )


BROKEN = f"{MARK}def test_upstream():\n    assert False\n"


def test_only_what_did_not_pass_runs_again(gates: Gates) -> None:
    once = f"{ALONE.format('new')}class TestIt:\n    def test_it(self): test_new()\n"
    seen = gates.folder / "seen"
    count = f"def test_once():\n    open({str(seen)!r}, 'a').write('once ')\n"
    write(gates.branch, new=once + count)
    wrong, remark = gates.tests()
    assert wrong == "" and remark.endswith("; test_it, test_new one at a time only")
    assert seen.read_text() == "once "


def test_a_test_that_passed_before_must_pass(gates: Gates) -> None:
    write(gates.branch, upstream=BROKEN)
    wrong, _ = gates.tests()
    assert wrong == "passed before, and does not now: tests.test_ipc::test_upstream"
    write(gates.branch, upstream=f"{MARK}def test_upstream(): ...\n")
    assert gates.tests()[0] == "", "what failed is not on record"


def test_the_line_that_repeats_it_runs_the_test_that_failed(
    gates: Gates, capsys: pytest.CaptureFixture[str]
) -> None:
    for checkout in (gates.branch, gates.base):
        write(checkout, late=f"{MARK}def test_late(): ...\n")
    write(gates.branch, upstream=f"{BROKEN}def test_other(): ...\n")
    assert run_gates(gates, "again")[0] == ["tests"]
    (line,) = re.findall("^repeat: (.*)$", capsys.readouterr().err, re.MULTILINE)
    result = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert result.returncode == 1 and "1 failed" in result.stdout and "pass" not in result.stdout


def test_what_fails_before_does_not_count(gates: Gates) -> None:
    for checkout in (gates.branch, gates.base):
        write(checkout, upstream=f"{BROKEN}def test_other(): ...\n")
    wrong, remark = gates.tests()
    assert wrong == ""
    assert remark.endswith(" 1 pass before and 1 after, neither before nor after test_upstream")


def test_a_test_of_upstreams_that_never_ends_is_one_that_fails(
    gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = f"{MARK}import time\nclass TestIt:\n    def test_one(self): time.sleep({{}})\n"
    write(gates.base, upstream=f"{endless.format(600)}def test_two(): ...\n")
    write(gates.branch, upstream=f"{endless.format(0)}def test_two(): ...\n")
    monkeypatch.setattr(gates_module, "MODULE_LIMIT", 0)
    monkeypatch.setattr(gates_module, "TEST_LIMIT", 15)
    wrong, remark = gates.tests()
    assert wrong == "" and remark.endswith("of upstream's (test_ipc) 1 pass before and 2 after")
    assert gates.record.upstream[gates.below] == {
        "tests.test_ipc.TestIt::test_one": False,
        "tests.test_ipc::test_two": True,
    }
    gates.record.upstream.clear()
    gates.deadline = time.monotonic()
    with pytest.raises(TooLong):
        gates.tests()


def test_a_new_test_must_pass(gates: Gates) -> None:
    write(gates.branch, new=f"{new_tests('one')}def test_new():\n    assert False\n")
    wrong, _ = gates.tests()
    assert wrong.endswith("\nnot passed: tests.test_proc_pool::test_new")
    write(gates.branch, new="import pytest\n@pytest.mark.skip\ndef test_new(): ...\n")
    wrong, _ = gates.tests()
    assert wrong.endswith("\nnot passed: tests.test_proc_pool::test_new")


def test_the_tests_below_must_pass_before_the_fix(gates: Gates) -> None:
    """Those of the requests below are known; one that fails beside others only may do so."""
    git(gates.base, "fetch", "--quiet", str(gates.branch), "HEAD")
    git(gates.base, "checkout", "--quiet", "--force", "FETCH_HEAD")
    alone = "    import os\n    assert os.environ.get('LK_TEST_CONCURRENCY')\n"
    for wrong, two in (("", alone), ("\nfailed too: test_two (before 'fix three')", "    raise\n")):
        text = new_tests("one", "two", "three").replace("    assert 'two' in DONE\n", two)
        write(gates.branch, pool="DONE = ['one', 'two', 'three']\n")
        commit(gates.branch, "fix three")
        write(gates.branch, new=text)
        commit(gates.branch, "test three")
        said, remark = again(gates).each_commit()
        assert said.endswith(wrong) and (not wrong) == (not said)
        assert remark == ("" if wrong else "the fix is what its test needs to pass")
        git(gates.branch, "reset", "--quiet", "--hard", "HEAD~2")


def test_each_fix_is_needed_by_its_own_test(gates: Gates) -> None:
    write(gates.branch, pool="DONE = ['one', 'two', 'three']\n")
    commit(gates.branch, "fix three")
    write(gates.branch, new=new_tests("one", "two", "three") + "def test_any(): ...\n")
    commit(gates.branch, "test three")
    wrong, _ = again(gates).each_commit()
    assert wrong.endswith("\ndid not fail: test_any (before 'fix three')")


def test_a_fix_whose_test_passes_without_it(gates: Gates) -> None:
    commit(gates.branch, "fix nothing")
    write(gates.branch, new=new_tests("one", "two") + "def test_any(): ...\n")
    commit(gates.branch, "test any")
    wrong, _ = gates.each_commit()
    assert wrong.endswith("\ndid not fail: test_any (before 'fix nothing')")


def test_upstreams_unit_gate_is_asked_for(gates: Gates) -> None:
    write(
        gates.branch,
        settings='[tool.pytest.ini_options]\nmarkers = ["unit: select with --unit"]\n',
        conftest="def pytest_addoption(parser): parser.addoption('--unit', action='store_true')\n",
        new="def test_unit(request):\n    assert request.config.getoption('--unit')\n",
    )
    assert gates.tests()[0] == ""


def test_which_of_upstreams_tests_are_run(tmp_path: Path) -> None:
    texts = {
        "test_ipc": f"{MARK}from livekit.agents import ipc\n",
        "test_drain": f"{MARK}from livekit.agents import AgentServer\n",
        "test_realtime": "pytest.mark.realtime\nfrom livekit.agents import ipc\n",
        "test_llm": "pytest.mark.unit\nfrom livekit.agents import llm\n",
        "test_recipes": "pytest.mark.unit\nimport recipcs\n",
        "test_proc_pool": f"{MARK}from livekit.agents import ipc\n",
    }
    (tmp_path / "tests").mkdir()
    for name, text in texts.items():
        (tmp_path / "tests" / f"{name}.py").write_text(text)
    assert upstream_tests(tmp_path) == ["tests/test_drain.py", "tests/test_ipc.py"]


def test_a_run_without_a_test_proves_nothing(gates: Gates) -> None:
    for checkout in (gates.base, gates.branch):
        write(checkout, new="# none\n", upstream=f"{MARK}# none\n")
    with pytest.raises(UserError, match="pytest ran no test: no tests ran"):
        gates.tests()


def test_a_new_log_call_holds_nothing_of_a_job(gates: Gates) -> None:
    old = 'logger.error(f"{job} failed")\n'
    write(gates.base, pool=old)
    write(gates.branch, pool=f'{old}logger.error("failed", extra={{"job_id": job_id}})\n')
    wrong, remark = gates.log_calls()
    assert wrong == "" and remark.startswith("1 new log call in 1 file")
    write(gates.branch, pool=f'{old}logger.error("failed", exc_info=True)\n')
    assert gates.log_calls()[0] == (
        "livekit-agents/pool.py:2: logger.error('failed', exc_info=True)"
    )
