"""README's recipe for uv in a project, a workspace and an image."""

from __future__ import annotations

from collections.abc import Iterator

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
    run_dockerfile,
)
from procpool.checks.starters import (
    AS_OF,
    PLUGINS,
    RELEASE,
    STRICT_MODULE,
    uv_project,
    uv_workspace,
)


def _patch(bench: Bench, project: Project, recipe: str, sync: str, *modules: str) -> Iterator[str]:
    """Lock and install a uv project, run the recipe in it, and check upgrades and the way back."""
    name = project.name
    project.sh(f"uv lock --quiet --exclude-newer {AS_OF}")
    project.sh(sync)
    project.has(RELEASE, "affected", *modules)
    file, lock = project.folder / "pyproject.toml", project.folder / "uv.lock"
    originals = {path: path.read_text("utf-8") for path in (file, lock)}
    before, installed = locked_versions(lock), project.installed()
    merge_toml(file, bench.recipes[recipe])
    project.sh(bench.recipes["uv-sync"].replace("uv sync", sync))
    only_moved(project, "uv.lock", before, locked_versions(lock), bench.patched)
    only_moved(project, "the environment", installed, project.installed(), bench.patched)
    project.diagnose("patched", "uv.lock")
    project.has(bench.patched, "patched", *modules)
    project.sh("uv lock --check")
    yield f"{name}: {bench.patched} is locked and installed with its plugins, no other has moved"

    locked = lock.read_text("utf-8")
    project.sh("uv lock --upgrade")
    project.diagnose("patched", "uv.lock")
    lock.write_text(locked, "utf-8")
    project.refuses(f"uv lock --upgrade-package {PROJECT}=={NEWER}", bench.patched)
    yield f"{name}: an upgrade leaves the wheel in place, {NEWER} is refused"

    back = goes_back(project, originals, sync, installed, RELEASE, *modules)
    only_moved(project, "uv.lock", before, locked_versions(lock), RELEASE)
    yield back


def check_uv(bench: Bench) -> Iterator[str]:
    """Check a uv project with extras and a group, and the image that is made of it."""
    project = bench.project("uv")
    file = project.folder / "pyproject.toml"
    file.write_text(uv_project(bench.strict_plugin), "utf-8")
    original = file.read_text("utf-8")
    yield from _patch(bench, project, "uv", "uv sync", *PLUGINS, STRICT_MODULE)

    merge_toml(file, bench.recipes["uv"])
    project.sh("uv lock")
    if "localhost" in (project.folder / "uv.lock").read_text("utf-8"):
        raise UserError("uv: the lock names a server of this machine")
    image = bench.project("docker-uv")
    run_dockerfile(bench.recipes["docker-uv"], project.folder, image)
    image.has(bench.patched, "patched", *PLUGINS, STRICT_MODULE)
    yield "docker-uv: its RUN commands install the patched wheel, and the doctor lets it pass"

    file.write_text(original, "utf-8")
    project.sh("uv lock")
    merge_toml(file, bench.recipes["uv"])
    project.sh(f"uv add {PROJECT}=={NEWER}")
    project.has(bench.patched, "patched", *PLUGINS, STRICT_MODULE)
    yield f"uv: 'uv add {PROJECT}=={NEWER}' leaves the wheel in place"


def check_uv_workspace(bench: Bench) -> Iterator[str]:
    """Check a workspace whose root has sources and no project, and a group that needs the pool."""
    project = bench.project("uv-workspace")
    for name, text in uv_workspace().items():
        path = project.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    yield from _patch(bench, project, "uv", "uv sync --all-packages --all-groups", *PLUGINS)


def check_address_uv(bench: Bench) -> Iterator[str]:
    """Check the page of the served index, where folders are answered with 403."""
    project = bench.project("address-uv")
    file, lock = project.folder / "pyproject.toml", project.folder / "uv.lock"
    file.write_text(uv_project(bench.strict_plugin), "utf-8")
    project.sh(f"uv lock --quiet --exclude-newer {AS_OF}")
    before = locked_versions(lock)
    (project.folder / "vendor").rename(project.folder / "away")
    merge_toml(file, bench.recipes["uv"].partition("\n\n")[0])
    merge_toml(file, bench.recipes["address-uv"])
    project.sh(bench.recipes["uv-sync"])
    only_moved(project, "uv.lock", before, locked_versions(lock), bench.patched)
    project.has(bench.patched, "patched", *PLUGINS, STRICT_MODULE)
    yield f"address-uv: {bench.patched} is locked from a server without index documents"
