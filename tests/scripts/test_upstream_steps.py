"""The steps of upstream's pull requests, on the made-up series of `lines`, with made-up gates."""

import dataclasses
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATCH, PYPROJECT, pool
from filelock import FileLock
from procpool.base.errors import UserError
from procpool.base.files import file_sha256
from procpool.catalog.releases import load_releases
from procpool.catalog.series import Series
from procpool.upkeep.update_releases import render
from procpool.upstream import pr
from procpool.upstream.clones import PACKAGE, author, make_stand_in
from procpool.upstream.gates import NEW_TESTS, Gates, git
from samples import release

MakeSeries = Callable[..., Series]
WHO = ("-c", "user.name=x", "-c", "user.email=x@example.invalid")
TESTS = """\
From: A <a@example.invalid>
Date: Mon, 1 Jun 2026 00:00:00 +0000
Subject: [PATCH] x: test {idea}

Forwarded: no
---
--- {before}
+++ b/{path}
@@ -{old} +{new} @@
{context}+def test_{idea}(): ...
"""


def write_tests(patches: Path, *ideas: str) -> None:
    """Write the patches that add a test for each idea, in that order, to one file."""
    (patches / "upstream-tests").mkdir()
    for number, idea in enumerate(ideas):
        context = "".join(f" def test_{name}(): ...\n" for name in ideas[:number])
        text = TESTS.format(
            idea=idea,
            path=NEW_TESTS,
            before=f"a/{NEW_TESTS}" if number else "/dev/null",
            old=f"1,{number}" if number else "0,0",
            new=f"1,{number + 1}",
            context=context,
        )
        (patches / "upstream-tests" / f"{idea}.patch").write_text(text)


PROSE = """\
# fix(x): {name}

## What breaks

All of it.

```python
print("{name}")
```

## What to look at first

This.

## Left out, and why

Nothing.
"""


def write_requests(patches: Path, **ideas: str) -> None:
    """Write a table of requests: the ideas of each, with spaces between them, by its name."""
    (patches / "requests").mkdir()
    rows = []
    for name, brought in ideas.items():
        rows.append(
            f'[[requests]]\nname = "{name}"\nideas = {brought.split()}\n'
            'before = "no"\nafter = "yes"\n'
        )
        (patches / "requests" / f"{name}.md").write_text(PROSE.format(name=name))
    (patches / "requests.toml").write_text("\n".join(rows))


def make_clone(path: Path, text: str) -> Path:
    """Make a repository that has the layout of livekit/agents and this pool."""
    file = path / PACKAGE / "livekit" / "agents" / "pool.py"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    git(path, "init", "--quiet", "--initial-branch=main")
    git(path, "add", "--all")
    git(path, *WHO, "commit", "--quiet", "--message", "base")
    return path


@pytest.fixture
def clone(tmp_path: Path, lines: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a clone that the newest series fits; `dist/` lies beside it."""
    write_tests(lines, "first", "second")
    write_requests(lines, one="first", two="second")
    monkeypatch.setattr(pr, "DIST", tmp_path / "dist")
    # git has no identity of the user's here, and guesses none
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for variable in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "EMAIL"):
        monkeypatch.delenv(variable, raising=False)
    return make_clone(tmp_path / "agents", pool("2.0.0"))


class MadeUpGates:
    """Stands for `run_gates`: notes what the checkouts hold, and fails with the given names."""

    def __init__(self) -> None:
        self.failed: dict[int, list[str]] = {}
        self.ran: list[int] = []
        self.tests: list[tuple[str, str]] = []
        self.pools: list[list[str]] = []

    def __call__(self, gates: Gates, again: str) -> tuple[list[str], dict[str, str]]:
        self.ran.append(gates.request.number)
        checkouts = (gates.base, gates.branch)
        self.tests.append(tuple((path / NEW_TESTS).read_text() for path in checkouts))  # type: ignore[arg-type]
        pools = [path / PACKAGE / "livekit" / "agents" / "pool.py" for path in checkouts]
        self.pools.append([path.read_text() for path in pools])
        return self.failed.get(gates.request.number, []), {"mypy": "no error"}

    def install(self, checkout: Path, patches: Path) -> Path:
        return checkout / "python"


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> MadeUpGates:
    made = MadeUpGates()
    monkeypatch.setattr(pr, "run_gates", made)
    monkeypatch.setattr(pr, "make_environment", made.install)
    return made


AUTHOR = ("--author", "Jane Doe <jane@example.invalid>")


def make(patches: Path, *arguments: str) -> int:
    texts = patches.parent / "texts"
    return pr.main([*arguments, "--texts", str(texts), "--patches", str(patches)])


def subjects(clone: Path, branch: str, below: str = "main") -> list[str]:
    return git(clone, "log", "--reverse", "--format=%s", f"{below}..{branch}").splitlines()


def heads(clone: Path) -> dict[str, str]:
    """Return the commit of each branch of a clone."""
    rows = git(clone, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads")
    return dict(row.split() for row in rows.splitlines())


def test_a_request_is_a_branch_on_top_of_the_one_before(
    clone: Path, lines: Path, gates: MadeUpGates, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(lines, str(clone), *AUTHOR) == 0
    assert subjects(clone, "fix/one") == ["x: first", "x: test first"]
    assert subjects(clone, "fix/two", "fix/one") == ["x: second", "x: test second"]
    # the base has the new tests of the request, and not its fix
    assert gates.ran == [1, 2]
    assert [(base == branch, branch.count("def ")) for base, branch in gates.tests] == [
        (True, 1),
        (True, 2),
    ]
    assert gates.pools[0][0] == pool("2.0.0") and gates.pools[0][1] == gates.pools[1][0]
    assert "second" in gates.pools[1][1] and "second" not in gates.pools[1][0]
    assert git(clone, "status", "--short") == "" and git(clone, "branch", "--show-current")
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith("base: heads/main of ")
    assert "2 patches of series v2.0.0\n" in out and out.endswith(f"all of it is in {clone}\n")
    for name in ("one", "two"):
        body = lines.parent / "texts" / f"{name}.md"
        line = f"--head fix/{name} --title 'fix(x): {name}' --body-file {body}\n"
        assert f"gh pr create --base main {line}" in out
        assert f"- x: {'first' if name == 'one' else 'second'} (" in body.read_text()
    assert "stacked on request 1" in body.read_text() and "- mypy: no error" in body.read_text()
    assert not list((lines.parent.parent / "dist" / "upstream-pr").glob("*/"))


def test_one_request_is_made_on_top_of_what_is_there(
    clone: Path, lines: Path, gates: MadeUpGates
) -> None:
    assert make(lines, str(clone), "--request", "1", *AUTHOR) == 0
    assert gates.ran == [1] and heads(clone).keys() == {"main", "fix/one"}
    first = heads(clone)["fix/one"]
    assert make(lines, str(clone), "--request", "2", *AUTHOR) == 0
    assert gates.ran == [1, 2] and heads(clone)["fix/one"] == first
    assert subjects(clone, "fix/two", "fix/one") == ["x: second", "x: test second"]
    # the same patches make the same commits
    before = heads(clone)
    assert make(lines, str(clone), *AUTHOR) == 0
    assert heads(clone) == before


def test_another_branch_of_that_name_stays(clone: Path, lines: Path, gates: MadeUpGates) -> None:
    for name in ("fix/two", "fix"):
        git(clone, "branch", name, "main")
        before = heads(clone)
        with pytest.raises(UserError, match=f"has another branch {name}: rename or delete it"):
            make(lines, str(clone), *AUTHOR)
        assert heads(clone) == before and gates.ran == []
        git(clone, "branch", "--delete", name)


def test_the_requests_need_not_have_the_order_of_the_series(
    clone: Path, lines: Path, gates: MadeUpGates
) -> None:
    shutil.rmtree(lines / "requests")
    write_requests(lines, one="second", two="first")
    assert make(lines, str(clone), *AUTHOR) == 0
    assert subjects(clone, "fix/one") == ["x: second", "x: test second"]
    tests = [git(clone, "show", f"fix/{name}:{NEW_TESTS}").splitlines() for name in ("one", "two")]
    assert tests == [
        ["def test_second(): ..."],
        ["def test_first(): ...", "def test_second(): ..."],
    ]


def test_the_newest_main_is_the_base(
    tmp_path: Path, clone: Path, lines: Path, gates: MadeUpGates, capsys: pytest.CaptureFixture[str]
) -> None:
    fork = tmp_path / "fork"
    git(tmp_path, "clone", "--quiet", str(clone), "fork")
    (clone / "new").touch()
    git(clone, "add", "--all")
    later = "2099-01-01T00:00:00+0000"
    dates = {"GIT_AUTHOR_DATE": later, "GIT_COMMITTER_DATE": later}
    git(clone, *WHO, "commit", "--quiet", "--message", "later", **dates)
    git(fork, "remote", "add", "upstream", str(clone))
    git(fork, "fetch", "--quiet", "upstream")
    assert make(lines, str(fork), "main", "--request", "1", *AUTHOR) == 0
    assert subjects(fork, "fix/one") == ["later", "x: first", "x: test first"]
    assert "base: remotes/upstream/main of 2099-01-01, " in capsys.readouterr().out
    git(fork, "branch", "--delete", "--force", "fix/one")
    # a ref in full is taken as it is
    assert make(lines, str(fork), "refs/heads/main", "--request", "1", *AUTHOR) == 0
    assert subjects(fork, "fix/one") == ["x: first", "x: test first"]


def test_a_clone_without_main(clone: Path, lines: Path, gates: MadeUpGates) -> None:
    git(clone, "branch", "--move", "main", "trunk")
    with pytest.raises(UserError, match="has no branch main: fetch it, or name a base"):
        make(lines, str(clone), *AUTHOR)
    assert make(lines, str(clone), "trunk", *AUTHOR) == 0


def test_an_older_base_gets_the_series_that_fits_it_and_what_upstream_has_since(
    tmp_path: Path,
    clone: Path,
    lines: Path,
    gates: MadeUpGates,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in (lines / "oldest-only").iterdir():
        text = path.read_text().replace("Forwarded", "Applied-Upstream: 2.0.0\nForwarded")
        path.write_text(text)
    text = (lines / "first" / "v1.0.0.patch").read_text().replace("-line 5", "-line five")
    (lines / "first" / "v2.0.0.patch").write_text(text)
    (lines / "v2.0.0" / "series").write_text("first/v2.0.0.patch\nsecond/v1.0.0.patch\n")
    older = make_clone(tmp_path / "older", pool("1.0.1"))
    assert make(lines, str(older), "--request", "1", *AUTHOR) == 0
    assert subjects(older, "fix/one") == ["x: oldest-only", "x: first", "x: test first"]
    assert "oldest-only" in gates.pools[0][0], "it is part of the base"
    out = capsys.readouterr().out
    assert "1 patches of series v1.0.0\n" in out
    assert "first, as upstream has it in a later release: oldest-only\n" in out


def test_a_gate_that_fails_keeps_the_branch_and_says_how_to_go_on(
    clone: Path, lines: Path, gates: MadeUpGates, capsys: pytest.CaptureFixture[str]
) -> None:
    gates.failed = {2: ["mypy", "tests"]}
    with pytest.raises(UserError, match=r"^request 2 of 2: mypy, tests failed on main") as failure:
        make(lines, str(clone), *AUTHOR)
    assert heads(clone).keys() == {"main", "fix/one"}, "the first has passed"
    [kept] = (lines.parent.parent / "dist" / "upstream-pr").glob("*/*/branch")
    assert f"branch fix/two is kept in {kept}. " in str(failure.value)
    assert git(kept, "branch", "--show-current") == "fix/two"
    line = f"nox -s upstream-pr -- {clone} main --author 'Jane Doe <jane@example.invalid>' --resume"
    assert str(failure.value).endswith(f"Go on with: {line}")
    assert not (lines.parent / "texts" / "two.md").exists()
    first = heads(clone)["fix/one"]
    gates.failed = {}
    (kept / PACKAGE / "cache").touch()  # a gate may leave files behind
    assert make(lines, str(clone), *AUTHOR, "--resume") == 0
    assert heads(clone)["fix/one"] == first
    assert "fix/two" in heads(clone) and not kept.exists()


def test_two_runs_at_once(clone: Path, lines: Path, gates: MadeUpGates) -> None:
    work = lines.parent.parent / "dist" / "upstream-pr"
    work.mkdir(parents=True)
    name = pr.read_options([str(clone)]).work.name
    with (
        FileLock(work / f"{name}.lock"),
        pytest.raises(UserError, match="another run works on agents"),
    ):
        make(lines, str(clone), *AUTHOR)


def test_a_patch_without_tests_for_upstream(clone: Path, lines: Path, gates: MadeUpGates) -> None:
    (lines / "upstream-tests" / "second.patch").unlink()
    with pytest.raises(UserError, match="second has no tests for upstream"):
        make(lines, str(clone), *AUTHOR)


def test_what_upstream_has_is_left_out(clone: Path, lines: Path, gates: MadeUpGates) -> None:
    text = lines / "first" / "v1.0.0.patch"
    fields = "Applied-Upstream: 1.9.0\nForwarded: no"
    text.write_text(text.read_text().replace("Forwarded: no", fields))
    git(clone, "apply", f"--directory={PACKAGE}", str(text))
    git(clone, "apply", str(lines / "upstream-tests" / "first.patch"))
    git(clone, "add", "--all")
    git(clone, *WHO, "commit", "--quiet", "--message", "upstream takes it")
    assert make(lines, str(clone), *AUTHOR) == 0
    assert heads(clone).keys() == {"main", "fix/two"} and gates.ran == [2]
    assert subjects(clone, "fix/two")[0] == "x: second"
    both = "def test_first(): ...\ndef test_second(): ..."
    assert git(clone, "show", f"fix/two:{NEW_TESTS}") == both
    git(clone, "branch", "--delete", "--force", "fix/two")
    (clone / NEW_TESTS).write_text("def test_renamed(): ...\n")
    git(clone, *WHO, "commit", "--quiet", "--all", "--message", "review")
    with pytest.raises(UserError, match=r"upstream-tests/second.patch does not apply: file tests"):
        make(lines, str(clone), *AUTHOR)


def test_a_clone_of_a_url_is_kept_once_it_has_the_branches(
    clone: Path, lines: Path, gates: MadeUpGates, capsys: pytest.CaptureFixture[str]
) -> None:
    url, kept = clone.as_uri(), lines.parent.parent / "dist" / "agents"
    gates.failed = {1: ["tests"]}
    with pytest.raises(UserError, match="tests failed"):
        make(lines, url, *AUTHOR)
    assert not kept.exists()
    gates.failed = {}
    assert make(lines, url, *AUTHOR, "--resume") == 0
    assert heads(kept).keys() == {"main", "fix/one", "fix/two"}
    assert heads(clone).keys() == {"main"}
    out = capsys.readouterr().out
    assert out.count(f"cloning {url}\n") == 1 and f"all of it is in {kept}\n" in out
    with pytest.raises(UserError, match="agents exists: give it in place of the URL"):
        make(lines, url, *AUTHOR)


def test_what_is_no_clone(tmp_path: Path, clone: Path, lines: Path, gates: MadeUpGates) -> None:
    with pytest.raises(UserError, match="absent is not a directory: give a clone"):
        make(lines, str(tmp_path / "absent"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"git rev-parse failed in .*empty"):
        make(lines, str(empty))
    git(clone, "mv", PACKAGE, "package")
    git(clone, *WHO, "commit", "--quiet", "--message", "moved")
    with pytest.raises(UserError, match=r"main of .* has no livekit-agents/: not livekit/agents"):
        make(lines, str(clone), "main")


def test_an_author_is_asked_for_and_never_made_up(
    clone: Path, lines: Path, gates: MadeUpGates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="who is the author"):
        make(lines, str(clone))
    assert heads(clone).keys() == {"main"} and gates.ran == []
    assert not list((lines.parent.parent / "dist" / "upstream-pr").glob("*/")), "nothing is left"
    git(clone, "config", "user.name", "Me")
    with pytest.raises(UserError, match="or give --author"):
        make(lines, str(clone))
    git(clone, "config", "user.email", "me@example.invalid")
    assert make(lines, str(clone)) == 0
    people = git(clone, "log", "--format=%an <%ae> %cn <%ce>", "main..fix/two").splitlines()
    assert set(people) == {"Me <me@example.invalid> Me <me@example.invalid>"}
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Other")
    assert author(clone, None)["GIT_AUTHOR_NAME"] == "Other"
    assert author(clone, AUTHOR[1])["GIT_AUTHOR_EMAIL"] == "jane@example.invalid"
    with pytest.raises(UserError, match="not an author: 'nobody'"):
        author(clone, "nobody")


def test_a_stand_in_is_made_of_the_newest_sdist(
    tmp_path: Path,
    wheel: Path,
    sdist: Path,
    make_series: MakeSeries,
    gates: MadeUpGates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    patches = make_series(PATCH).folder
    write_tests(patches, "change-1")
    write_requests(patches, one="change-1")
    digest = file_sha256(sdist)
    row = dataclasses.replace(release(), wheel=wheel.name, sdist_sha256=digest)
    (patches / "releases.toml").write_text(render([row]))
    (tmp_path / "cache" / digest).mkdir(parents=True)
    shutil.copy(sdist, tmp_path / "cache" / digest)
    monkeypatch.setenv("LIVEKIT_PROCPOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pr, "DIST", tmp_path / "dist")
    assert list(load_releases(patches)) == ["1.0.1"]
    assert make(patches) == 0, "nothing of it leaves the machine, so no author is needed"
    out = capsys.readouterr().out
    assert "no clone given: a stand-in repository holds the sdist of 1.0.1\n" in out
    assert "request 1 of 1: branch fix/one\n" in out
    assert out.endswith("all of it is in the stand-in\n")
    with tarfile.open(sdist) as archive:
        assert "livekit_agents-1.0.1/pyproject.toml" in archive.getnames()
    made = tmp_path / "made"
    made.mkdir()
    assert make_stand_in(made, patches) == "1.0.1"
    assert (made / PACKAGE / "pyproject.toml").read_bytes() == PYPROJECT
    assert "ruff==" in (made / "pyproject.toml").read_text()
    assert git(made, "log", "--format=%an %s") == "stand-in livekit-agents 1.0.1, from its sdist"
