"""Made-up installers and doctor for README's recipes: each knows livekit-agents and numpy.

What a shell itself does (mkdir, cp, printf, sed) is done. An installer locks and installs the
patched version where the files of the project name it, as a recipe makes them do.
"""

import json
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from procpool.catalog.releases import PROJECT
from procpool.checks.projects import NEWER, locked_versions
from procpool.checks.starters import RELEASE

PINS = {PROJECT: RELEASE, "numpy": "2.0"}
STATES = {RELEASE: "affected", NEWER: "partly"}
SHELL = ("mkdir", "cp", "printf", "sed")
LOCKS = {"uv": "uv.lock", "poetry": "poetry.lock", "pdm": "pdm.lock", "pipenv": "Pipfile.lock"}
FILES = ("pyproject.toml", "Pipfile", "constraints.txt", "requirements.txt")
# What a command does in place of what it should: exit with a code and words, or leave these pins.
Fault = tuple[int, str] | dict[str, str]
real_run = subprocess.run


class Refused(Exception):
    """An installer's own words."""


class Installers:
    """Stands for `subprocess.run` in the projects: runs the lines of a script, one by one.

    Where `faults` has a part of a line, that fault takes the line's place: in the environment, and
    in the lock of the tool.
    """

    def __init__(self) -> None:
        self.faults: dict[str, Fault] = {}
        self.installed: dict[Path, dict[str, str]] = {}

    def __call__(
        self, command: Sequence[str], cwd: Path, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        if command[0] == "git":
            return real_run(command, cwd=cwd, **options)
        script = command[-1] if command[0] == "sh" else shlex.join(command)
        said = ""
        for line in re.split(r"\n|; ", script):
            try:
                said += self.run(line, cwd, options["env"])
            except Refused as refusal:
                code, words = refusal.args
                return subprocess.CompletedProcess(command, code, said + words)
        return subprocess.CompletedProcess(command, 0, said)

    def run(self, line: str, cwd: Path, environment: dict[str, str]) -> str:
        """Run one line of a script in a project; return what it prints."""
        for part, fault in self.faults.items():
            if part in line:
                if isinstance(fault, tuple):
                    raise Refused(*fault)
                self.installed[cwd] = PINS | fault
                if tool := next((t for t in LOCKS if t in line.split()), None):
                    write_lock(cwd / LOCKS[tool], PINS | fault)
                return ""
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
        if line.startswith("PIP_FIND_LINKS="):
            environment = environment | {"PIP_FIND_LINKS": "vendor"}
        if not words:
            return ""
        if words[0] in SHELL:
            return real_run(["sh", "-ec", line], cwd=cwd, env=environment, check=True, text=True,
                            stdout=subprocess.PIPE).stdout  # fmt: skip
        if "doctor.py" in line:
            return self.doctor(words, cwd)
        if "probe.py" in words:
            version = self.installed[cwd][PROJECT]
            return json.dumps([version, "+procpool" in version])
        if words[:3] == ["uv", "pip", "list"]:
            rows = self.installed[cwd].items()
            return json.dumps([{"name": n, "version": v} for n, v in rows])
        if words[:3] == ["uv", "pip", "compile"]:
            pins = PINS | ({PROJECT: self.wanted(cwd)} if "-c" in words else {})
            (cwd / words[-1]).write_text("".join(f"{n}=={v}\n" for n, v in pins.items()))
        elif "pip" in words[:3] and words[:2] != ["uv", "venv"] and "check" not in words:
            self.pip(words, cwd)
        elif "renovate" in line and words[0] != "npm":
            return self.renovate(cwd)
        elif words[0] in LOCKS:
            self.lock_and_sync(words, cwd, environment)
        return ""

    def wanted(self, cwd: Path) -> str:
        """Return the version of livekit-agents that the files of a project name."""
        texts = [(cwd / name).read_text() for name in FILES if (cwd / name).is_file()]
        found = re.search(r"1\.5\.11\+procpool\.\d+", "\n".join(texts))
        return found[0] if found else RELEASE

    def doctor(self, words: list[str], cwd: Path) -> str:
        """Say what is installed, or what the last argument, a lock file, pins."""
        lock = cwd / words[-1]
        pins = locked_versions(lock) if words[-1].endswith((".lock", ".txt")) else {}
        state = STATES.get((pins or self.installed[cwd])[PROJECT], "patched")
        if "--json" in words:
            return json.dumps({"state": state, "why": ["its sum"]})
        text = {"partly": "PARTLY FIXED", "affected": "AFFECTED", "patched": "PATCHED"}[state]
        if state != "patched":
            raise Refused(1, text)
        return text

    def pip(self, words: list[str], cwd: Path) -> None:
        """Install what is asked for, as far as constraints and hashes let it."""
        if "uninstall" in words:
            self.installed.pop(cwd, None)
            return
        if words[1] == "download":
            if "--require-hashes" in words:
                raise Refused(1, f"{self.wanted(cwd)}: THESE PACKAGES DO NOT MATCH THE HASHES")
            return
        asked = words[-1].partition("==")[2] if PROJECT in words[-1] else ""
        if asked and "--require-hashes" in words:
            raise Refused(1, "Hashes are required in --require-hashes mode")
        if asked and "-c" in words:
            raise Refused(1, f"you asked for {asked}, the constraint is {self.wanted(cwd)}")
        vendored = re.search(r"livekit_agents-(.*?)-py3", words[-1])
        uses = {"-c", "condaenv.txt"} & set(words) or "--find-links" in words
        wanted = self.wanted(cwd) if uses else RELEASE
        self.installed[cwd] = PINS | {PROJECT: asked or (vendored[1] if vendored else wanted)}

    def lock_and_sync(self, words: list[str], cwd: Path, environment: dict[str, str]) -> None:
        """Lock what the files name, install what is locked, or refuse another release."""
        tool, command = words[:2]
        lock = cwd / LOCKS[tool]
        asked = words[-1].partition("==")[2] if "==" in words[-1] else ""
        if tool == "uv" and asked and command == "lock":
            raise Refused(1, f"{self.wanted(cwd)} and {asked} conflict")
        if tool == "poetry" and command == "add":
            write_lock(lock, PINS | {PROJECT: asked})
            return
        unpatched = self.wanted(cwd) == RELEASE
        finds = tool != "pipenv" or "PIP_FIND_LINKS" in environment or unpatched
        if command == "lock" and not finds:
            raise Refused(1, f"no wheel of {self.wanted(cwd)} is found")
        if command in ("lock", "update", "upgrade", "add") and "--check" not in words:
            write_lock(lock, PINS | {PROJECT: self.wanted(cwd)})
        if command in ("sync", "add"):
            self.installed[cwd] = locked_versions(lock)

    def renovate(self, cwd: Path) -> str:
        """Plan updates of all packages that the settings do not disable."""
        kept = PROJECT in (cwd / "renovate.json").read_text()
        rows = [("tomli", False), (PROJECT, kept), ("livekit-plugins-openai", kept)]
        deps = [{"depName": n, "updates": [] if k else [{"newValue": "==9"}]} for n, k in rows]
        entry = {"msg": "packageFiles with updates", "config": {"pip": [{"deps": deps}]}}
        return f"words\n{json.dumps(entry)}\n"


def write_lock(path: Path, pins: dict[str, str]) -> None:
    if path.suffix == ".lock" and path.name != "Pipfile.lock":
        rows = (f'[[package]]\nname = "{name}"\nversion = "{v}"\n' for name, v in pins.items())
        path.write_text("".join(rows))
    else:
        rows_ = {name: {"version": f"=={v}"} for name, v in pins.items()}
        path.write_text(json.dumps({"_meta": {}, "default": rows_}))
