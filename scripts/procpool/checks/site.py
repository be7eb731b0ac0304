"""Check a folder of wheels before it is published, and rehearse the workflow that publishes it.

The folder must hold the wheel of every supported release, at its present revision; `SHA256SUMS` and
the page of the index (PEP 503) must name exactly these, with their sums, by links that lead there.

The rehearsal takes the commands of the job `build` from publish.yml as they stand, and runs them in
a folder of its own, for the named releases in place of all. What only GitHub can do is named.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote, urldefrag

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import PATCHES, ROOT, file_sha256
from procpool.catalog.releases import PROJECT, REPORTED, get_release, load_releases, newest_release
from pypi_simple import ProjectPage

WORKFLOW = ROOT / ".github" / "workflows" / "publish.yml"


def _page(site: Path) -> dict[str, str]:
    """Return file name -> sha256 of what the page of the index links to.

    Raise `UserError` for a link that leads out of the folder, or nowhere.
    """
    folder = site / "simple" / PROJECT
    page = ProjectPage.from_html(PROJECT, (folder / "index.html").read_text("utf-8"))
    found: dict[str, str] = {}
    for package in page.packages:
        path = (folder / unquote(urldefrag(package.url)[0])).resolve()
        if path.parent != site.resolve() or not path.is_file():
            raise UserError(f"the page of the index links to {package.url}, which is not in {site}")
        found[path.name] = package.digests.get("sha256", "")
    return found


def check_site(site: Path, releases: Iterable[str], patches: Path = PATCHES) -> int:
    """Check the folder, and return the number of its wheels.

    Raise `UserError` for the first thing that is wrong.
    """
    wheels = {wheel.name: file_sha256(wheel) for wheel in sorted(site.glob("*.whl"))}
    for version in releases:
        release, series = get_release(version, patches)
        local = f"{release.version}+{series.local_version}"
        if not any(name.startswith(f"livekit_agents-{local}-") for name in wheels):
            raise UserError(f"{site} has no wheel of {local}: run 'nox -s wheel -- {version}'")
    lines = (site / "SHA256SUMS").read_text("utf-8").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for what, listed in (("SHA256SUMS", sums), ("the page of the index", _page(site))):
        if odd := sorted(wheels.items() ^ listed.items()):
            raise UserError(f"{what} and the wheels in {site} do not agree on {odd[0][0]}")
    return len(wheels)


def commands(text: str) -> tuple[list[str], list[str]]:
    """Return the commands of the job `build` of a workflow, and the actions that it uses."""
    job = text.partition("\n  build:\n")[2]
    job = re.split(r"^  \w+:$", job, maxsplit=1, flags=re.M)[0]
    runs = re.findall(r"^ +(?:- )?run: (.+)$", job, re.M)
    uses = re.findall(r"^ +(?:- )?uses: (\S+)", job, re.M)
    if not runs or any(run.strip() in ("|", ">") for run in runs):
        raise UserError(f"{WORKFLOW.name}: the job build has no commands of one line")
    return runs, uses


def rehearse(text: str, releases: Sequence[str], folder: Path) -> None:
    """Run the commands of the job `build` in `folder`; raise `UserError` if one fails."""
    runs, uses = commands(text)
    nox = shlex.join([sys.executable, "-m", "nox", "-f", str(ROOT / "noxfile.py"), "-s"])
    for command in runs:
        if command.startswith("python -m pip install"):
            print(f"left out, since it runs already: {command}", flush=True)
            continue
        command = command.replace("--all", " ".join(map(shlex.quote, releases)))
        print(f"run: {command}", flush=True)
        script = command.replace("nox -s ", f"{nox} ", 1)
        if subprocess.run(["sh", "-ec", script], cwd=folder).returncode != 0:
            raise UserError(f"the workflow's command fails: {command}")
    print(f"only on GitHub: {', '.join(uses)}; gh release create; deploy to Pages")


def main(argv: Sequence[str] | None = None) -> int:
    """Check a folder, or rehearse the workflow."""
    parser = step_parser(__doc__)
    parser.add_argument("site", type=Path, nargs="?", help="the folder that is to be published")
    parser.add_argument(
        "releases", nargs="*", help="that it must hold; of the rehearsal: that it builds"
    )
    parser.add_argument("--all", action="store_true", help="every supported release")
    parser.add_argument("--rehearse", action="store_true", help="run the workflow's own commands")
    options = parser.parse_args(argv)
    if options.rehearse:
        named = [*([str(options.site)] if options.site else []), *options.releases]
        releases = named or [REPORTED, newest_release(options.patches).version]
        with tempfile.TemporaryDirectory(prefix="rehearsal-") as scratch:
            rehearse(WORKFLOW.read_text("utf-8"), releases, Path(scratch).resolve())
        return 0
    if options.site is None:
        raise UserError("which folder? give the one that 'nox -s wheel -- --out FOLDER' wrote")
    releases = list(load_releases(options.patches)) if options.all else options.releases
    count = check_site(options.site, releases, options.patches)
    print(f"{options.site}: {count} wheels, their sums and the index agree")
    return 0
