"""README's recipes for PDM, Pipenv and a git checkout of livekit/agents."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

from procpool.base.errors import UserError
from procpool.base.git import git
from procpool.catalog.fetch import fetch
from procpool.catalog.releases import PROJECT, get_release
from procpool.checks.projects import (
    Bench,
    Project,
    goes_back,
    locked_versions,
    merge_toml,
    only_moved,
)
from procpool.checks.starters import AS_OF, PLUGINS, RELEASE, pdm_project, pipfile
from procpool.patching.apply import CHANGE_MARK

_AUTHOR = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.invalid"}
_COMMITTER = {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.invalid"}


def _moved(
    bench: Bench, project: Project, lock: str, before: dict[str, str], installed: dict[str, str]
) -> str:
    """Check lock file and environment after a recipe, and say so."""
    only_moved(project, lock, before, locked_versions(project.folder / lock), bench.patched)
    only_moved(project, "the environment", installed, project.installed(), bench.patched)
    project.has(bench.patched, "patched", *PLUGINS)
    return (
        f"{project.name}: {bench.patched} is locked and installed with its plugins, no other has"
        " moved"
    )


def check_pdm(bench: Bench) -> Iterator[str]:
    """Check a PDM project with extras and a group, an update, and the way back."""
    project = bench.project("pdm")
    file, lock = project.folder / "pyproject.toml", project.folder / "pdm.lock"
    file.write_text(pdm_project(), "utf-8")
    project.sh(f"pdm lock --group :all --exclude-newer {AS_OF}\npdm sync --group :all")
    project.has(RELEASE, "affected", *PLUGINS)
    originals = {path: path.read_text("utf-8") for path in (file, lock)}
    before, installed = locked_versions(lock), project.installed()
    merge_toml(file, bench.recipes["pdm"])
    project.sh(bench.recipes["pdm-sync"])
    yield _moved(bench, project, "pdm.lock", before, installed)

    project.sh("pdm lock --check\npdm update --no-sync")
    if locked_versions(lock)[PROJECT] != bench.patched:
        raise UserError("pdm: an update takes the wheel away")
    yield "pdm: an update leaves the wheel in place"

    command = "pdm sync --group :all --reinstall"
    yield goes_back(project, originals, command, installed, RELEASE, *PLUGINS)


def check_pipenv(bench: Bench) -> Iterator[str]:
    """Check a Pipenv project with extras, an update, and the way back."""
    project = bench.project("pipenv")
    file, lock = project.folder / "Pipfile", project.folder / "Pipfile.lock"
    file.write_text(pipfile(bench.upstream), "utf-8")
    project.sh(f"PIP_UPLOADED_PRIOR_TO={AS_OF} pipenv lock\npipenv sync --dev")
    project.has(RELEASE, "affected", *PLUGINS)
    originals = {path: path.read_text("utf-8") for path in (file, lock)}
    before, installed = locked_versions(lock), project.installed()
    project.sh(bench.recipes["pipenv"])
    yield _moved(bench, project, "Pipfile.lock", before, installed)

    project.sh("pipenv verify")
    locked = lock.read_text("utf-8")
    project.sh("PIP_FIND_LINKS=vendor pipenv lock")
    if locked_versions(lock)[PROJECT] != bench.patched:
        raise UserError("pipenv: a new lock takes the wheel away")
    lock.write_text(locked, "utf-8")
    project.refuses("pipenv lock", bench.patched)
    yield "pipenv: a new lock leaves the wheel in place, and fails without PIP_FIND_LINKS"

    command = bench.recipes["back-pipenv"]
    yield goes_back(project, originals, command, installed, RELEASE, *PLUGINS)


def check_fork(bench: Bench) -> Iterator[str]:
    """Check `git am` in a repository whose folder livekit-agents/ is as in the release's wheel.

    It stands in for a clone of livekit/agents, which is on no package index; `nox -s upstream-pr`
    applies the same patches to a real one.
    """
    project = bench.project("fork")
    release, series = get_release(RELEASE)
    package = project.folder / "livekit-agents"
    with zipfile.ZipFile(fetch(release)) as archive:
        archive.extractall(package)
    git(project.folder, "init", "--quiet")
    git(project.folder, "add", "livekit-agents")
    git(project.folder, "commit", "--quiet", "-m", RELEASE, **_AUTHOR, **_COMMITTER)
    project.environment.update(_AUTHOR | _COMMITTER)
    project.sh(bench.recipes["fork"])
    commits = git(project.folder, "log", "--format=%s").splitlines()
    if len(commits) != len(series.patches) + 1:
        raise UserError(f"fork: {len(commits) - 1} commits, not {len(series.patches)}")
    [unpacked] = (project.folder / "unpacked").glob("*.dist-info")
    pool = "livekit/agents/ipc/proc_pool.py"
    wanted = (unpacked.parent / pool).read_text("utf-8").rpartition(CHANGE_MARK)[0]
    if (package / pool).read_text("utf-8") != wanted:
        raise UserError("fork: the pool is not the patched wheel's")
    yield f"fork: git am brings the {len(series.patches)} patches of {bench.patched}"
