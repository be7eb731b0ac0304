"""The runs of the suite on variants of a release: prefixes of its series, and mutants."""

import argparse
import contextlib
import dataclasses
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PATCH, POOL, POOL_TEXT
from packaging.version import Version
from procpool.base.errors import UserError
from procpool.catalog.series import Series
from procpool.patching.steps import pristine_files, write_files
from procpool.suite import mutants as mutants_module
from procpool.suite import prefixes, trials
from procpool.suite.mutants import (
    Mutant,
    constants,
    run_mutants,
)
from procpool.suite.outcomes import Outcome
from procpool.suite.trials import PRISTINE, Bench, Trial, make_bench, one_of_each_line
from samples import release

MakeSeries = Callable[..., Series]
Runs = dict[str, dict[str, Outcome]]
PASSED, FAILED, SKIPPED = Outcome(), Outcome(failed=True), Outcome(not_run="skipped")
MUTANT = Mutant(
    name="two is one",
    breaks=["1"],
    file=POOL,
    change=[["line two\n", "line 2\n"]],
    tests=["test_a.py::test_two", "test_a.py::test_guard"],
    lines=["1.0.0"],
)


@pytest.fixture
def project(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Path], bool]], Path]:
    """Return a function that makes the made-up releases the project's.

    Its argument says of a tree whether the one test of the suite, `t`, passes there.
    """

    def make(passes: Callable[[Path], bool]) -> Path:
        def run(bench: Bench, trials: Iterable[Trial], at_once: int) -> Runs:
            name = "tests.regression.test_a::test_two"
            return {
                trial.name: {name: PASSED if passes(bench.tree(trial.name)) else FAILED}
                for trial in trials
            }

        @contextlib.contextmanager
        def bench(release: Any) -> Iterator[Bench]:
            with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
                made = Bench(release, Path(folder), Path("/python"))
                write_files(made.tree(PRISTINE), pristine_files(release))
                yield made

        monkeypatch.setattr(Bench, "run", run)
        for module in (prefixes, mutants_module):
            monkeypatch.setattr(module, "make_bench", bench)
        return lines

    return make


def test_a_series_is_run_patch_by_patch(
    project: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    patches = project(lambda tree: "\nsecond\n" in (tree / POOL).read_text())
    arguments = ["2.0.0", "--patches", str(patches)]
    assert prefixes.main(arguments) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:] for line in lines[1:4]] == [
        ["pristine", "1", "0", "0"],
        ["first", "1", "0", "0"],
        ["second", "0", "1", "0"],
    ]
    assert lines[4:] == ["2.0.0, first: no test needs it"]


def test_what_a_patch_breaks_is_run_again_before_and_after_it(
    project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = project(lambda tree: "\nfirst\n" not in (tree / POOL).read_text())
    run, trials = Bench.run, []

    def note(bench: Bench, wanted: Iterable[Trial], at_once: int) -> Runs:
        wanted = list(wanted)
        trials.append([(trial.name, trial.arguments[-1]) for trial in wanted])
        return run(bench, wanted, at_once)

    monkeypatch.setattr(Bench, "run", note)
    assert prefixes.main(["2.0.0", "--patches", str(patches)]) == 1
    test = "tests/regression/test_a.py::test_two"
    assert trials[1:] == [[(PRISTINE, test), ("first", test)]] * prefixes.AGAIN


def test_a_prefix_that_does_not_end_is_named(
    project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = project(lambda tree: True)
    ran = {PRISTINE: {"t": FAILED}, "first": {}, "second": {"t": PASSED}}
    monkeypatch.setattr(Bench, "run", lambda *_: ran)
    with pytest.raises(UserError, match=r"^2\.0\.0, first: the suite took more than 1800 s$"):
        prefixes.main(["2.0.0", "--every-case", "--patches", str(patches)])


def test_constants_of_a_series(make_series: MakeSeries) -> None:
    text = PATCH.replace("+line two\n", "+DELAY = 1\n").replace("+line twenty-two", "+delay = 2")
    assert constants(make_series(text)) == {"DELAY"}


def test_mutants_are_run_on_the_patched_release(
    project: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    patches = project(lambda tree: "\nsecond\n" in (tree / POOL).read_text())
    killed = dataclasses.replace(
        MUTANT, name="no second", change=[["\nsecond\n", "\n2nd\n"]], tests=["test_a.py::test_two"]
    )
    survives = dataclasses.replace(killed, name="no first", change=[["\nfirst\n", "\n1st\n"]])
    unfit = dataclasses.replace(killed, name="unfit", change=[["no such line", ""]])
    monkeypatch.setattr(mutants_module, "load_mutants", lambda: [killed, survives, unfit])
    monkeypatch.setattr(mutants_module, "PROMISES", {"1"})
    arguments = ["2.0.0", "--patches", str(patches)]
    assert mutants_module.main(arguments) == 1
    unfit_row, summary, *rows = capsys.readouterr().out.splitlines()
    assert unfit_row.startswith("2.0.0, unfit: ") and summary == "2.0.0: 1 of 3 mutants killed"
    assert [row.split(" 1 ")[-1].strip() for row in rows] == [
        "killed by test_two",
        "SURVIVES",
        "does not apply",
    ]
    assert mutants_module.main([*arguments, "--only", "second"]) == 0
    monkeypatch.setattr(mutants_module, "PROMISES", {"1", "2"})
    assert mutants_module.main([*arguments, "--only", "second"]) == 1
    assert "no mutant breaks 2" in capsys.readouterr().out


def test_mutants_need_a_suite_that_runs_without_them(
    project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = project(lambda tree: True)
    monkeypatch.setattr(Bench, "run", lambda *_: {mutants_module.PATCHED: {}})
    with pytest.raises(UserError, match="do not run without them"):
        run_mutants("2.0.0", [], argparse.Namespace(patches=patches, at_once=1))


def test_a_variant_shares_the_files_that_it_does_not_change(tmp_path: Path) -> None:
    bench = Bench(release(), tmp_path, Path("/python"))
    (bench.tree("one") / "a").mkdir(parents=True)
    (bench.tree("one") / "a" / "file").write_text("text")
    copy = bench.copy("two", "one") / "a" / "file"
    assert copy.samefile(bench.tree("one") / "a" / "file")


def test_trials_are_given_to_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(release(), tmp_path, Path("/python"))
    report = '<testsuite><testcase classname="t" name="one"><failure/></testcase></testsuite>'
    plans: list[dict[str, Any]] = []
    begun = True

    def run(command: list[str], input: str, **options: object) -> None:
        plans.append(json.loads(input))
        for trial in plans[-1]["trials"]:
            if begun:
                Path(f"{trial['report']}.txt").touch()
            if trial["tree"].endswith("one"):
                Path(trial["report"]).write_text(report)

    monkeypatch.setattr("procpool.suite.trials.subprocess.run", run)
    both = [Trial("one", ["-x"], 5), Trial("two", [], 5)]
    assert bench.run(both, 2) == {"one": {"t::one": FAILED}, "two": {}}
    assert plans[0]["at_once"] == 2 and plans[0]["trials"][0]["arguments"] == ["-x"]
    begun = False
    for log in tmp_path.glob("*.txt"):
        log.unlink()
    with pytest.raises(UserError, match="the suite could not be run"):
        bench.run(both, 2)


def test_a_bench_holds_the_pristine_release(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "fetch", lambda release: wheel)
    monkeypatch.setattr(
        trials, "pristine_files", lambda release: {POOL: POOL_TEXT.encode(), "no": None}
    )
    monkeypatch.setattr(trials, "installed_pythons", lambda: {Version("3.12.1"): "/python3.12"})
    asked: list[tuple[object, ...]] = []

    def make(*arguments: object) -> Path:
        asked.append(arguments)
        return tmp_path / "python"

    monkeypatch.setattr(trials, "make_dependencies", make)
    monkeypatch.setattr(
        "procpool.suite.trials.subprocess.run",
        lambda command, **_: subprocess.CompletedProcess(command, 1),
    )
    monkeypatch.setattr(trials, "RUNS", tmp_path)
    with make_bench(release()) as bench:
        assert bench.interpreter == tmp_path / "python" and "/python3.12" in asked[0]
        assert (bench.tree(PRISTINE) / POOL).read_text() == POOL_TEXT
    assert not bench.folder.exists()


def test_one_release_of_each_line(lines: Path) -> None:
    assert one_of_each_line(lines) == []
    (lines / "control").mkdir()
    for version in ("1.0.0", "1.0.1"):
        (lines / "control" / f"{version}.toml").touch()
    (lines / "lines.toml").write_text(
        '[[lines]]\nfirst = "1.0.0"\nlacks = "all"\n[[lines]]\nfirst = "2.0.0"\nlacks = "less"\n'
    )
    assert one_of_each_line(lines) == ["1.0.1"]
