"""Running the suite on a release: which Pythons, which tests, and what is said of it."""

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PATCH
from packaging.version import Version
from procpool.base.errors import UserError
from procpool.catalog.releases import REPORTED
from procpool.catalog.series import Series
from procpool.suite import environment, run, times
from procpool.suite.environment import make_environment, timed
from procpool.suite.plan import load_plan
from procpool.suite.run import SIDE_BY_SIDE, Target, main, prepare, run_suite, suite_passes
from procpool.suite.times import read_runs
from procpool.upkeep.update_releases import render
from samples import release

MakeSeries = Callable[..., Series]
REPORT = """\
<testsuites><testsuite time="12.5">
<testcase classname="tests.regression.test_a" name="test_one[x]" time="2.5"/>
<testcase classname="tests.regression.test_a" name="test_one[y]" time="4"/>
<testcase classname="tests.regression.test_b" name="test_two" time="1"/>
</testsuite></testsuites>
"""


@pytest.fixture
def patches(make_series: MakeSeries) -> Path:
    """Return a folder of patches for 1.0.1 to 1.0.4 and a preview; two have the same pool."""
    folder = make_series(PATCH).folder
    rows = [
        dataclasses.replace(release(version), pool_sha256=text * 64)
        for version, text in zip(("1.0.1", "1.0.2", "1.0.3", "1.0.4"), "1112", strict=True)
    ]
    (folder / "releases.toml").write_text(render([*rows, release("1.1.0b1")]))
    return folder


def test_all_tests_run_at_the_ends_of_a_text(patches: Path) -> None:
    plan = load_plan(patches)
    assert plan.versions == ["1.0.1", "1.0.2", "1.0.3", "1.0.4", "1.1.0b1"]
    assert plan.whole == {"1.0.1", "1.0.3", "1.0.4", "1.1.0b1", REPORTED}
    assert plan.quick == ["1.0.4"]
    assert plan.quick_whole == {"1.0.4", REPORTED}
    assert plan.both == {"1.0.1", "1.0.4", "1.1.0b1"}
    assert plan.pythons("1.0.1") == ["oldest", "newest"] and plan.pythons("1.0.2") == ["newest"]
    (patches / "releases.toml").unlink()
    assert load_plan(patches).versions == [REPORTED]


class Runs:
    """Stands for `run_suite`: notes what it is called with, and ends with the given codes."""

    def __init__(self, *codes: int) -> None:
        self.codes, self.calls = list(codes), list[tuple[Target, tuple[str, ...]]]()

    def __call__(
        self, target: Target, *arguments: str, quiet: bool = False
    ) -> subprocess.CompletedProcess[str]:
        self.calls.append((target, arguments))
        code = self.codes.pop(0)
        return subprocess.CompletedProcess([], code, f"...\n=== {3 - code} passed in 1 s ===\n")


def test_the_suite_runs_on_the_pythons_of_the_plan(
    patches: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Runs(0, 0, 0, 1, 0, 0)
    monkeypatch.setattr(run, "run_suite", runs)
    assert main(["1.0.1", "-k", "close", "--patches", str(patches)]) == 0
    assert [(t.python, a) for t, a in runs.calls] == [
        ("oldest", (*SIDE_BY_SIDE, "-k", "close")),
        ("newest", (*SIDE_BY_SIDE, "-k", "close")),
    ]
    assert main(["1.0.2", "--python", "3.10", "--patches", str(patches)]) == 0
    assert "leaving out the costly tests" in capsys.readouterr().out
    target, arguments = runs.calls[-1]
    assert target.python == "3.10"
    assert arguments == (*SIDE_BY_SIDE, "--sample=8", "-m", "not costly")
    assert target.series is not None and target.path.name == "patched-1.0.2-3.10"
    assert main(["1.0.4", "--patches", str(patches)]) == 1
    said = capsys.readouterr().out
    assert said == 'to repeat: nox -s "apply-and-test(1.0.4)" -- --python oldest\n'
    for version, sample in (("1.0.3", ("--sample=4",)), ("1.0.4", ())):
        assert main([version, "--quick", "--patches", str(patches)]) == 0
        target, arguments = runs.calls[-1]
        assert target.python == "newest"
        assert arguments == (*SIDE_BY_SIDE, *sample, "-m", "not costly")


def test_a_control_run_is_compared_with_its_record(
    patches: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, checked = Runs(1, 1), list[tuple[Any, ...]]()

    def check(*arguments: Any) -> bool:
        checked.append(arguments)
        return len(checked) == 1

    monkeypatch.setattr(run, "run_suite", runs)
    monkeypatch.setattr(run, "check_control", check)
    assert main(["1.0.1", "--control", "--record", "--patches", str(patches)]) == 0
    target, arguments = runs.calls[0]
    assert target.series is None and target.python == "newest" and arguments[0] == "--unpatched"
    assert checked == [(target.report, "1.0.1", True, patches)]
    assert main(["1.0.1", "--control", "--patches", str(patches)]) == 1
    assert 'nox -s "control(1.0.1)" -- --python newest' in capsys.readouterr().out
    with pytest.raises(UserError, match="--record is for control runs"):
        main(["1.0.1", "--record", "--patches", str(patches)])


def test_the_suite_passes_if_it_passes_on_both_pythons(
    make_series: MakeSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = make_series(PATCH)
    for codes, passed in (((0, 0), True), ((0, 1), False), ((1, 0), False)):
        monkeypatch.setattr(run, "run_suite", Runs(*codes))
        assert suite_passes(release(), series, tmp_path) == (
            passed,
            f"oldest Python: {3 - codes[0]} passed in 1 s;"
            f" newest Python: {3 - codes[1]} passed in 1 s",
        )


@pytest.fixture
def target(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Return a run of the suite on a fetched wheel; no environment is made."""
    installed = {Version("3.12.1"): "/python3.12"}
    monkeypatch.setattr(run, "installed_pythons", lambda: installed)
    monkeypatch.setattr(run, "fetch", lambda release: wheel)
    monkeypatch.setattr(run, "make_environment", lambda *_: Path("/environment/python"))
    made = Target(release(), None, "oldest", tmp_path / "runs")
    made.path.mkdir(parents=True)
    return made


def test_an_environment_is_prepared(
    target: Target,
    wheel: Path,
    make_series: MakeSeries,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert prepare(target) == Path("/environment/python")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("notice: Python 3.10, the oldest that 1.0.1 supports, is not installed")
    assert second.startswith(f"{wheel.name}: Python /python3.12, dependencies as of 2026-05-21")
    assert json.loads((target.path / run.TIMES).read_text()).keys() == {"fetch"}
    built: list[Path] = []

    def build(release: object, series: object, folder: Path) -> Path:
        built.append(folder)
        return folder / "patched.whl"

    monkeypatch.setattr(run, "build_release", build)
    patched = dataclasses.replace(target, series=make_series(PATCH), python="newest")
    patched.path.mkdir()
    prepare(patched)
    assert built == [patched.path.with_name("patched-1.0.1-newest-wheel")]
    assert "patched.whl: Python" in capsys.readouterr().err
    assert json.loads((patched.path / run.TIMES).read_text()).keys() == {"fetch", "patch and build"}


def test_an_old_report_does_not_stay(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    target.report.write_text("old")
    commands: list[list[str]] = []

    def fake(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        assert not target.report.exists()
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("procpool.suite.run.subprocess.run", fake)
    assert run_suite(target, "-x").returncode == 0
    [command] = commands
    assert command[:3] == ["/environment/python", "-m", "pytest"] and command[-1] == "-x"
    assert f"--junitxml={target.report}" in command


def test_releases_with_the_same_requirements_share_an_environment(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []

    def uv(*arguments: str) -> None:
        calls.append(arguments)
        if arguments[0] == "venv":
            path = Path(arguments[-1])
            (path / "lib" / "python3.12" / "site-packages").mkdir(parents=True, exist_ok=True)
            (path / "bin").mkdir(exist_ok=True)
            (path / "bin" / "python").touch()

    monkeypatch.setattr(environment, "uv", uv)
    spent: dict[str, float] = {}
    first = make_environment(release(), wheel, "/python3.12", tmp_path / "one", spent)
    assert spent.keys() == {"dependencies", "install"}
    assert first == tmp_path / "one" / "bin" / "python"
    dated = [call for call in calls if "--exclude-newer" in call]
    assert len(dated) == 1 and "2026-05-21T00:00:00Z" in dated[0]
    assert len(calls) == 5
    make_environment(release(), wheel, "/python3.12", tmp_path / "two")
    assert len(calls) == 7, "the dependencies are there"
    [link] = (tmp_path / "two").rglob("dependencies.pth")
    assert Path(link.read_text().strip()).is_dir()
    make_environment(release(), wheel, "/python3.11", tmp_path / "three")
    assert len(calls) == 12, "another Python needs dependencies of its own"


def test_time_counts_also_when_it_fails() -> None:
    spent: dict[str, float] = {}
    for _ in range(2):
        with pytest.raises(UserError), timed(spent, "fetch"):
            raise UserError("no")
    assert spent["fetch"] >= 0


def test_where_the_time_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="no run of the suite is on record"):
        read_runs(tmp_path)
    (tmp_path / "patched-1.0.1-newest.xml").write_text(REPORT)
    (tmp_path / "patched-1.0.1-newest").mkdir()
    (tmp_path / "patched-1.0.1-newest" / run.TIMES).write_text('{"fetch": 12.5}')
    (tmp_path / "patched-1.0.2-newest.xml").write_text(REPORT)
    assert times.main(["--folder", str(tmp_path), "--top", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 runs, by phase",
        "     25.0 s  66.7 %  suite",
        "",
        "slowest runs",
        "     25.0 s  66.7 %  1.0.1-newest",
        "",
        "slowest tests, with their fixtures",
        "     13.0 s  34.7 %  test_a::test_one",
    ]
