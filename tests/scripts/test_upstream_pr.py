"""The pull requests for upstream: what each brings, what its text says, and the log calls."""

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest
from commands import run
from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.catalog.series import idea_of, load_all_series
from procpool.patching.patch import read_header
from procpool.upstream.branches import (
    NewTests,
    Plan,
    choose,
    final_series,
    message,
    split_series,
)
from procpool.upstream.clones import is_url
from procpool.upstream.gates import NEW_TESTS, _harmless, _log_calls, git
from procpool.upstream.pr import BEGIN, END
from procpool.upstream.requests import (
    TITLE_LENGTH,
    Lines,
    Request,
    added_tests,
    cost,
    header_of,
    items_of,
    load_requests,
    over_limit,
    reproduction,
    table_of,
    text_of,
    texts_by_idea,
    unwrapped,
)
from procpool.upstream.weave import weave

FOLDER = ROOT / "patches"
OURS = split_series(final_series()[0])[1]
IDEAS = [idea_of(text) for text in OURS]
TEXTS = texts_by_idea(OURS)
REQUESTS = load_requests(FOLDER, IDEAS)
DESCRIPTION = (ROOT / "PR_DESCRIPTION.md").read_text("utf-8")
BY_NAME = pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.name)


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


def text(request: Request) -> str:
    """Return the text of a request as it is after gates that found nothing."""
    number = request.number - 1
    below = REQUESTS[number - 1] if number else None
    remarks = {"mypy": "no error", "reproduction": "it prints `this`", "ruff check": ""}
    return text_of(request, TEXTS, FOLDER, below=below, base="`0123`", remarks=remarks)


def test_every_idea_is_in_one_request() -> None:
    assert sorted(idea for request in REQUESTS for idea in request.ideas) == sorted(IDEAS)
    assert [request.number for request in REQUESTS] == list(range(1, 7))


@BY_NAME
def test_a_title_has_upstreams_form(request_: Request) -> None:
    assert re.fullmatch(r"(fix|feat)\((ipc|worker)\): [a-z].*[^.]", request_.title)
    assert len(request_.title) <= TITLE_LENGTH


@BY_NAME
def test_a_reproduction_is_short(request_: Request) -> None:
    compile(request_.script, request_.name, "exec")
    assert 0 < len([line for line in request_.script.splitlines() if line]) <= 20
    assert not re.fullmatch(request_.before, "") and not re.fullmatch(request_.after, "")


@BY_NAME
def test_a_text_claims_what_its_request_does(request_: Request) -> None:
    made = text(request_)
    for idea, patch in TEXTS.items():
        assert (f"- {header_of(patch).subject} (" in made) == (idea in request_.ideas)
        for section in ("Guarantees", "Risk and compatibility"):
            for item in items_of(section, [idea]).split("\n- "):
                one = unwrapped(item.removeprefix("- ").strip())
                assert (one in made) == (not item or idea in request_.ideas)
    assert "<!--" not in made and "\n\n\n\n" not in made
    headings = re.findall(r"^## (.*)$", made, re.MULTILINE)
    assert headings[0] == "What breaks" and headings[-1] == "How it was tested"
    assert {"What to look at first", "Left out, and why", "What it costs"} <= set(headings)
    assert request_.script in made and "On `0123`: it prints `this`." in made
    assert "- mypy: no error" in made and "ruff check" not in made


def test_in_a_text_each_paragraph_is_one_line() -> None:
    text = "## A\none\ntwo\n\n- three\n  four\n- five\n\n```python\nsix\nseven\n```\neight\n"
    lines = ["## A", "one two", "", "- three four", "- five", "", "```python", "six", "seven"]
    assert unwrapped(text).split("\n") == [*lines, "```", "eight", ""]


def test_a_text_says_what_it_is_stacked_on() -> None:
    first, second, *_ = map(text, REQUESTS)
    assert first.startswith(
        "Request 1 of 6 for livekit/agents#5868. It needs nothing of the others"
    )
    assert second.startswith("Request 2 of 6 for livekit/agents#4857 and livekit/agents#5868.")
    assert "stacked on request 1 (`fix/bound-the-wait`)" in second


@BY_NAME
def test_what_a_request_costs_is_counted(request_: Request) -> None:
    code, tests = cost(request_, TEXTS, FOLDER)
    assert f"{code} lines of code in " in text(request_)
    assert f"{code.changed + tests.changed} changed lines" in text(request_)


def test_a_request_that_is_too_long_is_noted() -> None:
    code, tests = cost(REQUESTS[3], TEXTS, FOLDER)
    lines = code.changed + tests.changed
    for limit in (lines, None):
        request = dataclasses.replace(REQUESTS[3], max_lines=limit)
        assert over_limit(request, TEXTS, FOLDER) == ""
    short = dataclasses.replace(REQUESTS[3], max_lines=lines - 34)
    assert over_limit(short, TEXTS, FOLDER) == (
        f"request 4 of 6 has {lines} changed lines, {code.changed} of code and {tests.changed} of"
        " tests: 34 more than requests.toml allows"
    )


@BY_NAME
def test_a_request_keeps_within_its_limit(request_: Request) -> None:
    assert over_limit(request_, TEXTS, FOLDER) == ""


def test_the_first_request_has_a_limit() -> None:
    assert REQUESTS[0].max_lines == 200, "it is to be read in ten minutes"


def test_lines_are_those_of_git() -> None:
    patch = TEXTS["bound-the-wait"]
    result = subprocess.run(["git", "apply", "--numstat", patch], capture_output=True, text=True)
    added, removed, _ = result.stdout.split()
    request = REQUESTS[0]
    assert cost(request, TEXTS, FOLDER)[0] == Lines(int(added), int(removed))


def test_every_guarantee_is_of_an_idea() -> None:
    for section in ("Guarantees", "Risk and compatibility"):
        part = DESCRIPTION.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        items = re.findall(r"^- (.*)$", part, re.MULTILINE)
        marks = [re.match(r"<!-- ([a-z-]+) --> ", item) for item in items]
        assert items and all(mark and mark[1] in IDEAS for mark in marks)
    assert all(items_of("Guarantees", [idea]) for idea in IDEAS)


def test_the_tests_of_a_request_stand_without_those_of_later_requests(tmp_path: Path) -> None:
    tests = NewTests(tmp_path, Plan([], {}, set(), IDEAS, []), FOLDER)
    for request in REQUESTS[:3]:
        for idea in request.ideas:
            tests.add(idea)
            compile(tests.path.read_text("utf-8"), NEW_TESTS, "exec")


def test_the_table_of_the_requests_is_up_to_date() -> None:
    written = DESCRIPTION.partition(f"{BEGIN}\n")[2].partition(f"{END}\n")[0]
    assert written == table_of(REQUESTS, TEXTS, FOLDER), "run python scripts upstream-pr --table"


def test_the_first_request_has_the_script_of_the_report() -> None:
    assert REQUESTS[0].script == reproduction(DESCRIPTION) != ""


def table(folder: Path, text: str, prose: str | None = None) -> Path:
    """Write a table of requests, and the prose of one with the name "one"."""
    (folder / "requests").mkdir(parents=True)
    (folder / "requests.toml").write_text(text)
    if prose is not None:
        (folder / "requests" / "one.md").write_text(prose)
    return folder


ROW = '[[requests]]\nname = "one"\nideas = ["a"]\nbefore = "b"\nafter = "c"\n'
PROSE = (FOLDER / "requests" / "tell-the-server.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("row", "prose", "words"),
    [
        (ROW.replace('"a"', '"b"'), PROSE, "a is in 0 requests"),
        (ROW.replace('"a"', '"a", "a"'), PROSE, "a is in 2 requests"),
        (ROW.replace("before", "until"), PROSE, "requests.toml is damaged: 'before'"),
        (ROW.replace("=", "", 1), PROSE, "requests.toml is damaged"),
        (ROW, None, "one.md is missing"),
        (ROW, PROSE.replace("# fix(worker)", "# Fix"), "the title is 'Fix: tell"),
        (ROW, PROSE.replace("launched", "launched " + "x" * 40, 1), "at most 72"),
        (ROW, PROSE.replace("## Left out, and why", "## Rest"), "no section '## Left out"),
    ],
)
def test_a_table_that_is_wrong(tmp_path: Path, row: str, prose: str | None, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        load_requests(table(tmp_path, row, prose), ["a"])


def test_what_upstream_has_is_in_no_request() -> None:
    left = load_requests(FOLDER, [idea for idea in IDEAS if idea != "bound-the-wait"])
    assert left[0].ideas == () and [request.number for request in choose(left, 2)] == [2]
    with pytest.raises(UserError, match="--request 1: upstream has all of it"):
        choose(left, 1)


@pytest.mark.parametrize("number", [0, 7, -1])
def test_a_request_that_is_none(number: int) -> None:
    with pytest.raises(UserError, match=r"give a number from 1 to 6"):
        choose(REQUESTS, number)


def test_the_tests_of_ideas_weave_as_git_applies_them(tmp_path: Path) -> None:
    patches = [added_tests(idea, FOLDER) for idea in IDEAS]
    woven = weave(patches, NEW_TESTS)
    for number, patch in enumerate(patches, 1):
        subprocess.run(["git", "apply", patch], cwd=tmp_path, check=True)
        assert woven.text(IDEAS[:number]) == (tmp_path / NEW_TESTS).read_text()


def test_the_tests_of_some_ideas() -> None:
    woven = weave([added_tests(idea, FOLDER) for idea in IDEAS], NEW_TESTS)
    done: set[str] = set()
    for request in REQUESTS:
        for idea in request.ideas:
            before = woven.text(done)
            done.add(idea)
            now = woven.text(done)
            compile(now, NEW_TESTS, "exec")
            assert now.count("\nasync def test_") > before.count("\nasync def test_")


def test_patches_that_do_not_weave(tmp_path: Path) -> None:
    first, second = (added_tests(idea, FOLDER) for idea in ("bound-the-wait", "respawn"))
    with pytest.raises(
        UserError, match=r"respawn.patch does not fit tests/test_proc_pool.py, line"
    ):
        weave([first, second], NEW_TESTS)
    with pytest.raises(UserError, match=r"changes tests/test_proc_pool.py: keep it to other"):
        weave([first], "other")


def test_an_idea_without_tests(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="respawn has no tests for upstream"):
        added_tests("respawn", tmp_path)


def test_the_series_of_a_preview_is_not_for_upstream() -> None:
    assert [series.name for series in load_all_series() if series.preview] == ["v2.0.0b1"]
    assert "v2.0.0b1" not in [series.name for series in final_series()]


def test_a_message_leaves_out_what_only_this_project_needs() -> None:
    patch = TEXTS["bound-the-wait"]
    made = message(header_of(patch))
    subject = read_header(patch.read_text(), "it").subject
    assert made.startswith(f"{subject}\n\n") and "\nBug: https" in made
    assert "Forwarded" not in made and "Last-Update" not in made


@pytest.mark.parametrize(
    ("clone", "url"),
    [
        ("https://example.invalid/agents.git", True),
        ("git@example.invalid:livekit/agents", True),
        ("../agents", False),
        ("C:agents", False),
    ],
)
def test_what_is_a_url(clone: str, url: bool) -> None:
    assert is_url(clone) == url


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["main"], ["base main", "hunk", "proc_pool.py", "bound-the-wait/"]),
        (["nowhere"], ["no ref nowhere"]),
        (["main", "--author", "nobody"], ["not an author"]),
        (["main", "--request", "7"], ["give a number from 1 to 6"]),
        (["--request", "one"], ["invalid int value"]),
    ],
)
def test_a_failure_says_what_to_do_and_leaves_the_clone(
    clone: Path, arguments: list[str], words: list[str]
) -> None:
    before = state(clone)
    result: subprocess.CompletedProcess[str] = run("upstream-pr", str(clone), *arguments)
    assert result.returncode in (1, 2)
    [line] = result.stderr.splitlines()[-1:]
    assert all(word in line for word in words) and "Traceback" not in result.stderr
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
