"""The upstream branch: what is committed, and that a clone is left as it was when that fails."""

import re
import subprocess
from pathlib import Path

import pytest
from commands import run
from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.catalog.series import idea_of, load_all_series
from procpool.patching.patch import split
from procpool.upstream.gates import _harmless, _log_calls, git
from procpool.upstream.pr import (
    BEGIN,
    END,
    added_tests,
    check_branch,
    description,
    final_series,
    listing,
    mail,
    parse_prefix,
    upstreamable,
)

PATCHES = upstreamable(final_series()[0])
FOLDER = ROOT / "patches"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository that has the layout of livekit/agents and a pool that no patch fits."""
    path = tmp_path / "agents"
    pool = path / "livekit-agents" / "livekit" / "agents" / "ipc" / "proc_pool.py"
    pool.parent.mkdir(parents=True)
    pool.write_text("another pool\n")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.invalid"]
    git(path, "init", "--quiet", "--initial-branch=main")
    git(path, "add", "--all")
    git(path, *identity, "commit", "--quiet", "--message", "base")
    return path


def state(clone: Path) -> list[str]:
    return [
        git(clone, "for-each-ref"),
        git(clone, "status", "--short"),
        git(clone, "worktree", "list"),
    ]


@pytest.mark.parametrize(("text", "last"), [("1", 1), ("1-2", 2), ("1-6", 6)])
def test_a_prefix(text: str, last: int) -> None:
    assert parse_prefix(text, 6) == last


@pytest.mark.parametrize("text", ["2", "2-3", "1-7", "1-0", "0", "", "one", "1-2-3"])
def test_what_is_no_prefix(text: str) -> None:
    with pytest.raises(UserError, match="give 1-N"):
        parse_prefix(text, 6)


def test_every_patch_of_the_newest_series_has_tests() -> None:
    found = [added_tests(idea_of(patch), FOLDER) for patch in PATCHES]
    assert len(set(found)) == len(found) and all(path.is_file() for path in found)


def test_the_series_of_a_preview_is_not_for_upstream() -> None:
    assert [series.name for series in load_all_series() if series.preview] == ["v2.0.0b1"]
    assert "v2.0.0b1" not in [series.name for series in final_series()]


def test_mail_leaves_out_what_only_this_project_needs() -> None:
    patch = PATCHES[0]
    text = mail(patch, "Jane Doe <jane@example.invalid>")
    assert "\nFrom: Jane Doe <jane@example.invalid>\n" in text
    assert "Forwarded" not in text and "Last-Update" not in text and "\nBug: https" in text
    assert split(text)[1] == split(patch.read_text())[1]


def test_a_part_of_the_series_says_so() -> None:
    title, text = description(PATCHES[:2], PATCHES)
    assert title == "ipc: bound the wait for a process; ipc: back off when spawns keep failing"
    assert (
        f"patches 1 to 2 of the {len(PATCHES)}" in text
        and "Back-off: the first replacement" in text
    )
    assert "reported as `JS_FAILED`" not in text and "waits for the clean-up" not in text
    assert "#4857" not in description(PATCHES[:1], PATCHES)[1]


def test_the_whole_series() -> None:
    title, text = description(PATCHES, PATCHES)
    whole = (ROOT / "PR_DESCRIPTION.md").read_text()
    assert f"# {title}" == whole.splitlines()[0] and title not in text
    assert BEGIN + listing(PATCHES) + END in whole
    assert "is part of a series" not in text and "reported as `JS_FAILED`" in text
    # nothing else was left out, and no mark is left but those of the figures
    words = re.sub(r"<!-- ([a-z-]+|patches:.*|end of patches) -->", "", whole).split()
    assert ["#", *title.split(), *text.split()] == words
    assert len(re.findall("<!--", text)) == 2


def test_the_script_of_the_description_is_short() -> None:
    [script] = re.findall(r"```python\n(.*?)```", description(PATCHES, PATCHES)[1], re.DOTALL)
    assert len([line for line in script.splitlines() if line]) <= 20


@pytest.mark.parametrize("branch", ["main", "main/part", "no..name"])
def test_a_branch_that_cannot_be_made(clone: Path, branch: str) -> None:
    with pytest.raises(UserError, match="--branch"):
        check_branch(clone, branch)
    check_branch(clone, "maintenance")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["main"], ["base main", "hunk", "proc_pool.py", "bound-the-wait/"]),
        (["nowhere"], ["no ref nowhere"]),
        (["main", "--branch", "main"], ["has a branch main"]),
        (["main", "--author", "nobody"], ["not an author"]),
        (["main", "--prefix", "2-3"], ["give 1-N"]),
    ],
)
def test_a_failure_is_one_line_and_leaves_the_clone(
    clone: Path, arguments: list[str], words: list[str]
) -> None:
    before = state(clone)
    result: subprocess.CompletedProcess[str] = run("upstream-pr", str(clone), *arguments)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1 and all(word in result.stderr for word in words)
    assert state(clone) == before


@pytest.mark.parametrize(
    ("call", "harmless"),
    [
        ('logger.error("a job failed", extra={"job_id": job_id})', True),
        ('logger.error("after %d attempts", n, extra=proc.logging_extra())', True),
        ('logger.error(f"{job} failed")', False),
        ('logger.error("a job failed", extra={"job": job})', False),
        ('logger.error("a job failed", extra=job)', False),
        ('logger.error("after %.1fs", waited, extra={"job_id": job_id})', True),
        ('logger.error("%s failed", job)', False),
        ('logger.exception("a job failed")', False),
        ('logger.error("a job failed", exc_info=True)', False),
    ],
)
def test_log_calls(tmp_path: Path, call: str, harmless: bool) -> None:
    path = tmp_path / "module.py"
    path.write_text(call)
    assert [_harmless(found) for found in _log_calls(path)] == [harmless]
