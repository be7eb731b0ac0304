"""edit: a tree that holds the release, the series as commits, and keeps what was edited."""

import shutil
import subprocess
from pathlib import Path

import edit
import pytest
from conftest import POOL, pool
from edit import main, make_tree, untouched
from errors import UserError
from repository import git


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["edit.py", *arguments])
    return main()


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


def test_plain_quilt_works_where_it_is_installed(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("LIVEKIT_PROCPOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    tree = tmp_path / "tree"
    make_tree("2.0.0", tree, lines)
    assert untouched(tree)
    assert (tree / "patches").is_dir() == bool(shutil.which("quilt"))
    if shutil.which("quilt"):
        for command, answer in (("pop", "Now at patch patches/0001"), ("push", "Now at patch")):
            result = subprocess.run(["quilt", command], cwd=tree, capture_output=True, text=True)
            assert answer in result.stdout
        assert untouched(tree)


@pytest.mark.parametrize("kind", ["work", "new file", "commit", "quilt"])
def test_edits_are_not_thrown_away(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    tree = tmp_path / "tree"
    arguments = ["2.0.0", "--tree", str(tree), "--patches", str(lines)]
    assert run(monkeypatch, *arguments) == 0
    assert run(monkeypatch, *arguments) == 0, "a tree without edits is made anew"
    if kind == "work":
        (tree / POOL).write_text("edited\n")
    elif kind == "new file":
        (tree / "livekit" / "new.py").touch()
    elif kind == "commit":
        git(tree, "reset", "--hard", "HEAD~")
    else:
        shutil.copytree(lines / "v2.0.0", tree / "patches")
        (tree / "patches" / "0002-second.patch").write_text("edited\n")
    with pytest.raises(UserError, match="has edits: give --force"):
        run(monkeypatch, *arguments)
    assert run(monkeypatch, *arguments, "--force") == 0
    assert untouched(tree) and not (tree / "patches").exists()


def test_another_directory_is_left_alone(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(UserError, match="was not made by"):
        run(monkeypatch, "2.0.0", "--force", "--tree", f"{tmp_path}/mine", "--patches", str(lines))
    assert (tmp_path / "mine" / "file").is_file()


def test_a_series_that_does_not_apply_leaves_no_tree(lines: Path, tmp_path: Path) -> None:
    patch = lines / "v2.0.0" / "0002-second.patch"
    patch.write_text(patch.read_text().replace("-line 15", "-line fifteen"))
    with pytest.raises(UserError, match=r"0002-second\.patch does not apply"):
        edit.make_tree("2.0.0", tmp_path / "tree", lines)
    assert not (tmp_path / "tree").exists()
