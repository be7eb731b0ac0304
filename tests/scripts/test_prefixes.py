"""What the runs of a series' first patches say."""

from procpool.suite.outcomes import Outcome
from procpool.suite.prefixes import compare, faults, still_broken, table


def run(**failed: bool | str) -> dict[str, Outcome]:
    """A run in which each test failed, passed, or was not run for a reason."""
    return {
        name: Outcome(not_run=how) if isinstance(how, str) else Outcome(failed=how)
        for name, how in failed.items()
    }


def test_each_patch_turns_a_test_green() -> None:
    rows = compare(
        ["none", "one", "two"], [run(a=True, b=True), run(a=False, b=True), run(a=False, b=False)]
    )
    assert [row.greened for row in rows] == [set(), {"a"}, {"b"}]
    assert faults(rows) == []
    assert table("1.8.9", rows).splitlines()[2].split() == ["1", "one", "1", "1", "0"]


def test_a_patch_that_no_test_needs_is_a_fault() -> None:
    rows = compare(["none", "one", "two"], [run(a=True), run(a=False), run(a=False)])
    assert faults(rows) == ["two: no test needs it"]


def test_a_patch_that_breaks_what_a_later_one_mends_is_a_fault() -> None:
    rows = compare(
        ["none", "one", "two"], [run(a=True, b=False), run(a=False, b=True), run(a=False, b=False)]
    )
    assert faults(rows) == ["one: breaks b"]


def test_what_fails_in_the_end_is_a_fault() -> None:
    rows = compare(["none", "one"], [run(a=True, b=True), run(a=False, b=True)])
    assert faults(rows) == ["all patches: b fails"]


def test_a_test_that_was_not_run_is_not_compared() -> None:
    rows = compare(["none", "one"], [run(a=True, b="skipped"), run(a=False, b=True)])
    assert rows[1].reddened == set()


def test_what_breaks_only_once_is_chance() -> None:
    rows = compare(
        ["none", "one"],
        [run(a=True, b=False, c=False, d=False), run(a=False, b=True, c=True, d=True)],
    )
    again = {"none": run(b=False, c=True, d=False), "one": run(b=True, c=True, d=False)}
    assert still_broken(rows, again)[1].reddened == {"b"}


def test_what_is_not_run_again_is_not_said_to_be_broken() -> None:
    rows = compare(["none", "one"], [run(a=False), run(a=True)])
    assert still_broken(rows, {"one": run(a=True)})[1].reddened == set()
