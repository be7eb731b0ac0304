"""Upstream's checks, on a made-up repository: pytest is the real one, ruff and mypy are made up."""

import sys
from pathlib import Path

import pytest
from packaging.version import Version
from procpool.base.errors import UserError
from procpool.upkeep.update_releases import render
from procpool.upstream import gates as gates_module
from procpool.upstream.gates import NEW_TESTS, Gates, git, make_environment, run_gates
from samples import release

WHO = ("-c", "user.name=x", "-c", "user.email=x@example.invalid")
# Says, for each tool, what a file beside it holds; the exit code is the file's first line.
PYTHON = """\
#!/bin/sh
if test "$2" = pytest; then exec {python} "$@"; fi
report="{folder}/$2-$(basename "$PWD")"
test -f "$report" || exit 0
tail -n +2 "$report"
exit "$(head -n 1 "$report")"
"""
PACKAGE = """\
[project]
requires-python = ">=3.10"
dependencies = ["aiohttp>=3"]
"""


def write(checkout: Path, **files: str) -> None:
    """Write files, named by their stems: a pool, the new tests and tests of upstream's."""
    paths = {
        "pool": "livekit-agents/pool.py",
        "new": NEW_TESTS,
        "upstream": "tests/test_ipc.py",
        "settings": "pyproject.toml",
        "package": "livekit-agents/pyproject.toml",
        "conftest": "conftest.py",
        "lock": "uv.lock",
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


@pytest.fixture
def gates(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gates:
    """Return the gates of a branch that brings two fixes, each followed by its test."""
    base, branch = tmp_path / "base", tmp_path / "branch"
    write(
        base,
        pool="DONE = []\n",
        upstream="def test_upstream(): ...\n",
        settings="",
        package=PACKAGE,
    )
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
    monkeypatch.setattr(gates_module, "make_environment", lambda *_: python)
    # each pytest that is started in the tests starts sooner without its plugins, and unmeasured
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return Gates(branch, base, folder, tmp_path / "patches")


def test_a_branch_that_is_as_it_should_be(gates: Gates, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_gates(gates.branch, gates.base, gates.folder, Path()) == []
    captured = capsys.readouterr()
    assert captured.err == ""
    said = [line.partition(" in ")[0] for line in captured.out.splitlines()]
    assert said == [
        "installing upstream's tools",
        "ruff format: passed",
        "ruff check: passed",
        "mypy: passed",
        "log calls: passed",
        "tests: passed",
        "new tests on the base: passed",
        "new tests before each fix: passed",
    ]
    for remark in (
        "3 passed in tests/test_ipc.py, tests/test_proc_pool.py",
        "2 of 2 fail without the fix",
        "each of 2 fixes is what its test needs",
        "0 new log calls in 1 files",
    ):
        assert f", {remark}\n" in captured.out


def test_what_fails_is_named(gates: Gates, capsys: pytest.CaptureFixture[str]) -> None:
    (gates.folder / "ruff-branch").write_text("1\npool.py: unused import\n")
    assert run_gates(gates.branch, gates.base, gates.folder, Path()) == [
        "ruff format",
        "ruff check",
    ]
    captured = capsys.readouterr()
    assert "ruff check: FAILED in " in captured.out
    assert captured.err.count("pool.py: unused import\n") == 2


def test_errors_of_the_base_do_not_count(gates: Gates) -> None:
    (gates.folder / "mypy-branch").write_text("1\na.py:9: error: old\nb.py:1: note: see\n")
    (gates.folder / "mypy-base").write_text("1\na.py:7: error: old\n")
    assert gates.mypy() == ("", "1 errors, as on the base")
    (gates.folder / "mypy-branch").write_text("1\na.py:9: error: old\na.py:10: error: new\n")
    assert gates.mypy()[0] == "a.py: error: new"


@pytest.mark.parametrize("report", ["2\nmypy: can't read file", "1\nno error line"])
def test_mypy_that_cannot_run(gates: Gates, report: str) -> None:
    (gates.folder / "mypy-branch").write_text(report)
    with pytest.raises(UserError, match="mypy failed: "):
        gates.mypy()


def test_a_test_of_upstreams_may_fail_beside_others_only(gates: Gates) -> None:
    text = "import os\ndef test_upstream():\n    assert os.environ.get('LK_TEST_CONCURRENCY')\n"
    for checkout in (gates.branch, gates.base):
        write(checkout, upstream=text)
    wrong, remark = gates.tests()
    name = "tests.test_ipc::test_upstream"
    assert wrong == ""
    assert remark.endswith(
        f"; one at a time, as side by side {name} did not pass; on the base: {name}"
    )
    write(gates.branch, upstream="def test_upstream():\n    assert False\n")
    wrong, _ = gates.tests()
    assert wrong.endswith(f"\nnot passed: {name}")


def test_a_new_test_must_pass_beside_others(gates: Gates) -> None:
    text = "import os\ndef test_new():\n    assert os.environ.get('LK_TEST_CONCURRENCY')\n"
    write(gates.branch, new=text)
    wrong, _ = gates.tests()
    assert wrong.endswith("\nnot passed: tests.test_proc_pool::test_new")


def test_a_new_test_must_fail_on_the_base(gates: Gates) -> None:
    write(gates.base, new=new_tests("one") + "def test_any(): ...\n")
    wrong, remark = gates.tests_on_base()
    assert wrong.endswith("\ndid not fail: tests.test_proc_pool::test_any")
    assert remark == "1 of 2 fail without the fix"


def test_each_fix_is_needed_by_its_own_test(gates: Gates) -> None:
    write(gates.branch, pool="DONE = ['one', 'two', 'three']\n")
    commit(gates.branch, "fix three")
    write(gates.branch, new=new_tests("one", "two", "three") + "def test_any(): ...\n")
    commit(gates.branch, "test three")
    wrong, _ = gates.each_commit()
    assert wrong.endswith("\nbefore 'fix three' failed: tests.test_proc_pool::test_three")


def test_a_fix_whose_test_passes_without_it(gates: Gates) -> None:
    commit(gates.branch, "fix nothing")
    write(gates.branch, new=new_tests("one", "two") + "def test_any(): ...\n")
    commit(gates.branch, "test any")
    wrong, _ = gates.each_commit()
    assert wrong.endswith("\nbefore 'fix nothing' failed: none")


def test_upstreams_unit_gate_is_asked_for(gates: Gates) -> None:
    write(
        gates.branch,
        settings='[tool.pytest.ini_options]\nmarkers = ["unit: select with --unit"]\n',
        conftest="def pytest_addoption(parser): parser.addoption('--unit', action='store_true')\n",
        new="def test_unit(request):\n    assert request.config.getoption('--unit')\n",
    )
    assert gates.tests()[0] == ""


def test_a_run_without_a_test_proves_nothing(gates: Gates, monkeypatch: pytest.MonkeyPatch) -> None:
    write(gates.base, new="# none\n")
    with pytest.raises(UserError, match="pytest ran no test: no tests ran"):
        gates.tests_on_base()
    monkeypatch.setattr(gates_module, "_TIMEOUT", -1)  # over before it begins
    with pytest.raises(UserError, match=r"ruff format did not end within -1 s"):
        gates.ruff_format()


def test_a_new_log_call_holds_nothing_of_a_job(gates: Gates) -> None:
    old = 'logger.error(f"{job} failed")\n'
    write(gates.base, pool=old)
    write(gates.branch, pool=f'{old}logger.error("failed", extra={{"job_id": job_id}})\n')
    assert gates.log_calls() == ("", "1 new log calls in 1 files")
    write(gates.branch, pool=f'{old}logger.error("failed", exc_info=True)\n')
    assert gates.log_calls()[0] == (
        "livekit-agents/pool.py:2: logger.error('failed', exc_info=True)"
    )


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Return the calls of uv, which does nothing; 3.11 and 3.13 are installed."""
    calls: list[tuple[str, ...]] = []
    installed = {Version(v): f"/python{v}" for v in ("3.13.0", "3.11.7")}
    monkeypatch.setattr(gates_module, "uv", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(gates_module, "installed_pythons", lambda: installed)
    return calls


@pytest.mark.parametrize(
    ("settings", "tools"),
    [
        (
            "[dependency-groups]\ndev = []\ntyping = []\ndocs = []\n",
            ["--only-group=dev", "--only-group=typing"],
        ),
        ("[dependency-groups]\ndev = []\n", ["--only-group=dev"]),
        ("", ["--only-dev"]),
    ],
)
def test_tools_are_those_of_the_lock_file(
    tmp_path: Path, uv: list[tuple[str, ...]], settings: str, tools: list[str]
) -> None:
    write(tmp_path, settings=settings, package=PACKAGE, lock='requires-python = ">=3.9,<3.13"\n')
    python = make_environment(tmp_path, tmp_path / "work", tmp_path)
    assert python == tmp_path / "work" / "environment" / "bin" / "python"
    venv, package, dev, install = uv
    assert venv[-2] == "/python3.11.7", "the lock file allows no 3.13"
    assert package[0] == dev[0] == "export" and "livekit-agents" in package
    assert list(dev[-len(tools) - 2 : -2]) == tools
    assert [Path(word).name for word in install if word.endswith(".txt")] == [
        "package.txt",
        "tools.txt",
    ]


def test_without_a_lock_file_the_day_of_the_newest_release_counts(
    tmp_path: Path, uv: list[tuple[str, ...]]
) -> None:
    (tmp_path / "releases.toml").write_text(render([release()]))
    write(tmp_path, settings='[dependency-groups]\ndev = ["ruff==1"]\n', package=PACKAGE)
    make_environment(tmp_path, tmp_path / "work", tmp_path)
    venv, dated, tools = uv
    assert venv[-2] == "/python3.13.0"
    assert "2026-05-21T00:00:00Z" in dated and dated[-1] == "aiohttp>=3"
    assert tools[-1] == "ruff==1"
