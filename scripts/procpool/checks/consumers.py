"""Prove README's recipes for projects that install the patched wheel, by running them as they are.

Each way to install runs in a throw-away project (`projects`) and an environment of its own, against
`dist/` as `nox -s wheel` builds it; only the port is another than README's.

After a recipe the patched wheel must be there, the doctor must say so, and no other pin may have
moved. Then upgrades must change nothing, be refused, or be reported by the doctor, and the way back
must lead to upstream's 1.5.11.

No image is built of the Dockerfile fragment: its COPY is done by hand, and its RUN commands run in
a virtual environment. Poetry, pip and uv are those that `pyproject.toml` pins.
"""

from __future__ import annotations

import datetime
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError, one_line
from procpool.base.files import ROOT
from procpool.catalog.index import index_url
from procpool.catalog.releases import PROJECT, get_release
from procpool.checks.projects import (
    AS_OF,
    PLUGIN,
    PLUGIN_MODULES,
    RELEASE,
    STRICT_PLUGIN,
    Bench,
    Project,
    build_strict_plugin,
    free_port,
    locked_versions,
    only_moved,
    run_dockerfile,
    served,
)
from procpool.checks.recipes import check_recipes, read_recipes

# A later release, which no patch is in.
NEWER = "1.8.9"
_README_PORT = "8000"


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


def build_wheel(folder: Path, patches: Path) -> None:
    """Build the patched wheel and its index into `dist/`; raise `UserError` if that fails."""
    build = [sys.executable, str(ROOT / "scripts"), "wheel", RELEASE, "--patches", str(patches)]
    if subprocess.run([*build, "--out", str(folder / "dist")]).returncode != 0:
        raise UserError(f"the wheel of {RELEASE} cannot be built")


def make_bench(folder: Path, recipes: dict[str, str], index: str, patched: str) -> Bench:
    """Return what the checks share; the projects depend on upstream's release and two plugins."""
    strict_plugin = f"{STRICT_PLUGIN} @ {build_strict_plugin(folder).as_uri()}"
    requirements = [f"{PROJECT}=={RELEASE}", f"{PLUGIN}>={RELEASE}", strict_plugin]
    return Bench(folder, recipes, index, index_url(), patched, requirements)


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
    release, series = get_release(RELEASE, options.patches)
    patched = f"{release.version}+{series.local_version}"
    recipes = read_recipes(options.readme.read_text("utf-8"))
    check_recipes(recipes, RECIPES, patched)
    for tool in ("uv", "poetry"):
        if not Path(sys.executable).with_name(tool).is_file():
            raise UserError(f"{tool} is not installed beside this Python: run 'nox -s consumers'")

    with tempfile.TemporaryDirectory(prefix="consumers-") as scratch:
        folder, port = Path(scratch).resolve(), free_port()
        build_wheel(folder, options.patches)
        texts = {name: r.text.replace(_README_PORT, str(port)) for name, r in recipes.items()}
        bench = make_bench(folder, texts, f"http://localhost:{port}/simple/", patched)
        with served(texts["serve"], folder, port), ThreadPoolExecutor(2) as pool:
            passed = list(pool.map(lambda name: run_check(name, bench), options.checks or CHECKS))
    return 0 if all(passed) else 1
