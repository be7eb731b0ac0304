"""The record of control runs."""

from pathlib import Path

import pytest
from procpool.base.errors import UserError
from procpool.suite.control import (
    Control,
    check_control,
    deviations,
    guards,
    load_control,
    load_controls,
)
from procpool.suite.outcomes import read_outcomes


def test_control_names_every_deviation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, patches = tmp_path / "report.xml", tmp_path / "patches"
    patches.mkdir()

    def write(**outcomes: str) -> None:
        cases = "".join(
            f'<testcase classname="t" name="{name}">{text}</testcase>'
            for name, text in outcomes.items()
        )
        report.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")

    def check(add: bool = False) -> bool:
        return check_control(report, "1.0.1", add, patches)

    failure, skipped = "<failure/>", "<skipped/>"
    write(breaks=failure, mends=failure, fine="", worse="", skips=failure, gone="")
    with pytest.raises(UserError, match="--record"):
        check()
    assert check(add=True)
    assert check()
    teardown, setup = '<error message="failed on teardown"/>', '<error message="failed on setup"/>'
    write(breaks=teardown, mends="", fine="", worse=failure, skips=skipped, new="", setup=setup)
    found = deviations(read_outcomes(report), load_control("1.0.1", patches))
    assert sorted(found) == [f"t::{n}" for n in ("gone", "mends", "new", "setup", "skips", "worse")]
    capsys.readouterr()
    assert not check() and len(capsys.readouterr().out.splitlines()) == 7
    # a second run on record: what came out otherwise may from now on come out either way
    write(breaks=failure, mends="", fine="", worse=failure, skips=failure, gone="")
    assert check(add=True)
    assert load_control("1.0.1", patches).either == ["t::mends", "t::worse"]
    assert check()
    write(breaks=failure, mends=failure, fine="", worse="", skips=failure, gone="")
    assert check() and check(add=True)
    assert load_control("1.0.1", patches).either == ["t::mends", "t::worse"]
    write(breaks=failure, mends=skipped, fine=failure, skips=failure, gone="")
    found = deviations(read_outcomes(report), load_control("1.0.1", patches))
    assert sorted(found) == ["t::fine", "t::mends", "t::worse"]
    write(fine="")
    with pytest.raises(UserError, match="proves nothing"):
        check()


def test_guards_pass_in_all_their_cases_on_every_release(lines: Path) -> None:
    (lines / "control").mkdir()
    for version, failed, passed, either in (
        ("2.0.0", ["m::test_c[y]"], ["m::test_b", "m::test_d"], []),
        ("1.0.0", ["m::test_a[1]"], ["m::test_a[2]", "m::test_b", "m::test_c[x]"], ["m::test_d"]),
    ):
        path = lines / "control" / f"{version}.toml"
        path.write_text(f"failed = {failed}\npassed = {passed}\neither = {either}\n")
    controls = load_controls(lines)
    assert list(controls) == ["1.0.0", "2.0.0"], "the oldest first"
    assert controls["2.0.0"] == Control(["m::test_c[y]"], ["m::test_b", "m::test_d"])
    assert guards(controls.values()) == {"test_b"}


@pytest.mark.parametrize("text", ["failed = [", 'failed = ["a"]'])
def test_a_record_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "1.0.1.toml").write_text(text)
    with pytest.raises(UserError, match=r"1\.0\.1\.toml: "):
        load_control("1.0.1", tmp_path)


def test_a_report_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pytest left no readable report"):
        read_outcomes(tmp_path / "absent.xml")
    (tmp_path / "cut.xml").write_text("<testsuites>")
    with pytest.raises(UserError, match="pytest left no readable report"):
        read_outcomes(tmp_path / "cut.xml")
