"""Prove README's recipes for projects that install the patched wheel, by running them as they are.

Each recipe runs in a throw-away project (`projects`) that is made as LiveKit's starters are
(`starters`), with `dist/` as `nox -s wheel` builds it; only the port is another than README's.

After a recipe the patched wheel must be there with every plugin, the doctor must say so, the lock
must be valid, and no other version may have moved, in the lock and in the environment. Then
upgrades must leave it in place, be refused, or be reported by the doctor, and the way back must
lead to upstream's 1.5.11.

No image is built: the COPY of a Dockerfile fragment is done by hand, and its RUN commands run in a
folder that holds nothing else. conda is not run, but the pip that it calls. The installers are
those that `pyproject.toml` pins.
"""

from __future__ import annotations

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
from procpool.catalog.releases import get_release
from procpool.checks.bots import check_dependabot, check_renovate
from procpool.checks.other_projects import check_fork, check_pdm, check_pipenv
from procpool.checks.pip_projects import (
    check_address_pip,
    check_conda,
    check_new,
    check_pip,
    check_pip_hashes,
)
from procpool.checks.poetry_projects import check_poetry, check_poetry_group
from procpool.checks.projects import Bench, bucket, build_strict_plugin, free_port, served
from procpool.checks.recipes import check_recipes, read_recipes
from procpool.checks.starters import RELEASE
from procpool.checks.uv_projects import check_address_uv, check_uv, check_uv_workspace

_README_PORT = "8000"

# What each check runs, and the recipes that it proves; all need `vendor`. The longest come first.
CHECKS: dict[str, tuple[Callable[[Bench], Iterator[str]], set[str]]] = {
    "pipenv": (check_pipenv, {"pipenv", "back-pipenv"}),
    "pdm": (check_pdm, {"pdm", "pdm-sync"}),
    "renovate": (check_renovate, {"renovate", "uv"}),
    "poetry": (check_poetry, {"poetry", "poetry-sync"}),
    "poetry-group": (check_poetry_group, {"poetry", "poetry-sync"}),
    "pip-hashes": (check_pip_hashes, {"pip-hashes", "back-pip", "docker-pip", "doctor"}),
    "pip": (check_pip, {"pip", "doctor", "back-pip"}),
    "uv": (check_uv, {"uv", "uv-sync", "docker-uv"}),
    "uv-workspace": (check_uv_workspace, {"uv", "uv-sync"}),
    "conda": (check_conda, {"pip", "conda"}),
    "address-pip": (check_address_pip, {"address-pip", "serve"}),
    "address-uv": (check_address_uv, {"address-uv", "uv", "uv-sync"}),
    "new": (check_new, {"new-pip", "new-uv"}),
    "fork": (check_fork, {"fork"}),
    "dependabot": (check_dependabot, {"dependabot"}),
}
RECIPES = {"vendor"}.union(*(names for _, names in CHECKS.values()))
# Commands of the environment that the projects run, beside pip.
TOOLS = ("uv", "poetry", "pdm", "pipenv", "check-jsonschema", "jq")


def build_wheel(folder: Path, patches: Path) -> None:
    """Build the patched wheel and its index into `dist/`; raise `UserError` if that fails."""
    build = [sys.executable, str(ROOT / "scripts"), "wheel", RELEASE, "--patches", str(patches)]
    if subprocess.run([*build, "--out", str(folder / "dist")]).returncode != 0:
        raise UserError(f"the wheel of {RELEASE} cannot be built")


def make_bench(folder: Path, recipes: dict[str, str], address: str, patched: str) -> Bench:
    """Return what the checks share; `folder` becomes like a checkout of this project."""
    (folder / "scripts").symlink_to(ROOT / "scripts")
    return Bench(folder, recipes, address, index_url(), patched, build_strict_plugin(folder))


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
    here = Path(sys.executable).parent
    for tool in TOOLS:
        if not (here / tool).exists() and not shutil.which(tool):
            raise UserError(
                f"{tool} is not installed: run 'nox -s consumers'; jq is a package of the system"
            )
    with tempfile.TemporaryDirectory(prefix="consumers-") as scratch:
        folder = Path(scratch).resolve()
        build_wheel(folder, options.patches)
        with bucket(folder / "dist") as port:
            texts = {name: r.text.replace(_README_PORT, str(port)) for name, r in recipes.items()}
            own = free_port()
            serve = recipes["serve"].text.replace(_README_PORT, str(own))
            bench = make_bench(folder, texts, f"http://localhost:{own}", patched)
            with served(serve, folder, own), ThreadPoolExecutor(2) as pool:
                passed = list(pool.map(lambda n: run_check(n, bench), options.checks or CHECKS))
    return 0 if all(passed) else 1
