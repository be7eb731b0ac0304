"""refresh: edits of git or quilt become the series, and reach the others whole or not at all."""

from pathlib import Path

import pytest
from carry import DoesNotApply, carry
from conftest import LINES, POOL
from edit import make_tree, untouched
from errors import UserError
from patch_steps import Header, Step, idea, today
from refresh import find_tree, main, refresh
from repository import git

EDITED = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A <a@example.invalid>
Date: Mon, 1 Jun 2026 00:00:00 +0000
Subject: [PATCH 2/3] x: first

Why.

Bug: https://example.invalid/1
Forwarded: no
Last-Update: 2026-06-02
---
 livekit/agents/pool.py | 3 ++-
 1 file changed, 2 insertions(+), 1 deletion(-)

diff --git a/livekit/agents/pool.py b/livekit/agents/pool.py
--- a/livekit/agents/pool.py
+++ b/livekit/agents/pool.py
@@ -3,7 +3,8 @@ line 1 of 1.0.1
 line 2
 line 3
 line 4
-line 5
+FIRST
+and more
 line 6
 line 7
 line 8
"""
MESSAGE = "x: a Third, new\n\nWhy.\n\nBug: https://example.invalid/2\n"


def texts(patches: Path) -> dict[str, str]:
    """Return every file of the series by its path."""
    return {str(p.relative_to(patches)): p.read_text() for p in patches.glob("v*/*")}


def run(
    tree: Path, patches: Path, patch: str | None = None, only: bool = False, dry_run: bool = False
) -> dict[str, str]:
    return refresh(tree, patches, patch=patch, only=only, dry_run=dry_run)


def substitute(tree: Path, old: str, new: str) -> None:
    """Replace a line of the tree's pool."""
    text = (tree / POOL).read_text()
    assert f"\n{old}\n" in text
    (tree / POOL).write_text(text.replace(f"\n{old}\n", f"\n{new}\n"))


def make(version: str, lines: Path) -> Path:
    tree = lines.parent / f"edit-{version}"
    make_tree(version, tree, lines)
    return tree


def as_by_quilt(tree: Path, applied: int) -> None:
    """Leave in a tree, of a machine without quilt, what quilt keeps there."""
    [start] = (tree / ".git" / "procpool").glob("v*")
    (tree / "patches").mkdir()
    for path in start.glob("*"):
        (tree / "patches" / path.name).write_text(path.read_text())
    (tree / ".pc").mkdir()
    names = (start / "series").read_text().split()
    (tree / ".pc" / "applied-patches").write_text("".join(f"{n}\n" for n in names[:applied]))


@pytest.mark.parametrize("version", LINES)
def test_without_an_edit_no_byte_changes(lines: Path, version: str) -> None:
    before = texts(lines)
    tree = make(version, lines)
    assert set(run(tree, lines).values()) == {"unchanged"}
    assert texts(lines) == before


def test_an_edited_patch_is_written_as_the_others_and_carried(lines: Path) -> None:
    before = texts(lines)
    tree = make("2.0.0", lines)
    substitute(tree, "first", "FIRST\nand more")
    assert run(tree, lines, "0001") == {"v1.0.0": "changed", "v2.0.0": "changed"}
    after = texts(lines)
    assert after["v1.0.0/0002-first.patch"] == EDITED
    second = after["v1.0.0/0003-second.patch"]
    assert "@@ -14,7 +14,7 @@" in second and "Last-Update: 2026-06-01" in second
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {
        *("v1.0.0/0002-first.patch", "v1.0.0/0003-second.patch"),
        *("v2.0.0/0001-first.patch", "v2.0.0/0002-second.patch"),
    }
    assert untouched(tree) and "\nand more\n" in git(tree, "show", f"HEAD:{POOL}")
    assert set(run(tree, lines).values()) == {"unchanged"}


@pytest.mark.parametrize("options", [{"only": True}, {"dry_run": True}])
def test_only_and_dry_run(lines: Path, options: dict[str, bool]) -> None:
    before = texts(lines)
    tree = make("2.0.0", lines)
    substitute(tree, "first", "FIRST")
    report = run(tree, lines, "first", **options)
    assert report["v2.0.0"] == "changed" and ("v1.0.0" in report) == ("only" not in options)
    changed = {name.split("/")[0] for name, text in texts(lines).items() if text != before[name]}
    assert changed == ({"v2.0.0"} if "only" in options else set())


@pytest.mark.parametrize(
    "name", ["3", "0003", "second", "0003-second.patch", "patches/0003-second.patch"]
)
def test_a_patch_is_named_in_many_ways(lines: Path, name: str) -> None:
    tree = make("1.0.1", lines)
    substitute(tree, "second", "SECOND")
    run(tree, lines, name, only=True)
    assert "+SECOND" in texts(lines)["v1.0.0/0003-second.patch"]


def test_fixup_commit(lines: Path) -> None:
    tree = make("2.0.0", lines)
    substitute(tree, "first", "FIRST")
    git(tree, "commit", "--all", "--fixup=HEAD~", **WHO)
    assert run(tree, lines) == {"v1.0.0": "changed", "v2.0.0": "changed"}
    assert "+FIRST" in texts(lines)["v1.0.0/0002-first.patch"]


WHO = {
    f"GIT_{role}_{field}": "b@example.invalid"
    for role in ("AUTHOR", "COMMITTER")
    for field in ("NAME", "EMAIL")
}


def test_words_are_carried(lines: Path) -> None:
    own = lines / "v1.0.0" / "0002-first.patch"
    own.write_text(own.read_text().replace("x: first", "x: first, in its own words"))
    tree = make("2.0.0", lines)
    git(tree, "reset", "--hard", "HEAD~")
    message = git(tree, "log", "-1", "--format=%B").replace("Why.", "Because.")
    git(tree, "commit", "--amend", "-F-", stdin=message, **WHO)
    git(tree, "cherry-pick", "made", **WHO)
    assert run(tree, lines) == {"v1.0.0": "changed", "v2.0.0": "changed"}
    text = texts(lines)["v1.0.0/0002-first.patch"]
    assert "\n\nBecause.\n\nBug: " in text and "x: first, in its own words" in text
    assert "Last-Update: 2026-06-02" in text


def test_a_new_patch_takes_its_place_in_every_line(lines: Path) -> None:
    tree = make("2.0.0", lines)
    git(tree, "reset", "--hard", "HEAD~")
    substitute(tree, "line 10", "third")
    git(tree, "commit", "--all", "-F-", stdin=MESSAGE, **WHO)
    git(tree, "cherry-pick", "made", **WHO)
    assert run(tree, lines) == {"v1.0.0": "changed", "v2.0.0": "changed"}
    listing = ["0001-oldest-only", "0002-first", "0003-a-third-new", "0004-second"]
    after = texts(lines)
    assert after["v1.0.0/series"] == "".join(f"{name}.patch\n" for name in listing)
    assert sorted(n for n in after if "v1" in n and "patch" in n) == [
        f"v1.0.0/{name}.patch" for name in listing
    ]
    assert "Subject: [PATCH 4/4] x: second" in after["v1.0.0/0004-second.patch"]
    new = after["v1.0.0/0003-a-third-new.patch"]
    assert "Subject: [PATCH 3/4] x: a Third, new\n" in new and "+third\n" in new
    assert "Forwarded: no\nLast-Update: 2026-06-02\n---\n" in new
    assert "Last-Update: 2026-06-01" in after["v1.0.0/0004-second.patch"]


def test_a_patch_that_names_no_bug(lines: Path) -> None:
    before = texts(lines)
    tree = make("2.0.0", lines)
    substitute(tree, "line 10", "third")
    git(tree, "commit", "--all", "-F-", stdin="x: third", **WHO)
    with pytest.raises(UserError, match=r"0003-third\.patch names no bug"):
        run(tree, lines)
    assert texts(lines) == before


def test_a_dropped_patch_goes_everywhere_and_what_only_one_line_has_stays(lines: Path) -> None:
    tree = make("2.0.0", lines)
    git(tree, "rebase", "--onto", "pristine", "HEAD~", **WHO)
    assert run(tree, lines) == {"v1.0.0": "changed", "v2.0.0": "changed"}
    after = texts(lines)
    assert after["v1.0.0/series"] == "0001-oldest-only.patch\n0002-second.patch\n"
    assert "[PATCH 2/2]" in after["v1.0.0/0002-second.patch"]
    assert "[PATCH 1/1]" in after["v2.0.0/0001-second.patch"]
    assert "+oldest-only" in after["v1.0.0/0001-oldest-only.patch"]


def test_what_follows_a_dropped_patch_stays(lines: Path) -> None:
    header = Header("A <a@example.invalid>", "Mon, 1 Jun 2026 00:00:00 +0000", "x", "Why.")

    def series(*names: str) -> list[Step]:
        made = (names[:count] for count in range(1, len(names) + 1))
        return [Step(m[-1], header, {f"livekit/{n}": b"new" for n in m}) for m in made]

    there = series("a", "own", "b")
    after = carry(series("a", "b"), series("b"), there, {}, {})
    assert after == series("own", "b")
    with pytest.raises(DoesNotApply, match="in another order"):
        carry(series("a", "b"), series("b"), series("b", "own", "a"), {}, {})
    with pytest.raises(DoesNotApply, match="a patch own of its own"):
        carry(series("a", "b"), series("a", "own", "b"), there, {}, {})


def test_a_patch_that_others_lack_is_not_carried(lines: Path) -> None:
    tree = make("1.0.1", lines)
    substitute(tree, "oldest-only", "OLD")
    assert run(tree, lines, "oldest-only") == {"v1.0.0": "changed", "v2.0.0": "unchanged"}
    substitute(tree, "OLD", "OLDEST")
    git(tree, "commit", "--all", "--fixup=HEAD~2", **WHO)
    substitute(tree, "first", "FIRST")
    report = run(tree, lines, "first")
    assert report["v2.0.0"] == "does not apply: it has no patch oldest-only: edit it by itself"


def test_a_change_that_does_not_apply_names_patch_file_and_hunk(
    lines: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = texts(lines)
    tree = make("2.0.0", lines)
    substitute(tree, "line 19", "near what differs")
    substitute(tree, "line 20 of 2.0.0", "what differs")
    arguments = ["refresh.py", str(tree), "--patch", "second", "--patches", str(lines)]
    monkeypatch.setattr("sys.argv", arguments)
    assert main() == 1
    old, new, revisions, advice = capsys.readouterr().out.splitlines()
    assert old == f"v1.0.0: does not apply: patch second, file {POOL}, a hunk at line 20"
    assert new == "v2.0.0: changed"
    assert "nox -s revisions" in revisions and "patches/README.md" in advice
    after = texts(lines)
    assert {n for n in after if after[n] != before[n]} == {"v2.0.0/0002-second.patch"}


def test_every_text_of_a_line_must_take_the_change(lines: Path) -> None:
    """Line 30 is another in the first release of v1.0.0, and not in the last."""
    before = texts(lines)
    tree = make("1.0.1", lines)
    substitute(tree, "line 29", "no longer there")
    with pytest.raises(UserError, match=r"on 1\.0\.0: patch 0003-second\.patch does not apply"):
        run(tree, lines, "second")
    tree = make("2.0.0", lines)
    substitute(tree, "line 29", "no longer there")
    report = run(tree, lines, "second")
    assert "on 1.0.0: patch 0003-second.patch does not apply: file" in report["v1.0.0"]
    assert all(text == before[name] for name, text in texts(lines).items() if "v1.0.0" in name)


def test_a_series_that_has_the_change_already_is_unchanged(lines: Path) -> None:
    for version in ("2.0.0", "1.0.1"):
        tree = make(version, lines)
        substitute(tree, "first", "FIRST")
        run(tree, lines, "first", only=version == "2.0.0")
    after = texts(lines)
    assert "+FIRST" in after["v1.0.0/0002-first.patch"]
    assert after["v2.0.0/0001-first.patch"].count("FIRST") == 1


def test_patches_edited_by_quilt(lines: Path) -> None:
    tree = make("2.0.0", lines)
    as_by_quilt(tree, 2)
    patch = tree / "patches" / "0001-first.patch"
    header, _, hunks = patch.read_text().partition("diff --git ")
    plain = hunks.partition("\n")[2].replace("+first", "+FIRST")
    patch.write_text(f"{header}Index: tree/{POOL}\n{'=' * 67}\n{plain}")
    with pytest.raises(UserError, match="changes that are not in its patches: run 'quilt refresh'"):
        run(tree, lines)
    substitute(tree, "first", "FIRST")
    assert run(tree, lines) == {"v1.0.0": "changed", "v2.0.0": "changed"}
    text = texts(lines)["v2.0.0/0001-first.patch"]
    assert "+FIRST\n" in text and "Index:" not in text and "diff --git" in text


def test_a_patch_pushed_with_fuzz_is_written_without(lines: Path) -> None:
    tree = make("2.0.0", lines)
    as_by_quilt(tree, 2)
    patch = tree / "patches" / "0001-first.patch"
    # The first patch changes what the second one has as context: its line 12.
    patch.write_text(patch.read_text() + "@@ -12,1 +12,1 @@\n-line 12\n+TWELVE\n")
    substitute(tree, "line 12", "TWELVE")
    run(tree, lines)
    assert " TWELVE\n" in texts(lines)["v2.0.0/0002-second.patch"]


def test_popped_patches_are_no_edit(lines: Path) -> None:
    before = texts(lines)
    tree = make("2.0.0", lines)
    as_by_quilt(tree, 1)
    substitute(tree, "second", "line 15")
    assert set(run(tree, lines).values()) == {"unchanged"}
    assert texts(lines) == before


def test_edits_that_would_be_lost(lines: Path) -> None:
    before = texts(lines)
    tree = make("2.0.0", lines)
    with pytest.raises(UserError, match="has no uncommitted change"):
        run(tree, lines, "first")
    substitute(tree, "first", "FIRST")
    with pytest.raises(UserError, match=r"--patch \(0001-first, 0002-second\), commit them"):
        run(tree, lines)
    with pytest.raises(UserError, match="no such patch; there are 0001-first, 0002-second"):
        run(tree, lines, "third")
    git(tree, "commit", "--all", "-F-", stdin=MESSAGE, **WHO)
    as_by_quilt(tree, 2)
    (tree / "patches" / "0001-first.patch").write_text("edited")
    with pytest.raises(UserError, match="both quilt's patches and git's commits"):
        run(tree, lines)
    assert texts(lines) == before


def test_a_change_that_later_patches_overwrite(lines: Path) -> None:
    tree = make("2.0.0", lines)
    substitute(tree, "second", "SECOND")
    with pytest.raises(UserError, match=r"patch first, file .*: commit it in its place"):
        run(tree, lines, "first")


@pytest.mark.parametrize("kind", ["merge", "nothing", "outside", "rebase", "empty", "twice"])
def test_commits_that_are_no_series(lines: Path, kind: str) -> None:
    before = texts(lines)
    tree = make("2.0.0", lines)
    if kind == "merge":
        git(tree, "checkout", "-b", "other", "HEAD~")
        git(tree, "commit", "--allow-empty", "-F-", stdin=MESSAGE, **WHO)
        git(tree, "merge", "-s", "ours", "-m", "merge", "series", **WHO)
        reason = "is a merge"
    elif kind == "nothing":
        git(tree, "reset", "--hard", "pristine")
        reason = "no commits on top of the tag pristine"
    elif kind == "outside":
        (tree / "setup.py").touch()
        reason = "lies outside livekit/"
    elif kind == "rebase":
        (tree / ".git" / "rebase-merge").mkdir()
        reason = "a rebase is under way"
    elif kind == "empty":
        git(tree, "commit", "--allow-empty", "-F-", stdin=MESSAGE, **WHO)
        reason = r"0003-a-third-new\.patch changes nothing"
    else:
        substitute(tree, "line 10", "third")
        git(tree, "commit", "--all", "-F-", stdin="x: first", **WHO)
        reason = "two patches are named first"
    with pytest.raises(UserError, match=reason):
        run(tree, lines)
    assert texts(lines) == before


def test_a_series_that_changed_since_is_not_overwritten(lines: Path) -> None:
    tree = make("2.0.0", lines)
    substitute(tree, "first", "FIRST")
    patch = lines / "v2.0.0" / "0001-first.patch"
    patch.write_text(patch.read_text().replace("Why.", "Because."))
    with pytest.raises(UserError, match=r"v2\.0\.0 has changed since"):
        run(tree, lines, "first")


def test_find_tree(lines: Path) -> None:
    build = lines.parent
    with pytest.raises(UserError, match=r"which tree\?: .*: none"):
        find_tree(None, build)
    one = make("1.0.1", lines)
    assert find_tree(None, build) == one
    two = make("2.0.0", lines)
    assert find_tree("2.0.0", build) == find_tree(str(two), build) == two
    for name in (None, "3.0.0"):
        with pytest.raises(UserError, match=r"1\.0\.1, 2\.0\.0"):
            find_tree(name, build)
    with pytest.raises(UserError, match="was not made by"):
        find_tree(str(lines), build)


def test_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1780358399")
    assert today() == "2026-06-01"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(UserError, match="SOURCE_DATE_EPOCH is not a number"):
        today()
    assert idea("0012-a-1-b.patch") == "a-1-b"
