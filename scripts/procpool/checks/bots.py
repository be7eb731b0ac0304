"""README's settings for Renovate and Dependabot: they must leave the pin alone.

Renovate itself looks the project up (`--platform=local`), once with the settings and once without;
npm brings it. Dependabot runs on GitHub only: its settings are checked against the schema.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

from procpool.base.errors import UserError
from procpool.base.git import git
from procpool.catalog.releases import PROJECT
from procpool.checks.projects import Bench, Project, merge_toml
from procpool.checks.starters import RELEASE, uv_project

# With the Node that it asks for; without what has to be compiled.
_RENOVATE = ("renovate@44.121.2", "node@24.11.1")
# What Renovate would ask GitHub for, which it may not reach: the versions of Python itself.
_GLOBAL = {"packageRules": [{"matchDepNames": ["python"], "enabled": False}]}
_WHO = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.invalid"}
_WHO |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in _WHO.items()}


def planned(log: str) -> dict[str, list[str]]:
    """Return package -> the new versions that Renovate plans, from its log (JSON lines).

    Raise `UserError` if it did not get so far.
    """
    found: dict[str, list[str]] = {}
    for line in log.splitlines():
        entry: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
        if entry.get("msg") != "packageFiles with updates":
            continue
        for files in entry["config"].values():
            for dependency in (d for file in files for d in file["deps"]):
                new = [u.get("newValue", "") for u in dependency.get("updates", [])]
                found.setdefault(dependency.get("depName", ""), []).extend(new)
    if not found:
        raise UserError("renovate: it did not look the project up: check the network")
    return found


def _look_up(project: Project, settings: str) -> dict[str, list[str]]:
    """Return what Renovate plans for the project with these settings."""
    (project.folder / "renovate.json").write_text(settings, "utf-8")
    git(project.folder, "add", "renovate.json", "pyproject.toml", "requirements.txt")
    git(project.folder, "commit", "--quiet", "--allow-empty", "-m", "settings", **_WHO)
    tools = "tools/node_modules/.bin"
    return planned(
        project.sh(f"{tools}/node {tools}/renovate --platform=local --dry-run=lookup 2> errors")
    )


def check_renovate(bench: Bench) -> Iterator[str]:
    """Check what Renovate plans for pins in a requirements.txt and a pyproject.toml."""
    if not shutil.which("npm"):
        yield "renovate: NOT checked: npm is not on PATH"
        return
    project = bench.project("renovate")
    project.sh(f"npm install --silent --omit=optional --prefix tools {' '.join(_RENOVATE)}")
    file = project.folder / "pyproject.toml"
    file.write_text(uv_project(bench.strict_plugin), "utf-8")
    merge_toml(file, bench.recipes["uv"])
    pins = f"{PROJECT}=={RELEASE}\nlivekit-plugins-openai=={RELEASE}\ntomli==2.0.1\n"
    (project.folder / "requirements.txt").write_text(pins, "utf-8")
    git(project.folder, "init", "--quiet")
    settings = {"LOG_LEVEL": "debug", "LOG_FORMAT": "json", "RENOVATE_CONFIG": json.dumps(_GLOBAL)}
    base = str(project.folder / "tools" / "base")
    project.environment.update(settings, RENOVATE_BASE_DIR=base)
    free = _look_up(project, "{}")
    kept = _look_up(project, bench.recipes["renovate"])
    for name in (PROJECT, "livekit-plugins-openai"):
        if not free[name] or kept[name] or not kept["tomli"]:
            raise UserError(f"renovate: plans {free} without the settings, {kept} with them")
    yield f"renovate: plans {PROJECT} {free[PROJECT][0]} without the settings, none with them"


def check_dependabot(bench: Bench) -> Iterator[str]:
    """Check Dependabot's settings against the schema that GitHub publishes."""
    project = bench.project("dependabot")
    entry = textwrap.dedent(bench.recipes["dependabot"])
    head = """\
version: 2
updates:
  - package-ecosystem: uv
    directory: /
    schedule:
      interval: weekly
"""
    (project.folder / "dependabot.yml").write_text(head + textwrap.indent(entry, "    "))
    project.sh("check-jsonschema --builtin-schema vendor.dependabot dependabot.yml")
    yield "dependabot: the settings fit the schema; Dependabot itself runs on GitHub only"
