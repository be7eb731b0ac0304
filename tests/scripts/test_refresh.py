"""refresh: edits become the texts of their ideas, and reach a series whole or not at all."""

from pathlib import Path

import pytest
from conftest import LINES, POOL
from procpool.base.errors import UserError
from procpool.base.git import git
from procpool.base.source_date import today
from procpool.editing.carry import DoesNotApply, carry
from procpool.editing.edit import make_tree, untouched
from procpool.editing.refresh import find_tree, main, refresh
from procpool.patching.patch import Header
from procpool.patching.steps import Step

EDITED = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A <a@example.invalid>
Date: Mon, 1 Jun 2026 00:00:00 +0000
Subject: [PATCH] x: first

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
@@ -2,7 +2,8 @@ line 1
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


BOTH = {"first/v1.0.0.patch": "written"}


def texts(patches: Path) -> dict[str, str]:
    """Return every patch and series by its path."""
    found = [*patches.glob("*/*.patch"), *patches.glob("v*/series")]
    return {str(path.relative_to(patches)): path.read_text() for path in found}


def run(
    tree: Path, patches: Path, patch: str | None = None, only: bool = False, dry_run: bool = False
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what became of each file that changes, and why a series did not take the change."""
    changed, refused = refresh(tree, patches, patch=patch, only=only, dry_run=dry_run)
    return {name: "gone" if text is None else "written" for name, text in changed.items()}, refused


def substitute(tree: Path, old: str, new: str) -> None:
    """Replace a line of the tree's pool."""
    text = (tree / POOL).read_text()
    assert f"\n{old}\n" in text
    (tree / POOL).write_text(text.replace(f"\n{old}\n", f"\n{new}\n"))


def make(version: str, lines: Path) -> Path:
    tree = lines.parent / f"edit-{version}"
    make_tree(version, tree, lines)
    return tree


@pytest.mark.parametrize("version", LINES)
def test_without_an_edit_no_byte_changes(lines: Path, version: str) -> None:
    before = texts(lines)
    assert sorted(before) == [
        *("first/v1.0.0.patch", "oldest-only/v1.0.0.patch", "second/v1.0.0.patch"),
        *("v1.0.0/series", "v2.0.0/series"),
    ]
    assert run(make(version, lines), lines) == ({}, {})
    assert texts(lines) == before


@pytest.mark.parametrize("version", LINES)
def test_an_edit_touches_one_text_of_all_series(lines: Path, version: str) -> None:
    before = texts(lines)
    tree = make(version, lines)
    substitute(tree, "first", "FIRST\nand more")
    assert run(tree, lines, "first") == (BOTH, {})
    after = texts(lines)
    lines_moved = EDITED.replace("@@ -2,7 +2,8 @@ line 1", "@@ -3,7 +3,8 @@ line 1 of 1.0.1")
    assert after.pop("first/v1.0.0.patch") == (lines_moved if version == "1.0.1" else EDITED)
    assert after.items() < before.items()
    assert untouched(tree) and "\nand more\n" in git(tree, "show", f"HEAD:{POOL}")
    assert run(tree, lines) == ({}, {})


def test_only_gives_the_series_a_text_of_its_own(lines: Path) -> None:
    before = texts(lines)
    tree = make("2.0.0", lines)
    substitute(tree, "first", "FIRST")
    own = {"first/v2.0.0.patch": "written", "v2.0.0/series": "written"}
    assert run(tree, lines, "first", only=True) == (own, {})
    after = texts(lines)
    assert after["v2.0.0/series"] == "first/v2.0.0.patch\nsecond/v1.0.0.patch\n"
    assert after["first/v1.0.0.patch"] == before["first/v1.0.0.patch"]
    tree = make("1.0.1", lines)
    substitute(tree, "first", "FIRST")
    gone = {"first/v1.0.0.patch": "written", "first/v2.0.0.patch": "gone"}
    assert run(tree, lines, "first") == (gone | {"v2.0.0/series": "written"}, {})


def test_dry_run(lines: Path) -> None:
    before = texts(lines)
    tree = make("2.0.0", lines)
    substitute(tree, "first", "FIRST")
    assert run(tree, lines, "first", dry_run=True) == (BOTH, {})
    assert texts(lines) == before and not untouched(tree)


@pytest.mark.parametrize("name", ["2", "first"])
def test_a_patch_is_named_by_place_or_idea(lines: Path, name: str) -> None:
    tree = make("1.0.1", lines)
    substitute(tree, "first", "FIRST")
    run(tree, lines, name)
    assert "+FIRST" in texts(lines)["first/v1.0.0.patch"]


def test_fixup_commit(lines: Path) -> None:
    tree = make("2.0.0", lines)
    substitute(tree, "first", "FIRST")
    git(tree, "commit", "--all", "--fixup=HEAD~", **WHO)
    assert run(tree, lines) == (BOTH, {})
    assert "+FIRST" in texts(lines)["first/v1.0.0.patch"]


WHO = {
    f"GIT_{role}_{field}": "b@example.invalid"
    for role in ("AUTHOR", "COMMITTER")
    for field in ("NAME", "EMAIL")
}


def test_words_are_carried(lines: Path) -> None:
    tree = make("2.0.0", lines)
    git(tree, "reset", "--hard", "HEAD~")
    message = git(tree, "log", "-1", "--format=%B").replace("Why.", "Because.")
    git(tree, "commit", "--amend", "-F-", stdin=message, **WHO)
    git(tree, "cherry-pick", "made", **WHO)
    assert run(tree, lines) == (BOTH, {})
    text = texts(lines)["first/v1.0.0.patch"]
    assert "\n\nBecause.\n\nBug: " in text and "Last-Update: 2026-06-02" in text


def test_a_new_patch_takes_its_place_in_every_line(lines: Path) -> None:
    tree = make("2.0.0", lines)
    git(tree, "reset", "--hard", "HEAD~")
    substitute(tree, "line 10", "third")
    git(tree, "commit", "--all", "-F-", stdin=MESSAGE, **WHO)
    git(tree, "cherry-pick", "made", **WHO)
    changed, refused = run(tree, lines)
    assert set(changed) == {"a-third-new/v1.0.0.patch", "v1.0.0/series", "v2.0.0/series"}
    ideas = ["oldest-only", "first", "a-third-new", "second"]
    after = texts(lines)
    assert after["v1.0.0/series"] == "".join(f"{idea}/v1.0.0.patch\n" for idea in ideas)
    new = after["a-third-new/v1.0.0.patch"]
    assert "Subject: [PATCH] x: a Third, new\n" in new and "+third\n" in new
    assert "Forwarded: no\nLast-Update: 2026-06-02\n---\n" in new and not refused


def test_a_patch_that_names_no_bug(lines: Path) -> None:
    before = texts(lines)
    tree = make("2.0.0", lines)
    substitute(tree, "line 10", "third")
    git(tree, "commit", "--all", "-F-", stdin="x: third", **WHO)
    with pytest.raises(UserError, match="patch third names no bug"):
        run(tree, lines)
    assert texts(lines) == before


def test_a_dropped_patch_goes_everywhere_and_what_only_one_line_has_stays(lines: Path) -> None:
    tree = make("2.0.0", lines)
    git(tree, "rebase", "--onto", "pristine", "HEAD~", **WHO)
    changed, refused = run(tree, lines)
    assert changed == {
        "first/v1.0.0.patch": "gone",
        "v1.0.0/series": "written",
        "v2.0.0/series": "written",
    }
    after = texts(lines)
    assert after["v1.0.0/series"] == "oldest-only/v1.0.0.patch\nsecond/v1.0.0.patch\n"
    assert not (lines / "first").exists() and not refused


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


def test_a_patch_that_others_lack_is_edited_in_its_own_series(lines: Path) -> None:
    tree = make("1.0.1", lines)
    substitute(tree, "oldest-only", "OLD")
    assert run(tree, lines, "oldest-only") == ({"oldest-only/v1.0.0.patch": "written"}, {})
    substitute(tree, "OLD", "OLDEST")
    git(tree, "commit", "--all", "--fixup=HEAD~2", **WHO)
    substitute(tree, "first", "FIRST")
    changed, refused = run(tree, lines, "first")
    assert refused == {"v2.0.0": "it has no patch oldest-only"}
    assert set(changed) == {
        *("oldest-only/v1.0.0.patch", "first/v1.0.0.patch"),
        *("first/v2.0.0.patch", "v2.0.0/series"),
    }


def test_a_series_that_does_not_take_the_change_keeps_its_text(
    lines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = texts(lines)
    tree = make("2.0.0", lines)
    substitute(tree, "line 19", "near what differs")
    substitute(tree, "line 20 of 2.0.0", "what differs")
    assert main([str(tree), "--patch", "second", "--patches", str(lines)]) == 1
    text, listing, revisions, kept, advice = capsys.readouterr().out.splitlines()
    assert (text, listing) == ("second/v2.0.0.patch: written", "v2.0.0/series: written")
    assert kept.startswith("v1.0.0 does not take the change, and keeps the texts it had: patch")
    assert kept.endswith(f"patch second, file {POOL}, a hunk at line 20")
    assert "nox -s revisions" in revisions and "patches/README.md" in advice
    after = texts(lines)
    assert after["second/v1.0.0.patch"] == before["second/v1.0.0.patch"]
    assert after["v1.0.0/series"] == before["v1.0.0/series"]


def test_every_text_of_a_line_must_take_the_change(lines: Path) -> None:
    """Line 30 is another in the first release of v1.0.0, and not in the last."""
    before = texts(lines)
    tree = make("1.0.1", lines)
    substitute(tree, "line 29", "no longer there")
    with pytest.raises(UserError, match=r"on 1\.0\.0: patch second/text\.patch does not apply"):
        run(tree, lines, "second")
    tree = make("2.0.0", lines)
    substitute(tree, "line 29", "no longer there")
    changed, refused = run(tree, lines, "second")
    assert "on 1.0.0: patch second/text.patch does not apply: file" in refused["v1.0.0"]
    assert set(changed) == {"second/v2.0.0.patch", "v2.0.0/series"}
    assert texts(lines)["second/v1.0.0.patch"] == before["second/v1.0.0.patch"]


def test_edits_that_would_be_lost(lines: Path) -> None:
    before = texts(lines)
    tree = make("2.0.0", lines)
    with pytest.raises(UserError, match="has no uncommitted change"):
        run(tree, lines, "first")
    substitute(tree, "first", "FIRST")
    with pytest.raises(UserError, match=r"--patch \(first, second\), or commit them"):
        run(tree, lines)
    with pytest.raises(UserError, match="no such patch; there are first, second"):
        run(tree, lines, "third")
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
        reason = "patch a-third-new changes nothing"
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
    patch = lines / "first" / "v1.0.0.patch"
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
