"""The mutants' file, where they apply, and what their runs say."""

from pathlib import Path

import pytest
from procpool.base.errors import UserError
from procpool.suite.control import guards, load_controls
from procpool.suite.mutants import (
    Mutant,
    load_mutants,
    main,
    mutants_of,
    spread,
    uncovered,
    verdict,
)
from procpool.suite.outcomes import Outcome

ID = "tests.regression.test_pool::test_it"


def mutant(
    name: str = "m", *lines: str, tests: tuple[str, ...] = ("test_pool.py::test_it",)
) -> Mutant:
    return Mutant(name, ["1", "LIMIT"], "pool.py", [["old", "new"]], list(tests), list(lines))


def test_the_projects_own_file_can_be_read() -> None:
    found = load_mutants()
    assert len(found) >= 30
    assert len(mutants_of(found, "1.0.0")) >= 30


def test_a_file_that_lacks_something_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mutants.toml"
    path.write_text('[[mutants]]\nname = "m"\n', "utf-8")
    with pytest.raises(UserError, match=r"mutants\.toml"):
        load_mutants(path)


def test_a_mutant_replaces_text_that_stands_there_once(tmp_path: Path) -> None:
    (tmp_path / "pool.py").write_text("an old pool\n", "utf-8")
    mutant().apply(tmp_path)
    assert (tmp_path / "pool.py").read_text("utf-8") == "an new pool\n"
    with pytest.raises(UserError, match="0 times"):
        mutant().apply(tmp_path)


def test_lines_choose_mutants() -> None:
    both = [mutant("here", "1.0.0"), mutant("there", "1.4.2"), mutant("everywhere")]
    assert [m.name for m in mutants_of(both, "1.0.0")] == ["here", "everywhere"]
    with pytest.raises(UserError, match="are named here"):
        mutants_of([mutant("here"), mutant("here", "1.0.0")], "1.0.0")


def test_promises_constants_and_guards_without_a_mutant_are_told() -> None:
    assert uncovered([mutant()], {"1", "2", "LIMIT"}, {"test_it", "test_that"}) == [
        "no mutant breaks 2",
        "no mutant fails the guard test_that",
    ]


@pytest.mark.parametrize(
    ("patched", "broken", "expected"),
    [
        ({ID: Outcome()}, {ID: Outcome(failed=True)}, "killed by test_it"),
        ({f"{ID}[1]": Outcome()}, {f"{ID}[1]": Outcome(failed=True)}, "killed by test_it[1]"),
        ({ID: Outcome()}, {}, "killed: no end within 300 s"),
        ({ID: Outcome()}, {ID: Outcome()}, "SURVIVES"),
        ({ID: Outcome()}, None, "does not apply"),
        ({f"{ID}_too": Outcome()}, {}, "there is no test test_pool.py::test_it"),
        ({ID: Outcome(failed=True)}, {}, "without it, test_it does not pass"),
    ],
)
def test_what_became_of_a_mutant(
    patched: dict[str, Outcome], broken: dict[str, Outcome] | None, expected: str
) -> None:
    assert verdict(mutant(), patched, broken) == expected


def test_guards_pass_on_every_release_on_record() -> None:
    found = guards(load_controls().values())
    assert "test_the_warm_path_is_short" in found
    assert "test_a_job_ends_when_no_process_can_start" not in found


def test_each_mutant_runs_on_one_release_that_it_is_for() -> None:
    chosen = spread({"1.0.1": ["a", "b", "c"], "1.8.9": ["a", "b", "new"], "2.0.0": ["new"]})
    assert sorted(name for names in chosen.values() for name in names) == ["a", "b", "c", "new"]
    assert "c" in chosen["1.0.1"] and chosen["2.0.0"] == {"new"}
    assert [len(names) for names in chosen.values()] == [2, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["newest"], "not a release: 'newest'; give one such as"),
        (["0.9.0"], r"no release line holds 0\.9\.0"),
        (["--only", "("], r"--only \(: not a regular expression"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        main(arguments)
