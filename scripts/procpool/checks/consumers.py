"""Prove README's recipes for projects that install the patched wheel, by running them as they are.

A recipe is a fenced block of README.md behind a comment such as `<!-- recipe: uv -->`. Each way to
install runs in a throw-away project and an environment of its own, against `dist/` as `nox -s
wheel` builds it, served on this machine alone; only the port is another than README's. Before the
recipe runs, the project is pinned to upstream's 1.5.11 and the dependencies of its day, with a
plugin of that day, which asks for `livekit-agents>=1.5.11`, and a made-up one, which asks for
`==1.5.11`.

After it the patched wheel must be there, the doctor must say so, and no other pin may have moved.
Then upgrades must change nothing, be refused, or be reported by the doctor, and the way back must
lead to upstream's 1.5.11.

No image is built of the Dockerfile fragment: its COPY is done by hand, and its RUN commands run in
a virtual environment. Poetry, pip and uv are those that `pyproject.toml` pins.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError, one_line
from procpool.base.files import ROOT
from procpool.catalog.index import index_url
from procpool.catalog.releases import PROJECT, REPORTED, get_release
from procpool.wheels.sdist import build_unpacked

RELEASE = REPORTED
# A later release, which no patch is in.
NEWER = "1.8.9"
# A day after RELEASE's own: what its dependencies are resolved as of.
AS_OF = "2026-05-21T00:00:00Z"
PLUGIN = "livekit-plugins-openai"
STRICT_PLUGIN = "strict-plugin"
PLUGIN_MODULES = ("livekit.plugins.openai", "strict_plugin")

_MARKER = "<!-- recipe:"
_RECIPE = re.compile(r"^<!-- recipe: ([a-z-]+) -->\n\n?```(\w+)\n(.*?)^```$", re.M | re.S)
_MOST_LINES = 5
_README_PORT = "8000"
# Seconds for one command: slow networks are common, endless ones are not waited for.
_COMMAND_SECONDS = 300
# Settings of the user's that would choose versions, or the environment, in place of the recipe.
_LEFT_OUT = re.compile(
    "VIRTUAL_ENV|PYTHONPATH|PIP_(CONSTRAINT|REQUIRE_VIRTUALENV|UPLOADED_PRIOR_TO)|UV_(CONSTRAINT"
    "|EXCLUDE_NEWER|FIND_LINKS|OVERRIDE|PROJECT_ENVIRONMENT|PYTHON|SYSTEM_PYTHON)"
)
_PROBE = """
import importlib, json, sys
from pathlib import Path
for name in sys.argv[1:]:
    importlib.import_module(name)
import livekit.agents
from livekit.agents.ipc import proc_pool
last = Path(proc_pool.__file__).read_text("utf-8").splitlines()[-1]
marked = last.startswith("# Modified by livekit-agents-procpool")
print(json.dumps([livekit.agents.__version__, marked]))
"""


@dataclass(frozen=True)
class Recipe:
    """A fenced block of README.md: its name, its language (sh, toml or dockerfile) and its text."""

    name: str
    language: str
    text: str


def read_recipes(text: str) -> dict[str, Recipe]:
    """Return the recipes of a Markdown text by name.

    Raise `UserError` for a marker without a block, a name that comes twice, or a long recipe.
    """
    recipes: dict[str, Recipe] = {}
    for found in _RECIPE.finditer(text):
        recipe = Recipe(*found.groups())
        if recipe.name in recipes:
            raise UserError(f"there are two recipes {recipe.name}: rename one")
        if len(recipe.text.splitlines()) > _MOST_LINES:
            raise UserError(f"recipe {recipe.name} has more than {_MOST_LINES} lines: shorten it")
        recipes[recipe.name] = recipe
    if text.count(_MARKER) != len(recipes):
        raise UserError(f"a '{_MARKER} NAME -->' has no fenced block after it: add one")
    return recipes


def check_recipes(recipes: dict[str, Recipe], wanted: set[str], patched: str) -> None:
    """Raise `UserError` unless the recipes are the `wanted` ones, and name the version `patched`.

    So no recipe stays unproved, and none keeps an older revision of the patches.
    """
    if odd := sorted(wanted ^ set(recipes)):
        raise UserError(f"README.md and the checks do not have the same recipes: {', '.join(odd)}")
    for recipe in recipes.values():
        for found in re.findall(r"[\d.]+\+procpool\.\d+", recipe.text):
            if found != patched:
                raise UserError(
                    f"recipe {recipe.name} installs {found}, but 'nox -s wheel' builds {patched}:"
                    " change README.md"
                )


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


def check_new(bench: Bench) -> Iterator[str]:
    """Check the installation into an empty environment, with pip and with uv."""
    for name in ("new-pip", "new-uv"):
        project = bench.project(name, activated=True)
        project.sh(bench.recipes[name])
        project.has(bench.patched, "patched")
        yield f"{name}: {bench.patched} is installed, with dependencies that it works with"


def check_pip(bench: Bench) -> Iterator[str]:
    """Check constraints: what they install, and what becomes of upgrades with and without them."""
    project = bench.project("pip", activated=True)
    bench.write_requirements(project, hashes=False)
    folder = project.folder
    pins = locked_versions(folder / "requirements.txt")
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{n}=={v}\n" for n, v in pins.items()))
    original = constraints.read_text()
    (folder / "requirements.in").rename(folder / "requirements.txt")
    project.sh(bench.recipes["pip"])
    project.sh("uv pip freeze | grep -v ^pip= > frozen.txt")
    only_moved(project, pins, "frozen.txt", bench.patched)
    project.has(bench.patched, "patched", *PLUGIN_MODULES)
    yield f"pip: {bench.patched} is installed with its plugins, no other version has moved"

    project.sh(f"pip install --upgrade -c constraints.txt {PROJECT}")
    project.has(bench.patched, "patched")
    project.refuses(f"pip install -c constraints.txt {PROJECT}=={NEWER}", NEWER, bench.patched)
    yield f"pip: an upgrade under the constraints changes nothing, {NEWER} is refused"

    project.sh(f"pip install --no-deps {PROJECT}=={NEWER}")
    if "PARTLY FIXED" not in project.sh(bench.recipes["doctor"], codes=(1,)):
        raise UserError(f"pip: the doctor does not say that {NEWER} is fixed in part only")
    yield f"pip: without them {NEWER} gets in, and the doctor reports it"

    project.sh(bench.recipes["pip"])
    project.has(bench.patched, "patched")
    constraints.write_text(original)
    project.sh(bench.recipes["back-pip"].replace("--require-hashes", "-c constraints.txt"))
    project.has(RELEASE, "affected", *PLUGIN_MODULES)
    yield f"pip: the way back leads to upstream's {RELEASE}"


def check_pip_hashes(bench: Bench) -> Iterator[str]:
    """Check requirements with hashes, the way back from them, and the Dockerfile fragment."""
    project = bench.project("pip-hashes", activated=True)
    bench.write_requirements(project, hashes=True)
    requirements = project.folder / "requirements.txt"
    original, before = requirements.read_text("utf-8"), locked_versions(requirements)
    project.sh(bench.recipes["pip-hashes"])
    only_moved(project, before, "requirements.txt", bench.patched)
    project.has(bench.patched, "patched", *PLUGIN_MODULES)
    yield f"pip-hashes: {bench.patched} is installed with its plugins, no other version has moved"

    project.refuses(f"pip install --require-hashes {PROJECT}=={NEWER}", "Hashes are required")
    (project.folder / "wrong.txt").write_text(f"{PROJECT}=={bench.patched} --hash=sha256:{0:064}\n")
    download = f"pip download --no-deps --require-hashes --extra-index-url {bench.index}"
    project.refuses(f"{download} -r wrong.txt", "DO NOT MATCH", bench.patched)
    yield f"pip-hashes: {NEWER} without a hash is refused, and so is a wheel with another hash"

    check_dockerfile(bench, requirements)
    yield "dockerfile: its RUN commands install the patched wheel, and the doctor lets it pass"

    requirements.write_text(original, "utf-8")
    project.sh(bench.recipes["back-pip"])
    project.has(RELEASE, "affected", *PLUGIN_MODULES)
    project.sh(bench.recipes["doctor"], codes=(1,))
    yield f"pip-hashes: the way back leads to upstream's {RELEASE}, which the doctor reports"


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


def check_dockerfile(bench: Bench, requirements: Path) -> None:
    """Check the Dockerfile fragment with the requirements file of a project, which has hashes."""
    context = bench.folder / "context"
    (context / "vendor").mkdir(parents=True)
    for path in [*(bench.folder / "dist").glob("*.whl"), ROOT / "scripts" / "doctor.py"]:
        shutil.copy(path, context / "vendor")
    shutil.copy(requirements, context)
    project = bench.project("dockerfile", activated=True)
    run_dockerfile(bench.recipes["dockerfile"], context, project)
    project.has(bench.patched, "patched", *PLUGIN_MODULES)


def way_back(project: Project, originals: dict[Path, str], recipe: str) -> str:
    """Take the changes of a project's files back, run the recipe, and say what it led to."""
    for path, text in originals.items():
        path.write_text(text, "utf-8")
    project.sh(recipe)
    project.has(RELEASE, "affected", *PLUGIN_MODULES)
    return f"{project.folder.name}: the way back leads to upstream's {RELEASE}"


def check_uv(bench: Bench) -> Iterator[str]:
    """Check the override and the index pin of a uv project, upgrades, and the way back."""
    project = bench.project("uv")
    bench.write_project_file(project)
    project.output(["uv", "lock", "--quiet", "--exclude-newer", AS_OF])
    file, lock = project.folder / "pyproject.toml", project.folder / "uv.lock"
    original, locked, before = file.read_text(), lock.read_text(), locked_versions(lock)
    file.write_text(f"{original}\n{bench.recipes['uv']}", "utf-8")
    project.sh("uv sync")
    only_moved(project, before, "uv.lock", bench.patched)
    project.has(bench.patched, "patched", *PLUGIN_MODULES)
    yield f"uv: {bench.patched} is locked and installed with its plugins, no other has moved"

    project.sh(f"uv sync --upgrade-package {PROJECT}")
    project.sh(f"uv add {PROJECT}=={NEWER}")
    project.has(bench.patched, "patched")
    project.refuses(
        f"uv sync --upgrade-package {PROJECT}=={NEWER}", bench.patched, f"{PROJECT}=={NEWER}"
    )
    yield f"uv: an upgrade changes nothing, {NEWER} is refused"

    yield way_back(project, {file: original, lock: locked}, bench.recipes["back-uv"])


def check_poetry(bench: Bench) -> Iterator[str]:
    """Check the source and the pin of a Poetry project, upgrades, and the way back.

    Poetry does not know pip's settings, so the project has the user's index as a source.
    """
    project = bench.project("poetry")
    bench.write_project_file(
        project,
        f"""
[tool.poetry]
package-mode = false

[[tool.poetry.source]]
name = "index"
url = "{bench.upstream}"
""",
    )
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(AS_OF)
    project.sh(f"POETRY_SOLVER_MIN_RELEASE_AGE={age.days + 1} poetry lock")
    file, lock = project.folder / "pyproject.toml", project.folder / "poetry.lock"
    original, locked, before = file.read_text(), lock.read_text(), locked_versions(lock)
    # what it remembers of a source of this name, whose wheel may have been another one
    project.sh("poetry cache clear --all --no-interaction procpool")
    project.sh(bench.recipes["poetry"])
    only_moved(project, before, "poetry.lock", bench.patched)
    project.has(bench.patched, "patched", *PLUGIN_MODULES)
    yield f"poetry: {bench.patched} is locked and installed with its plugins, no other has moved"

    project.sh(f"poetry update {PROJECT}")
    project.has(bench.patched, "patched")
    project.refuses(f"poetry add --lock {PROJECT}=={NEWER}", "version solving failed", NEWER)
    yield f"poetry: an update changes nothing, {NEWER} is refused for the plugin that wants another"
    project.sh(f"poetry remove --lock {STRICT_PLUGIN}")
    project.sh(f"poetry add --lock {PROJECT}=={NEWER}")
    project.diagnose("partly", "poetry.lock")
    yield f"poetry: without that plugin {NEWER} gets in, and the doctor reports the lock file"

    yield way_back(project, {file: original, lock: locked}, bench.recipes["back-poetry"])


# What each check runs, and the recipes that it proves; all need `serve`.
CHECKS: dict[str, tuple[Callable[[Bench], Iterator[str]], set[str]]] = {
    "poetry": (check_poetry, {"poetry", "back-poetry"}),
    "pip-hashes": (check_pip_hashes, {"pip-hashes", "back-pip", "dockerfile", "doctor"}),
    "pip": (check_pip, {"pip", "doctor", "back-pip"}),
    "uv": (check_uv, {"uv", "back-uv"}),
    "new": (check_new, {"new-pip", "new-uv"}),
}
RECIPES = {"serve"}.union(*(names for _, names in CHECKS.values()))


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


def run_check(name: str, bench: Bench) -> bool:
    """Run a check, print a line for each thing that it proves, and return whether it passes."""
    start = time.monotonic()
    try:
        for line in CHECKS[name][0](bench):
            print(f"{line} ({time.monotonic() - start:.0f} s)", flush=True)
    except UserError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr, flush=True)
        return False
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks, two at a time, and print a line for each thing that is proved."""
    parser = step_parser(__doc__)
    parser.add_argument("checks", nargs="*", help=f"default: all of {', '.join(CHECKS)}")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md", help="%(default)s")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.checks if name not in CHECKS]:
        raise UserError(f"there is no check {unknown[0]}: there are {', '.join(CHECKS)}")
    release, series = get_release(RELEASE)
    patched = f"{release.version}+{series.local_version}"
    recipes = read_recipes(options.readme.read_text("utf-8"))
    check_recipes(recipes, RECIPES, patched)
    for tool in ("uv", "poetry"):
        if not Path(sys.executable).with_name(tool).is_file():
            raise UserError(f"{tool} is not installed beside this Python: run 'nox -s consumers'")

    with tempfile.TemporaryDirectory(prefix="consumers-") as scratch:
        folder, port = Path(scratch).resolve(), free_port()
        build = [sys.executable, str(ROOT / "scripts"), "wheel", RELEASE]
        if subprocess.run([*build, "--out", str(folder / "dist")]).returncode != 0:
            raise UserError(f"the wheel of {RELEASE} cannot be built")
        strict_plugin = f"{STRICT_PLUGIN} @ {build_strict_plugin(folder).as_uri()}"
        bench = Bench(
            folder,
            {name: r.text.replace(_README_PORT, str(port)) for name, r in recipes.items()},
            f"http://localhost:{port}/simple/",
            index_url(),
            patched,
            [f"{PROJECT}=={RELEASE}", f"{PLUGIN}>={RELEASE}", strict_plugin],
        )

        with served(bench.recipes["serve"], folder, port), ThreadPoolExecutor(2) as pool:
            passed = list(pool.map(lambda name: run_check(name, bench), options.checks or CHECKS))
    return 0 if all(passed) else 1
