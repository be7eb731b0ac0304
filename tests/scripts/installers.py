"""Made-up pip, uv, Poetry and doctor for README's recipes: each knows livekit-agents and numpy."""

import json
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from procpool.catalog.releases import PROJECT
from procpool.checks.projects import RELEASE, locked_versions

PINS = {PROJECT: RELEASE, "numpy": "2.0"}
STATES = {RELEASE: "affected", "1.8.9": "partly"}
# What a command does in place of what it should: exit with a code and words, or leave these pins.
Fault = tuple[int, str] | dict[str, str]


class Refused(Exception):
    """An installer's own words."""


class Installers:
    """Stands for `subprocess.run` in the projects: runs the lines of a script, one by one.

    Where `faults` has a part of a line, that fault takes the line's place.
    """

    def __init__(self) -> None:
        self.faults: dict[str, Fault] = {}
        self.installed: dict[Path, dict[str, str]] = {}

    def __call__(
        self, command: Sequence[str], cwd: Path, **options: object
    ) -> subprocess.CompletedProcess[str]:
        script = command[-1] if command[0] == "sh" else shlex.join(command)
        said = ""
        for line in script.splitlines():
            try:
                said += self.run(line, cwd)
            except Refused as refusal:
                code, words = refusal.args
                return subprocess.CompletedProcess(command, code, said + words)
        return subprocess.CompletedProcess(command, 0, said)

    def run(self, line: str, cwd: Path) -> str:
        """Run one line of a script in a project; return what it prints."""
        for part, fault in self.faults.items():
            if part in line:
                if isinstance(fault, tuple):
                    raise Refused(*fault)
                self.installed[cwd] = PINS | fault
                return ""
        words = shlex.split(line)
        if "doctor.py" in line:
            return self.doctor(words, cwd)
        if "probe.py" in words:
            version = self.installed[cwd][PROJECT]
            return json.dumps([version, "+procpool" in version])
        if words[0] == "echo":
            with (cwd / words[-1]).open("a") as file:
                file.write(f"{words[1]}\n")
        elif words[:3] == ["uv", "pip", "compile"]:
            name = words[-1]
            pins = PINS | (locked_versions(cwd / "constraints.txt") if "-c" in words else {})
            (cwd / name).write_text("".join(f"{n}=={v}\n" for n, v in pins.items()))
        elif words[:3] == ["uv", "pip", "freeze"]:
            pins = self.installed[cwd]
            (cwd / words[-1]).write_text("".join(f"{n}=={v}\n" for n, v in pins.items()))
        elif words[0] == "pip" or words[:3] == ["uv", "pip", "install"]:
            self.pip(words, cwd)
        elif words[0] == "uv":
            self.uv(words, cwd)
        elif "poetry" in words:
            self.poetry(words[words.index("poetry") :], cwd)
        return ""

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
        if words[1] == "uninstall":
            del self.installed[cwd]
            return
        if words[1] == "download":
            pin = locked_versions(cwd / words[-1])[PROJECT]
            raise Refused(1, f"{PROJECT}=={pin}: THESE PACKAGES DO NOT MATCH THE HASHES")
        asked = words[-1].removeprefix(f"{PROJECT}==") if PROJECT in words[-1] else None
        if found := re.search(r"livekit_agents-(.*)-py3", words[-1]):
            asked = found[1]
        if asked and "--require-hashes" in words:
            raise Refused(1, "Hashes are required in --require-hashes mode")
        pins = PINS | (locked_versions(cwd / words[-1]) if "-r" in words else {})
        if "-c" in words:
            pins |= locked_versions(cwd / "constraints.txt")
            if asked and asked not in (pins[PROJECT], PROJECT):
                raise Refused(1, f"you asked for {asked}, the constraint is {pins[PROJECT]}")
        elif asked and asked != words[-1]:
            pins[PROJECT] = asked
        self.installed[cwd] = pins

    def uv(self, words: list[str], cwd: Path) -> None:
        """Lock and install what `pyproject.toml` overrides, else upstream's release."""
        if words[1] not in ("lock", "sync", "add"):
            return
        found = re.search(r"override-dep.*==([\d.+a-z]+)", (cwd / "pyproject.toml").read_text())
        version = found[1] if found else RELEASE
        if words[1] == "sync" and "==" in words[-1]:
            raise Refused(1, f"the override {version} and {words[-1]} conflict")
        write_lock(cwd / "uv.lock", PINS | {PROJECT: version})
        if words[1] == "sync":
            self.installed[cwd] = PINS | {PROJECT: version}

    def poetry(self, words: list[str], cwd: Path) -> None:
        """Lock what is asked for, unless the made-up plugin wants another release."""
        lock, file = cwd / "poetry.lock", cwd / "pyproject.toml"
        asked = words[-1].partition("==")[2]
        if words[1] == "lock":
            write_lock(lock, PINS)
        elif words[1] == "remove":
            file.write_text(file.read_text().replace(words[-1], ""))
        elif words[1] == "add":
            if not asked.startswith(RELEASE) and "strict-plugin" in file.read_text():
                raise Refused(1, f"version solving failed for {asked}")
            write_lock(lock, PINS | {PROJECT: asked})
        if words[1] in ("add", "sync") and "--lock" not in words:
            self.installed[cwd] = locked_versions(lock)


def write_lock(path: Path, pins: dict[str, str]) -> None:
    rows = (f'[[package]]\nname = "{name}"\nversion = "{v}"\n' for name, v in pins.items())
    path.write_text("".join(rows))
