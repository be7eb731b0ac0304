"""Throw-away projects that install the patched wheel, and what judges them.

`starters` says what they are made of. Before a recipe runs in it, a project is pinned to upstream's
1.5.11 and the dependencies of its day.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import tomlkit
from procpool.base.errors import UserError, one_line
from procpool.base.files import ROOT
from procpool.catalog.releases import PROJECT
from procpool.checks.starters import RELEASE, STRICT_PLUGIN
from procpool.patching.apply import CHANGE_MARK
from procpool.wheels.sdist import build_unpacked

# A later release, which no patch is in.
NEWER = "1.8.9"

# Seconds for one command: slow networks are common, endless ones are not waited for.
_COMMAND_SECONDS = 600
# Settings of the user's that would choose versions, or the environment, in place of the recipe.
_LEFT_OUT = re.compile(
    "VIRTUAL_ENV|PYTHONPATH|PIP_(CONSTRAINT|FIND_LINKS|REQUIRE_VIRTUALENV|UPLOADED_PRIOR_TO)"
    "|UV_(CONSTRAINT|EXCLUDE_NEWER|FIND_LINKS|OVERRIDE|PROJECT_ENVIRONMENT|PYTHON|SYSTEM_PYTHON)"
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
    """Return name -> version of what a lock file or requirements.txt pins.

    The lock files are TOML with `[[package]]` tables (uv, Poetry, PDM), and Pipfile.lock (JSON). Of
    a package with several versions, for several Pythons, all are named.
    """
    text = path.read_text("utf-8")
    if path.name == "Pipfile.lock":
        groups = [rows for name, rows in json.loads(text).items() if name != "_meta"]
        pins = [(n, r["version"][2:]) for rows in groups for n, r in rows.items() if "version" in r]
    elif path.suffix == ".lock":
        rows = tomllib.loads(text)["package"]
        pins = [(row["name"], row["version"]) for row in rows if "version" in row]
    else:
        pins = re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.M)
    found: dict[str, set[str]] = {}
    for name, pinned in pins:
        found.setdefault(name, set()).add(pinned)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def merge_toml(path: Path, text: str) -> None:
    """Put the lines of the TOML `text` into the file: into a table or list that it has, if it has.

    That is what README asks a reader to do. Raise `UserError` if a single value would be replaced.
    """
    document = tomlkit.parse(path.read_text("utf-8"))

    def merge(into: Any, new: Any, name: str) -> None:
        for key, value in new.items():
            if key not in into:
                into[key] = value
            elif isinstance(into[key], dict) and isinstance(value, dict):
                merge(into[key], value, f"{name}.{key}".lstrip("."))
            elif isinstance(into[key], list) and isinstance(value, list):
                into[key].extend(value)
            else:
                raise UserError(f"the recipe replaces {name}.{key} of {path.name}")

    merge(document, tomlkit.parse(text), "")
    path.write_text(tomlkit.dumps(document), "utf-8")


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

    def installed(self) -> dict[str, str]:
        """Return name -> version of what its environment holds, without pip."""
        listing = ["uv", "pip", "list", "--quiet", "--format", "json", "--python", self.python]
        rows = json.loads(self.output(listing).splitlines()[-1])
        return {row["name"]: row["version"] for row in rows if row["name"] != "pip"}

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


def only_moved(
    project: Project, what: str, before: dict[str, str], after: dict[str, str], wanted: str
) -> None:
    """Raise `UserError` unless `after` is `before`, but for livekit-agents, which is `wanted`.

    `what` is what they were read from: a lock file, or the environment.
    """
    expected = before | {PROJECT: wanted}
    moved = sorted(n for n in expected | after if expected.get(n) != after.get(n))
    if moved:
        rows = (f"{n} ({expected.get(n, 'none')} to {after.get(n, 'none')})" for n in moved[:5])
        raise UserError(f"{project.name}: {what}: other versions of {', '.join(rows)}")


def goes_back(
    project: Project,
    originals: dict[Path, str],
    command: str,
    installed: dict[str, str],
    release: str,
    *modules: str,
) -> str:
    """Put files back as they were, run what a reader runs then, and return what that proves.

    Raise `UserError` unless the environment holds again what was `installed`, with upstream's
    `release`, and the `modules` of the plugins import.
    """
    for path, text in originals.items():
        path.write_text(text, "utf-8")
    project.sh(command)
    only_moved(project, "the environment", installed, project.installed(), release)
    project.has(release, "affected", *modules)
    return f"{project.name}: the way back leads to upstream's {release}"


@dataclass(frozen=True)
class Bench:
    """What the checks share.

    `folder` holds `dist/` and `scripts/`, as a checkout of this project does. `recipes` and
    `address` carry the port that `dist/` is served on; `upstream` is the address of the user's
    package index; `patched` is the version of the patched wheel; `strict_plugin` is the wheel of
    a made-up plugin.
    """

    folder: Path
    recipes: dict[str, str]
    address: str
    upstream: str
    patched: str
    strict_plugin: Path

    def project(self, name: str, activated: bool = False) -> Project:
        """Make the folder of a project, with the wheel and the doctor in `vendor/`.

        If it is to be `activated`, make its environment, with pip, and activate that.
        """
        folder = self.folder / name
        folder.mkdir()
        environment = {k: v for k, v in os.environ.items() if not _LEFT_OUT.fullmatch(k)}
        path = [str(folder / ".venv" / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        environment |= {
            "PATH": os.pathsep.join(path),
            "NO_PROXY": ",".join(filter(None, [environment.get("NO_PROXY"), "localhost"])),
            "PROCPOOL": str(self.folder),
            "UV_PYTHON_DOWNLOADS": "never",
            "PIP_NO_COMPILE": "1",
            "PIP_NO_INPUT": "1",
            "PDM_CHECK_UPDATE": "0",
            "PDM_IGNORE_ACTIVE_VENV": "1",
            "PIPENV_IGNORE_VIRTUALENVS": "1",
            "PIPENV_NOSPIN": "1",
            "PIPENV_VENV_IN_PROJECT": "1",
            "PIPENV_YES": "1",
            "POETRY_NO_INTERACTION": "1",
            "POETRY_KEYRING_ENABLED": "false",
            "POETRY_VIRTUALENVS_CREATE": "true",
            "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        }
        project = Project(name, folder, environment, self.upstream)
        project.sh(self.recipes["vendor"])
        if activated:
            project.output(["uv", "venv", "--quiet", "--python", sys.executable, ".venv"])
            environment["VIRTUAL_ENV"] = str(folder / ".venv")
            project.output(["uv", "pip", "install", "--quiet", f"pip=={version('pip')}"])
        return project


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


def bucket_handler(folder: Path) -> Callable[..., http.server.SimpleHTTPRequestHandler]:
    """Return what answers as an object store does: for what ends in a slash, with 403."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def send_head(self) -> io.BytesIO | BinaryIO | None:
            if self.path.endswith("/"):
                self.send_error(403)
                return None
            return super().send_head()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return functools.partial(Handler, directory=str(folder))


@contextlib.contextmanager
def bucket(folder: Path) -> Iterator[int]:
    """Serve `folder` on a port of this machine as an object store, until the block ends.

    Yields the port.
    """
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), bucket_handler(folder)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
