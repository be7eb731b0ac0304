"""The files of throw-away projects that are made as LiveKit's own starters are.

Each asks for livekit-agents with extras, and for plugins and other packages of its own; some have
groups, one is a workspace. The made-up plugin asks for `livekit-agents==1.5.11`, as some do.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from procpool.catalog.releases import PROJECT, REPORTED

RELEASE = REPORTED
# A day after RELEASE's own: what its dependencies are resolved as of.
AS_OF = "2026-05-21T00:00:00Z"
EXTRAS = "openai,silero,turn-detector"
STRICT_PLUGIN = "strict-plugin"
# What every project imports after a recipe: the plugins of the extras, and one of its own.
PLUGINS = tuple(f"livekit.plugins.{n}" for n in ("openai", "silero", "turn_detector", "deepgram"))
STRICT_MODULE = "strict_plugin"

_PYTHON = ".".join(map(str, sys.version_info[:2]))
_OWN = "livekit-plugins-deepgram"


def requirements(strict_plugin: Path) -> str:
    """Return the text of a requirements.in with extras, a plugin and a made-up one."""
    rows = [f"{PROJECT}[{EXTRAS}]~={RELEASE}", f"{_OWN}~={RELEASE}", "python-dotenv"]
    return "\n".join([*rows, f"{STRICT_PLUGIN} @ {strict_plugin.as_uri()}", ""])


def _project(name: str, *dependencies: str) -> str:
    """Return the `[project]` table of a pyproject.toml (PEP 621)."""
    return f"""\
[project]
name = "{name}"
version = "1.0.0"
requires-python = "=={_PYTHON}.*"
dependencies = {json.dumps(list(dependencies))}
"""


def uv_project(strict_plugin: Path) -> str:
    """Return the pyproject.toml of a uv project with extras and a group."""
    rows = requirements(strict_plugin).splitlines()
    return f'{_project("app", *rows)}\n[dependency-groups]\ndev = ["tomli"]\n'


def uv_workspace() -> dict[str, str]:
    """Return path -> text of a uv workspace whose root is no project and has sources.

    One member asks for livekit-agents in a group, another through a plugin alone.
    """
    root = f"""\
[tool.uv]
exclude-newer = "{AS_OF}"

[tool.uv.workspace]
members = ["packages/*"]

[tool.uv.sources]
tools = {{ workspace = true }}
"""
    worker = json.dumps([f"{PROJECT}[{EXTRAS}]~={RELEASE}"])
    return {
        "pyproject.toml": root,
        "packages/agent/pyproject.toml": _project("agent", f"{_OWN}~={RELEASE}", "tools")
        + f"\n[dependency-groups]\nworker = {worker}\n",
        "packages/tools/pyproject.toml": _project("tools", f"{_OWN}>={RELEASE}"),
    }


def _poetry(upstream: str, text: str) -> str:
    """Return the pyproject.toml of a Poetry project; Poetry does not know pip's index."""
    source = f'[[tool.poetry.source]]\nname = "index"\nurl = "{upstream}"\n'
    return f"{text}\n[tool.poetry]\npackage-mode = false\n\n{source}"


def poetry_project(upstream: str) -> str:
    """Return the pyproject.toml of a Poetry project with extras in its main dependencies."""
    rows = [f"{PROJECT}[{EXTRAS}] (=={RELEASE})", f"{_OWN} (>={RELEASE},<1.6)", "python-dotenv"]
    return _poetry(upstream, _project("app", *rows))


def poetry_group(upstream: str) -> str:
    """Return the pyproject.toml of a Poetry project, in Poetry's own words, with a group."""
    extras = json.dumps(EXTRAS.split(","))
    return f"""\
{_poetry(upstream, "")}
[tool.poetry.dependencies]
python = "{_PYTHON}.*"
{_OWN} = "~{RELEASE}"

[tool.poetry.group.worker.dependencies]
{PROJECT} = {{ version = "{RELEASE}", extras = {extras} }}
"""


def pdm_project() -> str:
    """Return the pyproject.toml of a PDM project with extras and a group."""
    text = _project("app", f"{PROJECT}[{EXTRAS}]~={RELEASE}", f"{_OWN}>={RELEASE}")
    return f'{text}\n[dependency-groups]\ndev = ["tomli"]\n\n[tool.pdm]\ndistribution = false\n'


def pipfile(upstream: str) -> str:
    """Return the Pipfile of a project with extras and a plugin."""
    return f"""\
[[source]]
url = "{upstream}"
verify_ssl = true
name = "index"

[packages]
{PROJECT} = {{extras = {json.dumps(EXTRAS.split(","))}, version = "~={RELEASE}"}}
{_OWN} = "~={RELEASE}"

[dev-packages]
tomli = "*"

[requires]
python_version = "{_PYTHON}"
"""


def environment_yml() -> list[str]:
    """Return the lines of the pip section of a conda environment.yml."""
    return [f"{PROJECT}[{EXTRAS}]~={RELEASE}", f"{_OWN}~={RELEASE}"]
