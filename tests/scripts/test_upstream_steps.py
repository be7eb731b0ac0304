"""The steps of an upstream pull request, on the made-up series of `lines`, with made-up gates."""

import dataclasses
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATCH, PYPROJECT, pool
from procpool.base.errors import UserError
from procpool.base.files import file_sha256
from procpool.catalog.releases import load_releases
from procpool.catalog.series import Series
from procpool.upkeep.update_releases import render
from procpool.upstream import pr
from procpool.upstream.gates import NEW_TESTS, git
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


def make_clone(path: Path, text: str) -> Path:
    """Make a repository that has the layout of livekit/agents and this pool."""
    file = path / pr.PACKAGE / "livekit" / "agents" / "pool.py"
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
    monkeypatch.setattr(pr, "DIST", tmp_path / "dist")
    for variable in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(variable, raising=False)
    return make_clone(tmp_path / "agents", pool("2.0.0"))


class Gates:
    """Stands for `run_gates`: notes what the checkouts hold, and fails with the given names."""

    def __init__(self, *failed: str) -> None:
        self.failed = list(failed)

    def __call__(self, branch: Path, base: Path, folder: Path, patches: Path) -> list[str]:
        self.branch = (branch / NEW_TESTS).read_text()
        self.base = (base / NEW_TESTS).read_text()
        self.pools = [
            (checkout / pr.PACKAGE / "livekit" / "agents" / "pool.py").read_text()
            for checkout in (branch, base)
        ]
        return self.failed


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> Gates:
    made = Gates()
    monkeypatch.setattr(pr, "run_gates", made)
    return made


def make(patches: Path, *arguments: str) -> int:
    body = patches.parent / "body" / "text.md"
    return pr.main([*arguments, "--body", str(body), "--patches", str(patches)])


def subjects(clone: Path, branch: str = "fix/bound-the-wait-for-a-process") -> list[str]:
    return git(clone, "log", "--reverse", "--format=%s", f"main..{branch}").splitlines()


def test_the_branch_has_a_commit_and_its_tests_for_each_patch(
    clone: Path, lines: Path, gates: Gates, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(lines, str(clone), "main") == 0
    assert subjects(clone) == ["x: first", "x: test first", "x: second", "x: test second"]
    # the base has the new tests, and not the patches
    assert gates.branch == gates.base and gates.branch.count("def ") == 2
    assert "first" in gates.pools[0] and gates.pools[1] == pool("2.0.0")
    assert git(clone, "status", "--short") == "" and git(clone, "branch", "--show-current")
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("; 2 patches of series v2.0.0") and out[-2].endswith(f" of {clone}")
    assert out[-1].startswith("gh pr create --title 'fix(ipc): ")
    assert "body/text.md" in out[-1]
    text = (lines.parent / "body" / "text.md").read_text()
    assert "1. `x: first`\n2. `x: second`" in text
    assert list((lines.parent.parent / "dist").iterdir()) == []


def test_a_part_by_another_author(clone: Path, lines: Path, gates: Gates) -> None:
    options = ["--prefix", "1", "--branch", "part", "--author", "Jane Doe <jane@example.invalid>"]
    assert make(lines, str(clone), "main", *options) == 0
    assert subjects(clone, "part") == ["x: first", "x: test first"]
    assert git(clone, "log", "-1", "--format=%an <%ae>", "part") == options[-1]
    text = (lines.parent / "body" / "text.md").read_text()
    assert text.startswith("> This is part of a series: patches 1 to 1 of the 2 listed below.")


def test_an_older_base_gets_the_series_that_fits_it(
    tmp_path: Path, clone: Path, lines: Path, gates: Gates, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lines / "upstream-tests" / "oldest-only.patch"
    shutil.copy(lines / "upstream-tests" / "first.patch", path)
    text = (lines / "first" / "v1.0.0.patch").read_text().replace("-line 5", "-line five")
    (lines / "first" / "v2.0.0.patch").write_text(text)
    (lines / "v2.0.0" / "series").write_text("first/v2.0.0.patch\nsecond/v1.0.0.patch\n")
    older = make_clone(tmp_path / "older", pool("1.0.1"))
    assert make(lines, str(older), "main", "--prefix", "1") == 0
    assert subjects(older)[0] == "x: oldest-only"
    assert "series v2.0.0 does not apply to main; v1.0.0 does" in capsys.readouterr().out


def test_a_gate_that_fails_leaves_the_clone(clone: Path, lines: Path, gates: Gates) -> None:
    gates.failed = ["mypy", "tests"]
    with pytest.raises(UserError, match=r"^mypy, tests failed on main; the clone is as it was$"):
        make(lines, str(clone), "main")
    assert git(clone, "branch", "--format=%(refname:short)") == "main"
    assert not (lines.parent / "body").exists()


def test_a_patch_without_tests_for_upstream(clone: Path, lines: Path, gates: Gates) -> None:
    (lines / "upstream-tests" / "second.patch").unlink()
    with pytest.raises(UserError, match="second has no tests for upstream"):
        make(lines, str(clone), "main")


def test_what_upstream_has_is_left_out(clone: Path, lines: Path, gates: Gates) -> None:
    text = lines / "first" / "v1.0.0.patch"
    fields = "Applied-Upstream: 1.9.0\nForwarded: no"
    text.write_text(text.read_text().replace("Forwarded: no", fields))
    shutil.copy(lines / "upstream-tests" / "first.patch", lines / "upstream-tests" / "second.patch")
    assert make(lines, str(clone), "main") == 0
    assert subjects(clone)[0] == "x: second"


def test_a_clone_of_a_url_is_kept_once_it_has_the_branch(
    clone: Path, lines: Path, gates: Gates, capsys: pytest.CaptureFixture[str]
) -> None:
    url, kept = clone.as_uri(), lines.parent.parent / "dist" / "agents"
    gates.failed = ["tests"]
    with pytest.raises(UserError, match="tests failed"):
        make(lines, url, "main")
    assert not kept.exists()
    gates.failed = []
    assert make(lines, url, "main") == 0
    assert len(subjects(kept)) == 4
    assert git(clone, "branch", "--format=%(refname:short)") == "main"
    out = capsys.readouterr().out
    assert f"cloning {url}\n" in out and f" of {kept}\n" in out
    with pytest.raises(UserError, match="agents exists: give it in place of the URL"):
        make(lines, url, "main")


def test_what_is_no_clone(tmp_path: Path, clone: Path, lines: Path, gates: Gates) -> None:
    with pytest.raises(UserError, match="absent is not a directory: give a clone"):
        make(lines, str(tmp_path / "absent"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"git rev-parse failed in .*empty"):
        make(lines, str(empty))
    git(clone, "mv", pr.PACKAGE, "package")
    git(clone, *WHO, "commit", "--quiet", "--message", "moved")
    with pytest.raises(UserError, match=r"main of .* has no livekit-agents/: not livekit/agents"):
        make(lines, str(clone), "main")


def test_an_author_that_is_none(clone: Path, lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # git has no identity of the user's here, and guesses none
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    git(clone, "config", "user.useConfigOnly", "true")
    with pytest.raises(UserError, match="not an author: 'nobody'"):
        pr.identity(clone, "nobody")
    assert pr.identity(clone, "A <a@example.invalid>") == {
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.invalid",
    }
    git(clone, "config", "user.name", "Me")
    git(clone, "config", "user.email", "me@example.invalid")
    assert pr.identity(clone, "nobody")["GIT_COMMITTER_NAME"] == "Me"


def test_a_stand_in_is_made_of_the_newest_sdist(
    tmp_path: Path,
    wheel: Path,
    sdist: Path,
    make_series: MakeSeries,
    gates: Gates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    patches = make_series(PATCH).folder
    write_tests(patches, "change-1")
    digest = file_sha256(sdist)
    row = dataclasses.replace(release(), wheel=wheel.name, sdist_sha256=digest)
    (patches / "releases.toml").write_text(render([row]))
    (tmp_path / "cache" / digest).mkdir(parents=True)
    shutil.copy(sdist, tmp_path / "cache" / digest)
    monkeypatch.setenv("LIVEKIT_PROCPOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pr, "DIST", tmp_path / "dist")
    assert list(load_releases(patches)) == ["1.0.1"]
    assert make(patches) == 0
    out = capsys.readouterr().out
    assert "no clone given: a stand-in repository holds the sdist of 1.0.1\n" in out
    assert "branch fix/bound-the-wait-for-a-process of the stand-in\n" in out
    with tarfile.open(sdist) as archive:
        assert "livekit_agents-1.0.1/pyproject.toml" in archive.getnames()
    made = tmp_path / "made"
    made.mkdir()
    assert pr.make_stand_in(made, patches) == "1.0.1"
    assert (made / pr.PACKAGE / "pyproject.toml").read_bytes() == PYPROJECT
    assert "ruff==" in (made / "pyproject.toml").read_text()
    assert git(made, "log", "--format=%an %s") == "stand-in livekit-agents 1.0.1, from its sdist"
