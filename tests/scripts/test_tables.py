"""What is computed: the tables, and the check that one is stale."""

import json
from pathlib import Path

import pytest
from procpool.base.errors import UserError
from procpool.upkeep import tables
from procpool.upkeep.tables import controls_text, lines_table, main, with_revisions

CONTROL = """\
failed = ["tests.regression.test_a::test_a_job_ends[x]", "tests.regression.test_a::test_always"]
passed = ["tests.regression.test_a::test_a_job_ends[y]", "tests.regression.test_a::test_guard"]
either = ["tests.regression.test_a::test_race"]
"""


@pytest.fixture
def project(lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a project with the made-up releases, whose tables are empty."""
    root = tmp_path / "lines"
    (root / "scripts").mkdir()
    begin, end = tables._LINES
    lines_of = f"Install 1.0.1+procpool.9.\n{begin}\n{end}\n"
    begin, end = tables._FIGURES
    figures_of = f"{begin}\n{end}\n"
    begin, end = tables._CALLS
    (root / "README.md").write_text(f"{lines_of}{figures_of}{begin}\n{end}\nafter\n")
    begin, end = tables._REQUEST
    (root / "PR_DESCRIPTION.md").write_text(f"{begin}\nold\n{end}\n")
    (root / "benchmarks").mkdir()
    begin, end = tables._POOLS
    (root / "scripts" / "doctor.py").write_text(f"{begin}\n{end}\n")
    (lines / "control").mkdir()
    (lines / "control" / "1.0.1.toml").write_text(CONTROL)
    monkeypatch.setattr(tables, "ROOT", root)
    return root


def test_stale_tables_are_named_and_written(
    project: Path, lines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--patches", str(lines)]
    names = (
        "README.md, PR_DESCRIPTION.md, benchmarks/README.md, benchmarks/e2e.md, scripts/doctor.py,"
        " patches/control/README.md"
    )
    with pytest.raises(UserError, match=f"stale: {names}: run 'nox -s tables'"):
        main([*arguments, "--check"])
    assert not (lines / "control" / "README.md").exists()
    assert main(arguments) == 0 and capsys.readouterr().out == f"written: {names}\n"
    assert main([*arguments, "--check"]) == 0
    assert capsys.readouterr().out == "the tables are up to date\n"
    readme = (project / "README.md").read_text()
    assert readme.startswith("Install 1.0.1+procpool.1.\n") and readme.endswith("after\n")
    doctor = (project / "scripts" / "doctor.py").read_text().splitlines()
    rows = [line.split()[:3] for line in doctor if line.count(" ") > 2 and line[:1].isdigit()]
    assert "1.0.0 1.0.1 2.0.0" in doctor
    assert rows[:3] == [
        ["1.0.0", "1.0.0", "v1.0.0"],
        ["1.0.1", "1.0.1", "v1.0.0"],
        ["2.0.0", "2.0.0", "v2.0.0"],
    ]
    assert {tuple(row) for row in rows[3:]} >= {("1", "1.0.0", "1.0.0"), ("1", "2.0.0", "2.0.0")}


def test_a_line_says_what_breaks_where(project: Path, lines: Path) -> None:
    [row, _, previews] = lines_table(lines).splitlines()[2:]
    assert "| 1.0.0 to 2.0.0 (3) | all | 2 of 5 tests on 1.0.1 |" in row
    assert "[v1.0.0](patches/v1.0.0), [v2.0.0](patches/v2.0.0)" in row
    assert previews == "Previews: none."
    table = lines / "releases.toml"
    text = (
        table.read_text().replace('"2.0.0"', '"2.0.0b1"').replace("yanked = false", "yanked = true")
    )
    table.write_text(text)
    [row, _, previews] = lines_table(lines).splitlines()[2:]
    assert "| 1.0.0 to 1.0.1 (2); yanked: 1.0.0, 1.0.1 |" in row
    assert previews.startswith(
        "Previews: 2.0.0b1 ([v2.0.0](patches/v2.0.0), `livekit_agents-2.0.0-"
    )
    (lines / "control" / "1.0.1.toml").unlink()
    assert "| no control run on record |" in lines_table(lines)


def test_each_test_has_a_row(project: Path, lines: Path) -> None:
    assert controls_text(lines).splitlines()[-6:] == [
        "| test | 1.0.1 |",
        "| --- | --- |",
        "| a job ends | 1 of 2 |",
        "| always | 1 of 1 |",
        "| guard (guard) | - |",
        "| race | 0 to 1 of 1 |",
    ]


def test_figures_keep_the_wheels_that_they_are_of(
    project: Path, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "readme_part", lambda figures: "measured: 1.0.1+procpool.0\n")
    assert main(["--patches", str(lines)]) == 0
    readme = (project / "README.md").read_text()
    assert "Install 1.0.1+procpool.1.\n" in readme and "measured: 1.0.1+procpool.0\n" in readme


def test_what_readme_shows_of_an_older_revision_is_named(project: Path, lines: Path) -> None:
    def record(shown: int, script: int) -> None:
        of = {"1.0.1": {"version": "1.0.1"}}
        parts = {
            name: {"releases": of | {"2.0.0 patched": {"version": f"2.0.0+procpool.{revision}"}}}
            for name, revision in (("waiting", shown), ("script", script))
        }
        text = json.dumps({"measurements": parts})
        (project / "benchmarks" / "results.json").write_text(text)

    def calls(revision: int) -> None:
        found = {"releases": {"1.0.1": f"1.0.1+procpool.{revision}"}, "command": "nox -s e2e -- it"}
        (project / "benchmarks" / "e2e.json").write_text(json.dumps(found))

    record(1, 0)
    calls(1)
    assert tables.outdated(lines) == [], "README shows no others"
    record(0, 1)
    calls(0)
    assert tables.outdated(lines) == [
        "benchmarks/results.json: 2.0.0+procpool.0: run 'nox -s bench -- --only waiting'",
        "benchmarks/e2e.json: 1.0.1+procpool.0: run 'nox -s e2e -- it'",
    ]


def test_the_check_wants_what_readme_shows_to_be_of_the_newest_revision(
    project: Path, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--patches", str(lines)]) == 0
    monkeypatch.setattr(tables, "outdated", lambda patches: ["it: run 'nox -s bench'"])
    assert main(["--patches", str(lines)]) == 0, "they are written as they are"
    with pytest.raises(UserError, match="not of the newest revision: it: run 'nox"):
        main(["--patches", str(lines), "--check"])


def test_a_patched_version_of_no_release_is_refused(lines: Path) -> None:
    with pytest.raises(UserError, match=r"1\.0\.7 is not supported"):
        with_revisions("1.0.7+procpool.1", lines)
