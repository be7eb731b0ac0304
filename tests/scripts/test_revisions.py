"""revisions: the number rises when, and only when, a text has changed, and is described."""

import hashlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import POOL
from procpool.base.errors import UserError
from procpool.base.git import git
from procpool.catalog.series import load_all_series, load_revisions, parse_revisions
from procpool.editing.edit import make_tree
from procpool.editing.revisions import code_sha256, committed, main, sections

MakeMain = Callable[..., int]
WHO = {
    f"GIT_{role}_{field}": "b@example.invalid"
    for role in ("AUTHOR", "COMMITTER")
    for field in ("NAME", "EMAIL")
}


@pytest.fixture
def run(lines: Path) -> MakeMain:
    """Return a function that runs the script on `lines`."""

    def run_on(*arguments: str, patches: Path = lines) -> int:
        return main(["--patches", str(patches), *arguments])

    return run_on


def describe(lines: Path) -> None:
    """Give every empty section of the changelog an item."""
    path = lines.parent / "CHANGELOG.md"
    parts = path.read_text().split("\n## ")
    described = [p if "\n- " in p else f"{p.rstrip()}\n\n- A change.\n" for p in parts[1:]]
    path.write_text("\n## ".join([parts[0], *described]))


def change(lines: Path, series: str, line: str = "changed") -> None:
    """Let the patch "second" of the series, and of no other, put `line` in place of its line."""
    text, listing = lines / "second" / f"{series}.patch", lines / series / "series"
    shared = (lines / "second" / "v1.0.0.patch").read_text()
    text.write_text(re.sub(r"^\+(second|changed.*)$", f"+{line}", shared, flags=re.MULTILINE))
    listing.write_text(re.sub(r"second/.*", f"second/{series}.patch", listing.read_text()))


def commit(lines: Path) -> None:
    git(lines.parent, "add", "--all")
    git(lines.parent, "commit", "--message", "a change", **WHO)


def revisions(lines: Path) -> dict[str, int]:
    return {series.name: series.revision for series in load_all_series(lines)}


@pytest.fixture
def recorded(lines: Path, run: MakeMain) -> Path:
    """Return `lines` with revision 1 recorded, described and committed."""
    assert run() == 0
    describe(lines)
    git(lines.parent, "init", "--quiet")
    commit(lines)
    assert run("--check") == 0
    return lines


def test_the_sum_can_be_made_by_hand(lines: Path, tmp_path: Path) -> None:
    for series in load_all_series(lines):
        tree = tmp_path / series.name
        make_tree(str(series.first), tree, lines)
        result = subprocess.run(["sha256sum", POOL], cwd=tree, capture_output=True)
        assert hashlib.sha256(result.stdout).hexdigest() == code_sha256(series, lines)


def test_words_raise_no_number(recorded: Path, run: MakeMain) -> None:
    patch = recorded / "first" / "v1.0.0.patch"
    patch.write_text(patch.read_text().replace("Why.", "Because."))
    assert run("--check") == 0 and run() == 0
    assert revisions(recorded) == {"v1.0.0": 1, "v2.0.0": 1}


def test_only_changed_series_rise(recorded: Path, run: MakeMain) -> None:
    assert run() == 0 and revisions(recorded) == {"v1.0.0": 1, "v2.0.0": 1}
    change(recorded, "v2.0.0")
    assert run() == 0 and revisions(recorded) == {"v1.0.0": 1, "v2.0.0": 2}
    text = (recorded.parent / "CHANGELOG.md").read_text()
    assert text.index("## 2026-06-02\n\nRevision 2 of v2.0.0.\n") < text.index("Revision 1 of")
    assert run("--check") == 1, "nothing is said of the change"
    describe(recorded)
    assert run("--check") == 0


def test_a_number_is_free_until_it_is_committed(recorded: Path, run: MakeMain) -> None:
    change(recorded, "v2.0.0")
    run()
    describe(recorded)
    change(recorded, "v2.0.0", "Because, again.")
    assert run("--check") == 1
    assert run() == 0 and revisions(recorded)["v2.0.0"] == 2 and run("--check") == 0
    commit(recorded)
    change(recorded, "v2.0.0", "Because, once more.")
    assert run() == 0 and revisions(recorded)["v2.0.0"] == 3


def test_a_change_taken_back_takes_the_number_back(recorded: Path, run: MakeMain) -> None:
    change(recorded, "v2.0.0")
    run()
    git(recorded.parent, "checkout", "--", "patches/v2.0.0/series")
    assert run() == 0 and revisions(recorded)["v2.0.0"] == 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("code", "the code of series v2.0.0 is not recorded: run"),
        ("new series", "the code of series v2.0.0 is not recorded: run"),
        ("twice", "two revisions of v2.0.0 in a row have one code"),
        ("altered", "revisions.toml: v1.0.0 lacks revisions that commit"),
        ("removed", "revisions.toml: v2.0.0 lacks revisions that commit"),
        ("silent", "CHANGELOG.md does not say what revision 1 of v1.0.0, v2.0.0 changes"),
        ("empty", "has a section that lists no change: 2026-06-01 Revision 1 of v1.0.0.\n"),
        ("future", "CHANGELOG.md has revision 7 of v2.0.0, which does not exist"),
    ],
)
def test_what_is_not_in_order(
    recorded: Path, run: MakeMain, capsys: pytest.CaptureFixture[str], kind: str, reason: str
) -> None:
    table = recorded / "revisions.toml"
    changelog = recorded.parent / "CHANGELOG.md"
    digest = load_revisions(recorded)["v2.0.0"][0]
    if kind == "code":
        change(recorded, "v2.0.0")
    if kind == "twice":
        table.write_text(table.read_text().replace(f'"{digest}",', f'"{digest}", "{digest}",'))
    if kind == "altered":
        table.write_text(table.read_text().replace(load_revisions(recorded)["v1.0.0"][0], digest))
    if kind in ("removed", "new series"):
        table.write_text(table.read_text().split('"v2.0.0"')[0])
    if kind == "silent":
        changelog.write_text(changelog.read_text().replace("- A change", "A change"))
    if kind == "empty":  # though another section says what that revision changes
        section = "## 2026-06-01\n\nRevision 1 of v1.0.0.\n\n"
        changelog.write_text(changelog.read_text().replace("## ", f"{section}## ", 1))
    if kind == "future":
        changelog.write_text(changelog.read_text().replace("R", "Revision 7 of v2.0.0; r", 1))
    assert run("--check") == 1
    said = capsys.readouterr().err
    assert reason in said and (kind not in ("silent", "empty") or said.count("\n") == 1)


def test_a_recorded_text_stays_through_later_commits(
    recorded: Path, run: MakeMain, capsys: pytest.CaptureFixture[str]
) -> None:
    change(recorded, "v2.0.0")
    run()
    describe(recorded)
    commit(recorded)
    first, second = load_revisions(recorded)["v2.0.0"]
    table = recorded / "revisions.toml"
    table.write_text(table.read_text().replace(first, "0" * 64))
    commit(recorded)
    assert run("--check") == 1
    assert "v2.0.0 lacks revisions that commit" in capsys.readouterr().err
    assert [record["v2.0.0"] for _, record in committed(recorded)] == [
        ["0" * 64, second],
        [first, second],
        [first],
    ]


def test_shallow_clone_and_no_repository(
    recorded: Path, run: MakeMain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(recorded, "v2.0.0")
    run()
    describe(recorded)
    commit(recorded)
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--depth=1", f"file://{recorded.parent}", str(shallow))
    assert run("--check", patches=shallow / "patches") == 0
    assert "looked back on: 1" in capsys.readouterr().out
    (shallow / ".git").rename(tmp_path / "gone")
    assert run("--check", patches=shallow / "patches") == 0
    assert "looked back on: 0" in capsys.readouterr().out
    change(shallow / "patches", "v1.0.0")
    assert run("--check", patches=shallow / "patches") == 1


def test_a_number_of_a_side_branch_counts_when_it_is_merged(recorded: Path, run: MakeMain) -> None:
    repository = recorded.parent
    git(repository, "checkout", "-b", "side")
    change(recorded, "v2.0.0", "first try")
    run()
    describe(recorded)
    commit(recorded)
    git(repository, "checkout", "--detach", "HEAD~")
    change(recorded, "v2.0.0", "second try")
    run()
    describe(recorded)
    commit(recorded)
    git(repository, "merge", "-s", "ours", "--no-commit", "side", **WHO)
    change(recorded, "v2.0.0", "both")
    run()
    describe(recorded)
    commit(recorded)
    assert revisions(recorded)["v2.0.0"] == 3 and run("--check") == 0
    assert len(committed(recorded)) == 3


def test_sections() -> None:
    text = "# C\n\n## 2026\n\nRevision 2 of v1.0.0,\nv1.1.0 and v1.2.0; revision 3 of\nv2.0.0.\n\n"
    text += "- A\n- of revision 9 of v1.0.0\n\n## 2025\n\nRevision 1 of v1.0.0.\n"
    assert sections(text) == {
        ("v1.0.0", 2): "A\n- of revision 9 of v1.0.0",
        ("v1.1.0", 2): "A\n- of revision 9 of v1.0.0",
        ("v1.2.0", 2): "A\n- of revision 9 of v1.0.0",
        ("v2.0.0", 3): "A\n- of revision 9 of v1.0.0",
        ("v1.0.0", 1): "",
    }


@pytest.mark.parametrize("text", ["v1 = 1", "v1 = []", 'v1 = ["12"]', "v1 = "])
def test_bad_record(text: str) -> None:
    text = f"[series]\n{text}"
    with pytest.raises(UserError, match=r"^revisions\.toml: "):
        parse_revisions(text, "revisions.toml")
