"""edit: a tree that holds the release, the series as commits, and keeps what was edited."""

from pathlib import Path

import pytest
from conftest import POOL, pool
from procpool.base.errors import UserError
from procpool.base.git import git
from procpool.editing import edit as edit
from procpool.editing.edit import main, make_tree, untouched


def run(*arguments: str) -> int:
    return main(arguments)


def test_commits_are_the_series(lines: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    assert make_tree("1.0.1", tree, lines).name == "v1.0.0"
    log = git(tree, "log", "--reverse", "--format=%s|%an|%ad", "--date=short").splitlines()
    assert log[0].startswith("livekit-agents 1.0.1, as released|")
    assert log[1:] == [
        "x: oldest-only|A|2026-06-01",
        "x: first|A|2026-06-01",
        "x: second|A|2026-06-01",
    ]
    assert git(tree, "show", f"pristine:{POOL}") == pool("1.0.1")
    assert "\nfirst\n" in (tree / POOL).read_text() and untouched(tree)
    assert git(tree, "log", "-1", "--format=%b").endswith(
        "Last-Update: 2026-06-01\nPatch-Name: second\n\n"
    )
    assert [path.name for path in tmp_path.glob(".tree*")] == []


@pytest.mark.parametrize("kind", ["work", "new file", "commit"])
def test_edits_are_not_thrown_away(lines: Path, tmp_path: Path, kind: str) -> None:
    tree = tmp_path / "tree"
    arguments = ["2.0.0", "--tree", str(tree), "--patches", str(lines)]
    assert run(*arguments) == 0
    assert run(*arguments) == 0, "a tree without edits is made anew"
    if kind == "work":
        (tree / POOL).write_text("edited\n")
    elif kind == "new file":
        (tree / "livekit" / "new.py").touch()
    else:
        git(tree, "reset", "--hard", "HEAD~")
    with pytest.raises(UserError, match="has edits: give --force"):
        run(*arguments)
    assert run(*arguments, "--force") == 0
    assert untouched(tree)


def test_another_directory_is_left_alone(lines: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(UserError, match="was not made by"):
        run("2.0.0", "--force", "--tree", f"{tmp_path}/mine", "--patches", str(lines))
    assert (tmp_path / "mine" / "file").is_file()


def test_a_series_that_does_not_apply_leaves_no_tree(lines: Path, tmp_path: Path) -> None:
    patch = lines / "second" / "v1.0.0.patch"
    patch.write_text(patch.read_text().replace("-line 15", "-line fifteen"))
    with pytest.raises(UserError, match=r"second/v1\.0\.0\.patch does not apply"):
        edit.make_tree("2.0.0", tmp_path / "tree", lines)
    assert not (tmp_path / "tree").exists()
