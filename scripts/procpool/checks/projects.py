"""Throw-away projects that install the patched wheel: what they are made of, and what judges them.

Before a recipe runs in it, a project is pinned to upstream's 1.5.11 and the dependencies of its
day, with a plugin of that day, which asks for `livekit-agents>=1.5.11`, and a made-up one, which
asks for `==1.5.11`. `dist/` is served on this machine alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from procpool.base.errors import UserError, one_line
from procpool.base.files import ROOT
from procpool.catalog.releases import PROJECT, REPORTED
from procpool.patching.apply import CHANGE_MARK
from procpool.wheels.sdist import build_unpacked

RELEASE = REPORTED
# A day after RELEASE's own: what its dependencies are resolved as of.
AS_OF = "2026-05-21T00:00:00Z"
PLUGIN = "livekit-plugins-openai"
STRICT_PLUGIN = "strict-plugin"
PLUGIN_MODULES = ("livekit.plugins.openai", "strict_plugin")

# Seconds for one command: slow networks are common, endless ones are not waited for.
_COMMAND_SECONDS = 300
# Settings of the user's that would choose versions, or the environment, in place of the recipe.
_LEFT_OUT = re.compile(
    "VIRTUAL_ENV|PYTHONPATH|PIP_(CONSTRAINT|REQUIRE_VIRTUALENV|UPLOADED_PRIOR_TO)|UV_(CONSTRAINT"
    "|EXCLUDE_NEWER|FIND_LINKS|OVERRIDE|PROJECT_ENVIRONMENT|PYTHON|SYSTEM_PYTHON)"
)
_PROBE = f"""
import importlib, json, sys
from pathlib import Path
for name in sys.argv[1:]:
    importlib.import_module(name)
import livekit.agents
from livekit.agents.ipc import proc_pool
last = Path(proc_pool.__file__).read_text("utf-8").splitlines()[-1]
marked = last.startswith({CHANGE_MARK!r})
print(json.dumps([livekit.agents.__version__, marked]))
"""


def locked_versions(path: Path) -> dict[str, str]:
    """Return name -> version of what a uv.lock, poetry.lock or requirements.txt pins."""
    text = path.read_text("utf-8")
    if path.suffix == ".lock":
        rows = tomllib.loads(text)["package"]
        return {row["name"]: row["version"] for row in rows if "version" in row}
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.M))


@dataclass(frozen=True)
class Project:
    """A throw-away project: its folder, and the variables that its commands run with.

    Its virtual environment is `.venv` in the folder. `upstream` is the address of the user's
    package index, which may hold a password: no error shows it.
    """

    name: str
    folder: Path
    environment: dict[str, str]
    upstream: str

    @property
    def python(self) -> str:
        """The interpreter of its environment."""
        return str(self.folder / ".venv" / "bin" / "python")

    def output(self, command: list[str], codes: tuple[int, ...] = (0,)) -> str:
        """Run a command and return what it printed.

        Raise `UserError` with its last words unless it ends with one of `codes`, in time.
        """
        shown = one_line(command[-1] if command[0] == "sh" else shlex.join(command))
        try:
            result = subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise UserError(
                f"{self.name}: {shown}: no end after {_COMMAND_SECONDS} s: check the network"
            ) from None
        if result.returncode not in codes:
            words = one_line(result.stdout)[-600:]
            text = f"{self.name}: {shown}: exit {result.returncode}: {words}"
            raise UserError(text.replace(self.upstream, "the index"))
        return result.stdout

    def sh(self, script: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run a shell script as `output` runs a command; the first command that fails ends it."""
        return self.output(["sh", "-e", "-c", script], codes)

    def refuses(self, command: str, *words: str) -> None:
        """Run a command that must fail, and name all `words`: no other failure will do."""
        text = self.sh(command, codes=tuple(range(1, 256)))
        if missing := [word for word in words if word not in text]:
            raise UserError(
                f"{self.name}: {command}: failed without saying {missing[0]!r}:"
                f" {one_line(text)[-400:]}"
            )

    def diagnose(self, state: str, *arguments: str) -> None:
        """Raise `UserError` unless the doctor finds that state where the `arguments` point it."""
        command = [sys.executable, str(ROOT / "scripts" / "doctor.py"), "--json", *arguments]
        found = json.loads(self.output(command, codes=(0, 1, 2)).splitlines()[-1])
        if found["state"] != state:
            why = "; ".join(found["why"])
            raise UserError(f"{self.name}: the doctor finds {found['state']}, not {state}: {why}")

    def has(self, wanted: str, state: str, *modules: str) -> None:
        """Raise `UserError` unless the environment has the release `wanted`, in that state.

        Its files are marked as patched, or not; what is installed fits together; the `modules` of
        the plugins import; and the doctor agrees.
        """
        (self.folder / "probe.py").write_text(_PROBE, "utf-8")
        probe = self.output([self.python, "probe.py", *modules])
        found, marked = json.loads(probe.splitlines()[-1])
        if (found, marked) != (wanted, state == "patched"):
            raise UserError(f"{self.name}: installed is {found}, patched: {marked}; not {wanted}")
        self.output(["uv", "pip", "check", "--python", self.python])
        self.diagnose(state, "--python", self.python)


def only_moved(project: Project, before: dict[str, str], lock: str, patched: str) -> None:
    """Raise `UserError` unless the lock file pins what was `before`, but for the patched wheel.

    The doctor must find it patched too.
    """
    wanted, after = before | {PROJECT: patched}, locked_versions(project.folder / lock)
    if moved := sorted(n for n in wanted | after if wanted.get(n) != after.get(n)):
        raise UserError(f"{project.name}: {lock} has other versions of {', '.join(moved)}")
    project.diagnose("patched", lock)


@dataclass(frozen=True)
class Bench:
    """What the checks share.

    `recipes` and `index`, its address, carry the port that `dist/` is served on; `upstream` is the
    address of the user's package index; `patched` is the version of the patched wheel;
    `requirements` are what a project depends on before a recipe.
    """

    folder: Path
    recipes: dict[str, str]
    index: str
    upstream: str
    patched: str
    requirements: list[str]

    def project(self, name: str, activated: bool = False) -> Project:
        """Make the folder of a project, with `dist/` and `doctor.py` in it.

        If it is to be `activated`, make its environment, with pip, and activate that.
        """
        folder = self.folder / name
        folder.mkdir()
        (folder / "dist").symlink_to(self.folder / "dist")
        shutil.copy(ROOT / "scripts" / "doctor.py", folder)
        environment = {k: v for k, v in os.environ.items() if not _LEFT_OUT.fullmatch(k)}
        path = [str(folder / ".venv" / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        environment |= {
            "PATH": os.pathsep.join(path),
            "NO_PROXY": ",".join(filter(None, [environment.get("NO_PROXY"), "localhost"])),
            "UV_PYTHON_DOWNLOADS": "never",
            "PIP_NO_INPUT": "1",
            # pip takes a date for no local directory: leave those of the user's settings out
            "PIP_FIND_LINKS": str(folder),
            "PIP_EXTRA_INDEX_URL": self.upstream,
            "POETRY_NO_INTERACTION": "1",
            "POETRY_KEYRING_ENABLED": "false",
            "POETRY_VIRTUALENVS_CREATE": "true",
            "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        }
        project = Project(name, folder, environment, self.upstream)
        if activated:
            project.output(["uv", "venv", "--quiet", "--python", sys.executable, ".venv"])
            environment["VIRTUAL_ENV"] = str(folder / ".venv")
            project.output(["uv", "pip", "install", "--quiet", f"pip=={version('pip')}"])
        return project

    def write_project_file(self, project: Project, more: str = "") -> None:
        """Write the pyproject.toml of a project that depends on upstream's release and plugins."""
        python = ".".join(map(str, sys.version_info[:2]))
        (project.folder / "pyproject.toml").write_text(
            f"""\
[project]
name = "app"
version = "1"
requires-python = "=={python}.*"
dependencies = {json.dumps(self.requirements)}
{more}""",
            "utf-8",
        )

    def write_requirements(self, project: Project, hashes: bool) -> None:
        """Write requirements.in, and requirements.txt as compiled from it on the release's day."""
        (project.folder / "requirements.in").write_text("\n".join([*self.requirements, ""]))
        command = ["uv", "pip", "compile", "--quiet", "--exclude-newer", AS_OF]
        command += ["--generate-hashes"] if hashes else []
        project.output([*command, "requirements.in", "--output-file", "requirements.txt"])


def run_dockerfile(fragment: str, context: Path, project: Project) -> None:
    """Do by hand what a Dockerfile's COPY and RUN do, in the folder of `project`.

    `context` is the folder that COPY takes from. Raise `UserError` for another instruction.
    """
    for line in fragment.replace("\\\n", " ").splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "RUN":
            project.sh(rest)
        elif instruction == "COPY":
            *sources, target = rest.split()
            for source in (context / name for name in sources):
                if source.is_dir():
                    shutil.copytree(source, project.folder / target, dirs_exist_ok=True)
                else:
                    shutil.copy(source, project.folder / target)
        else:
            raise UserError(f"the Dockerfile fragment has {instruction}: only COPY and RUN are run")


def build_strict_plugin(folder: Path) -> Path:
    """Build the made-up plugin, which requires `livekit-agents==1.5.11`, and return its wheel."""
    tree = folder / STRICT_PLUGIN
    tree.mkdir()
    (tree / "strict_plugin.py").write_text('"""A plugin of one release."""\n', "utf-8")
    (tree / "pyproject.toml").write_text(
        f"""\
[project]
name = "{STRICT_PLUGIN}"
version = "1.0"
dependencies = ["{PROJECT}=={RELEASE}"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
""",
        "utf-8",
    )
    wheel, _ = build_unpacked(tree, folder / "wheels")
    return wheel


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def served(command: str, folder: Path, port: int) -> Iterator[None]:
    """Run README's command that serves `dist/` in `folder` until the block ends.

    Raise `UserError` if it does not listen on `port` within 10 seconds.
    """
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(shlex.split(command), cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    words = one_line((folder / "server.log").read_text("utf-8", "replace"))[-300:]
                    raise UserError(f"recipe serve does not serve: {words}") from None
                time.sleep(0.1)
        yield
    finally:
        server.kill()
        server.wait()
