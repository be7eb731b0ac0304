"""README's recipes for pip and conda in throw-away projects, and the Docker image with pip."""

from __future__ import annotations

from collections.abc import Iterator

from procpool.base.errors import UserError
from procpool.catalog.releases import PROJECT
from procpool.checks.projects import (
    NEWER,
    Bench,
    Project,
    locked_versions,
    only_moved,
    run_dockerfile,
)
from procpool.checks.starters import (
    AS_OF,
    PLUGINS,
    RELEASE,
    STRICT_MODULE,
    environment_yml,
    requirements,
)


def _compiled(bench: Bench, name: str, *options: str) -> tuple[Project, dict[str, str]]:
    """Return a project whose requirements.txt is compiled on the release's day, and installed.

    With it, what is installed.
    """
    project = bench.project(name, activated=True)
    (project.folder / "requirements.in").write_text(requirements(bench.strict_plugin))
    compile_ = ["uv", "pip", "compile", "--quiet", "--exclude-newer", AS_OF, *options]
    project.output([*compile_, "requirements.in", "--output-file", "requirements.txt"])
    project.output(["uv", "pip", "install", "--quiet", "-r", "requirements.txt"])
    project.has(RELEASE, "affected", *PLUGINS, STRICT_MODULE)
    return project, project.installed()


def check_pip(bench: Bench) -> Iterator[str]:
    """Check constraints: what they install, and what becomes of upgrades with and without them."""
    project, before = _compiled(bench, "pip")
    project.sh(bench.recipes["pip"])
    only_moved(project, "the environment", before, project.installed(), bench.patched)
    project.has(bench.patched, "patched", *PLUGINS, STRICT_MODULE)
    yield f"pip: {bench.patched} is installed with its plugins, no other version has moved"

    project.sh("PIP_UPLOADED_PRIOR_TO=2026-05-21T00:00:00Z " + bench.recipes["pip"])
    project.has(bench.patched, "patched")
    yield "pip: a date in the settings does not stand in the way"

    project.sh("pip install --upgrade -c constraints.txt -r requirements.txt")
    project.has(bench.patched, "patched")
    project.refuses(f"pip install -c constraints.txt {PROJECT}=={NEWER}", NEWER, bench.patched)
    yield f"pip: an upgrade under the constraints changes nothing, {NEWER} is refused"

    project.sh(f"pip install --no-deps {PROJECT}=={NEWER}")
    if "PARTLY FIXED" not in project.sh(bench.recipes["doctor"], codes=(1,)):
        raise UserError(f"pip: the doctor does not say that {NEWER} is fixed in part only")
    yield f"pip: without them {NEWER} gets in, and the doctor reports it"

    project.sh(bench.recipes["pip"])
    project.has(bench.patched, "patched")
    project.sh(bench.recipes["back-pip"])
    project.has(RELEASE, "affected", *PLUGINS, STRICT_MODULE)
    only_moved(project, "the environment", before, project.installed(), RELEASE)
    yield f"pip: the way back leads to upstream's {RELEASE}"


def check_pip_hashes(bench: Bench) -> Iterator[str]:
    """Check requirements with hashes, the way back from them, and the Dockerfile fragment."""
    project, before = _compiled(bench, "pip-hashes", "--generate-hashes")
    requirements_txt = project.folder / "requirements.txt"
    original, pins = requirements_txt.read_text("utf-8"), locked_versions(requirements_txt)
    project.sh(bench.recipes["pip-hashes"])
    only_moved(project, "requirements.txt", pins, locked_versions(requirements_txt), bench.patched)
    project.diagnose("patched", "requirements.txt")
    only_moved(project, "the environment", before, project.installed(), bench.patched)
    project.has(bench.patched, "patched", *PLUGINS, STRICT_MODULE)
    yield f"pip-hashes: {bench.patched} is installed with its plugins, no other version has moved"

    project.refuses(f"pip install --require-hashes {PROJECT}=={NEWER}", "Hashes are required")
    (project.folder / "wrong.txt").write_text(f"{PROJECT}=={bench.patched} --hash=sha256:{0:064}\n")
    download = "pip download --no-deps --require-hashes --find-links vendor"
    project.refuses(f"{download} -r wrong.txt", "DO NOT MATCH", bench.patched)
    yield f"pip-hashes: {NEWER} without a hash is refused, and so is a wheel with another hash"

    image = bench.project("docker-pip", activated=True)
    run_dockerfile(bench.recipes["docker-pip"], project.folder, image)
    image.has(bench.patched, "patched", *PLUGINS, STRICT_MODULE)
    yield "docker-pip: its RUN commands install the patched wheel, and the doctor lets it pass"

    requirements_txt.write_text(original, "utf-8")
    project.sh(bench.recipes["back-pip"])
    project.has(RELEASE, "affected", *PLUGINS, STRICT_MODULE)
    project.sh(bench.recipes["doctor"], codes=(1,))
    yield f"pip-hashes: the way back leads to upstream's {RELEASE}, which the doctor reports"


def check_conda(bench: Bench) -> Iterator[str]:
    """Check the pip section of a conda environment.yml, as conda has pip install it.

    conda writes the section into a requirements file beside environment.yml and runs `pip install
    -U -r` on that. Channels are on no package index, so conda itself is not run.
    """
    project, before = _compiled(bench, "conda")
    pins = (project.folder / "requirements.txt").rename(project.folder / "constraints.txt")
    loose = [row for row in pins.read_text().splitlines() if not row.startswith(PROJECT)]
    pins.write_text("\n".join([*loose, ""]))
    project.sh(bench.recipes["pip"].splitlines()[0])
    section, *rows = bench.recipes["conda"].splitlines()
    if section.strip() != "- pip:" or not all(row.startswith("    - ") for row in rows):
        raise UserError("conda: the recipe is not a pip section of environment.yml")
    lines = [row.removeprefix("    - ") for row in rows] + environment_yml()
    (project.folder / "condaenv.txt").write_text("\n".join([*lines, ""]))
    project.sh("python -m pip install -U -r condaenv.txt --exists-action=b")
    only_moved(project, "the environment", before, project.installed(), bench.patched)
    project.has(bench.patched, "patched", *PLUGINS)
    yield f"conda: pip installs {bench.patched} from the pip section, no other version has moved"


def check_new(bench: Bench) -> Iterator[str]:
    """Check the installation into an empty environment, with pip and with uv."""
    for name in ("new-pip", "new-uv"):
        project = bench.project(name, activated=True)
        project.sh(bench.recipes[name])
        project.has(bench.patched, "patched", *PLUGINS[:2])
        yield f"{name}: {bench.patched} is installed, with dependencies that it works with"


def check_address_pip(bench: Bench) -> Iterator[str]:
    """Check the page of the served index, where folders are answered with 403."""
    project, before = _compiled(bench, "address-pip")
    page = f"--no-index --find-links {bench.address}/simple/livekit-agents/"
    project.sh(f"pip download --no-deps {page} -d served {PROJECT}=={bench.patched}")
    yield "serve: pip finds the wheel on the page that http.server serves"

    text = bench.recipes["address-pip"] + f"{PROJECT}=={bench.patched}\n"
    (project.folder / "constraints.txt").write_text(text)
    (project.folder / "vendor").rename(project.folder / "away")
    project.sh("pip install -c constraints.txt -r requirements.txt")
    only_moved(project, "the environment", before, project.installed(), bench.patched)
    project.has(bench.patched, "patched", *PLUGINS)
    yield f"address-pip: {bench.patched} is installed from a server without index documents"
