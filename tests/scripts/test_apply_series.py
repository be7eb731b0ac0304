"""apply_series: all or nothing, and never fooled by a repository around the tree."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATCH, POOL, POOL_TEXT
from procpool.base.errors import UserError
from procpool.catalog.series import Series
from procpool.patching.apply import CHANGE_MARK, apply_series, main

MakeSeries = Callable[..., Series]
AFTER = POOL_TEXT.replace("line 2\n", "line two\n", 1).replace("line 22\n", "line twenty-two\n")


def test_applies(tree: Path, make_series: MakeSeries) -> None:
    assert apply_series(make_series(PATCH), tree) == [POOL]
    assert (tree / POOL).read_text() == AFTER


@pytest.mark.parametrize("inside", [".", "sub/dir"])
def test_applies_inside_another_repository(
    tmp_path: Path, tree: Path, make_series: MakeSeries, inside: str
) -> None:
    repository = tmp_path / "repository"
    (repository / inside).mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    moved = tree.rename(repository / inside / "tree")
    apply_series(make_series(PATCH), moved)
    assert (moved / POOL).read_text() == AFTER


def test_git_settings_of_the_user_do_not_matter(
    tmp_path: Path, tree: Path, make_series: MakeSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    apply_series(make_series(PATCH), tree)
    assert (tree / POOL).read_text() == AFTER


def test_failure_names_patch_file_and_hunk_and_changes_nothing(
    tree: Path, make_series: MakeSeries
) -> None:
    first = PATCH.split("@@ -20")[0] + "-- \n2.39.0\n"
    second = PATCH.split("@@ -1,5")[0] + "@@ -7,3 +7,3 @@\n line 7\n-line 8\n+line eight\n line 9\n"
    second += "@@ -20,3 +20,3 @@\n line 20\n-line 999\n+x\n line 22\n"
    with pytest.raises(UserError) as caught:
        apply_series(make_series(first, second), tree)
    text = str(caught.value)
    assert "change-2/v1.0.0.patch" in text and POOL in text and "hunk 2 of 2" in text
    assert (tree / POOL).read_text() == POOL_TEXT
    assert [path.name for path in tree.parent.glob(".tree*")] == []


def test_no_fuzz(tree: Path, make_series: MakeSeries) -> None:
    (tree / POOL).write_text(POOL_TEXT.replace("line 24\n", "changed context\n"))
    with pytest.raises(UserError, match="hunk 2 of 2"):
        apply_series(make_series(PATCH), tree)


def test_already_patched(tree: Path, make_series: MakeSeries) -> None:
    series = make_series(PATCH)
    apply_series(series, tree)
    with pytest.raises(UserError, match="already patched"):
        apply_series(series, tree)
    assert (tree / POOL).read_text() == AFTER


def test_no_git(
    tmp_path: Path, tree: Path, make_series: MakeSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="git is not installed"):
        apply_series(make_series(PATCH), tree)
    assert (tree / POOL).read_text() == POOL_TEXT


def test_no_such_tree(tmp_path: Path, make_series: MakeSeries) -> None:
    with pytest.raises(UserError, match="not a directory"):
        apply_series(make_series(PATCH), tmp_path / "none")


def test_a_tree_that_cannot_take_its_place_stays(
    tree: Path, make_series: MakeSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError("no space left")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="no space left"):
        apply_series(make_series(PATCH), tree)
    assert (tree / POOL).read_text() == POOL_TEXT


def test_why_a_patch_does_not_apply(tree: Path, make_series: MakeSeries) -> None:
    absent = PATCH.replace("livekit/agents/pool.py", "livekit/agents/absent.py")
    with pytest.raises(UserError, match=r"change-1/v1\.0\.0\.patch does not apply: .*absent\.py"):
        apply_series(make_series(absent), tree)
    (tree / POOL).write_text(POOL_TEXT * 2)
    with pytest.raises(UserError, match=r"hunk 1 of 2: its old text stands 2 times"):
        apply_series(make_series(PATCH), tree)


def test_a_patch_in_the_middle_that_is_there_already(tree: Path, make_series: MakeSeries) -> None:
    first, second = PATCH.split("@@ -20")[0], PATCH.split("@@ -1,5")[0]
    second += "@@ -20" + PATCH.split("@@ -20")[1]
    (tree / POOL).write_text(POOL_TEXT.replace("line 2\n", "line two\n"))
    with pytest.raises(UserError, match=r"already patched.* \(change-1/v1\.0\.0\.patch is in it\)"):
        apply_series(make_series(first, second), tree)
    (tree / POOL).write_text(f"{POOL_TEXT}# {CHANGE_MARK}\n")
    with pytest.raises(UserError, match="already patched: start from a pristine release"):
        apply_series(make_series(PATCH), tree)


def test_a_series_is_applied_from_the_command_line(
    tree: Path, make_series: MakeSeries, capsys: pytest.CaptureFixture[str]
) -> None:
    patches = make_series(PATCH).folder
    assert main(["v1.0.0", str(tree), "--patches", str(patches)]) == 0
    assert capsys.readouterr().out == f"{POOL}\n" and (tree / POOL).read_text() == AFTER
