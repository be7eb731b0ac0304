"""README's recipe for Poetry: main dependencies, and a group."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator

import tomlkit
from procpool.base.errors import UserError
from procpool.catalog.releases import PROJECT
from procpool.checks.projects import (
    NEWER,
    Bench,
    Project,
    goes_back,
    locked_versions,
    merge_toml,
    only_moved,
)
from procpool.checks.starters import (
    AS_OF,
    EXTRAS,
    PLUGINS,
    RELEASE,
    poetry_group,
    poetry_project,
)


def _locked(bench: Bench, name: str, text: str) -> Project:
    """Return a project of this pyproject.toml, locked on the release's day and installed."""
    project = bench.project(name)
    (project.folder / "pyproject.toml").write_text(text, "utf-8")
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(AS_OF)
    project.sh(f"POETRY_SOLVER_MIN_RELEASE_AGE={age.days + 1} poetry lock\npoetry sync --no-root")
    project.has(RELEASE, "affected", *PLUGINS)
    return project


def _put_path(project: Project, recipe: str, group: str) -> None:
    """Put the recipe's path in the place of the version in a group's table, as README says."""
    file = project.folder / "pyproject.toml"
    document = tomlkit.parse(file.read_text("utf-8"))
    path = tomlkit.parse(recipe)["tool"]["poetry"]["dependencies"][PROJECT]["path"]
    entry = document["tool"]["poetry"]["group"][group]["dependencies"][PROJECT]
    del entry["version"]
    entry["path"] = str(path)
    if json.dumps(EXTRAS.split(",")) != json.dumps(entry["extras"]):
        raise UserError(f"{project.name}: the extras are gone")
    file.write_text(tomlkit.dumps(document), "utf-8")


def _proved(bench: Bench, project: Project, group: str = "") -> Iterator[str]:
    """Run the recipe in a locked project; check the lock, an update and the way back."""
    file, lock = project.folder / "pyproject.toml", project.folder / "poetry.lock"
    originals = {path: path.read_text("utf-8") for path in (file, lock)}
    before, installed = locked_versions(lock), project.installed()
    if group:
        _put_path(project, bench.recipes["poetry"], group)
    else:
        merge_toml(file, bench.recipes["poetry"])
    project.sh(bench.recipes["poetry-sync"])
    only_moved(project, "poetry.lock", before, locked_versions(lock), bench.patched)
    only_moved(project, "the environment", installed, project.installed(), bench.patched)
    project.diagnose("patched", "poetry.lock")
    project.has(bench.patched, "patched", *PLUGINS)
    project.sh("poetry check --lock")
    name = project.name
    yield f"{name}: {bench.patched} is locked and installed with its plugins, no other has moved"

    project.sh(f"poetry update --lock {PROJECT}")
    project.sh("poetry update --lock")
    project.diagnose("patched", "poetry.lock")
    project.sh("poetry check --lock")
    yield f"{name}: an update leaves the wheel in place"

    if not group:
        project.sh(f"poetry add --lock {PROJECT}=={NEWER}")
        project.diagnose("partly", "poetry.lock")
        yield f"{name}: 'poetry add {PROJECT}=={NEWER}' gets in, and the doctor reports the lock"

    command = "poetry sync --no-root"
    yield goes_back(project, originals, command, installed, RELEASE, *PLUGINS)


def check_poetry(bench: Bench) -> Iterator[str]:
    """Check a project with extras among its main dependencies."""
    yield from _proved(bench, _locked(bench, "poetry", poetry_project(bench.upstream)))


def check_poetry_group(bench: Bench) -> Iterator[str]:
    """Check a project in Poetry's own words, with extras in a group."""
    project = _locked(bench, "poetry-group", poetry_group(bench.upstream))
    yield from _proved(bench, project, "worker")
