"""Line ends: whatever git is set to, a checkout has those that the patches need."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATCH, POOL, POOL_TEXT
from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.base.git import git_environment
from procpool.catalog.series import Series, load_series
from procpool.patching.apply import apply_series

MakeSeries = Callable[..., Series]


def checkout(patches: Path, attributes: bool) -> Path:
    """Return the folder of patches in a clone of a repository that holds them.

    The clone is made with core.autocrlf, as git for Windows sets it; with `attributes` it has the
    project's .gitattributes.
    """
    project = patches.parent / "project"
    shutil.copytree(patches, project / "patches")
    if attributes:
        shutil.copy(ROOT / ".gitattributes", project)
    environment = git_environment(project) | {
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.invalid",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.invalid",
    }
    clone = patches.parent / "clone"
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["commit", "-qm", "patches"],
        ["clone", "-q", "-c", "core.autocrlf=true", str(project), str(clone)],
    ):
        subprocess.run(["git", *command], cwd=project, env=environment, check=True)
    return clone / "patches"


def test_a_series_applies_in_a_checkout_with_autocrlf(tree: Path, make_series: MakeSeries) -> None:
    series = make_series(PATCH)
    patches = checkout(series.folder, attributes=True)
    for path in patches.rglob("*"):
        assert path.is_dir() or b"\r" not in path.read_bytes(), path.name
    apply_series(load_series(series.name, patches), tree)
    assert "\nline two\n" in (tree / POOL).read_text()


def test_without_the_attributes_it_would_not(tree: Path, make_series: MakeSeries) -> None:
    series = make_series(PATCH)
    patches = checkout(series.folder, attributes=False)
    assert b"\r\n" in (patches / "change-1" / "v1.0.0.patch").read_bytes()
    with pytest.raises(UserError, match="does not apply"):
        apply_series(load_series(series.name, patches), tree)
    assert (tree / POOL).read_text() == POOL_TEXT


def test_no_file_of_the_project_has_other_line_ends() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not in a checkout")
    command = ["git", "ls-files", "--eol"]
    listing = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert [line for line in listing.stdout.splitlines() if "crlf" in line.split("\t")[0]] == []
