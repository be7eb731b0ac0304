"""Try the series, newest first, on a release that none of them names, then run the suite on it.

Series that start after the release, such as a preview's, come last. Prints which series fits, or
which hunk of which patch of the first one tried stopped it, or that upstream now has the change.
The release is looked up on the index; no file is changed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from apply_series import apply_in_place, git_apply
from build_wheel import build_release
from errors import UserError, run_main
from fetch import fetch
from package_index import index_url, read_index, releases_on_index
from packaging.version import Version
from release_env import choose_python, installed_pythons, make_environment
from releases_table import PATCHES, PROJECT, ROOT, Release, Series, load_all_series


def why_not(tree: Path, patches: list[Path]) -> str | None:
    """Return None if `patches` apply to the unpacked release in `tree`, else why they do not.

    The reason names the patch, the file and the hunk, or the first patch that upstream now has.
    """
    for patch in patches:
        if git_apply(tree, patch, "--reverse", "--check").returncode == 0:
            return f"upstream now has the change of {patch.name}"
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch).resolve() / "tree"
        shutil.copytree(tree / "livekit" / "agents", copy / "livekit" / "agents")
        try:
            apply_in_place(copy, patches)
        except UserError as error:
            return str(error).replace(f"{copy}", "the release")
    return None


def newest_first(series: list[Series], version: str) -> list[Series]:
    """Return the series in the order in which they are tried on the release `version`."""
    release = Version(version)
    starts = {found: Version(found.first) for found in series}
    return sorted(series, key=lambda s: (starts[s] <= release, starts[s]), reverse=True)


def find_series(
    tree: Path, series: list[Series], count: int | None = None
) -> tuple[Series | None, str]:
    """Return the first of the series that applies to the release in `tree`, and a reason.

    With `count`, only the first `count` patches of each are tried.
    The reason is the first series' own if none applies: it is the one to be carried on.
    """
    reasons = []
    for found in series:
        if (reason := why_not(tree, found.patches()[:count])) is None:
            return found, f"series {found.name} applies"
        reasons.append(f"series {found.name}: {reason}")
    return None, reasons[0] if reasons else "there are no series"


def suite_passes(release: Release, series: Series, scratch: Path) -> tuple[bool, str]:
    """Run the regression suite on the patched release, on its oldest and newest installed Python.

    Returns whether it passed everywhere, and pytest's last line for each Python.
    """
    lines = []
    passed = True
    wheel = build_release(release, series, scratch)
    for wanted in ("oldest", "newest"):
        python = choose_python(release.requires_python, wanted, installed_pythons())
        interpreter = make_environment(release, wheel, python, scratch / f"env-{wanted}")
        result = subprocess.run(
            [str(interpreter), "-m", "pytest", "-q", "--tb=no", "tests/regression"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        passed &= result.returncode == 0
        last = (["pytest printed nothing", *result.stdout.split("\n")])[-2]
        lines.append(f"{wanted} Python: {last.strip('= ')}")
    return passed, "; ".join(lines)


def try_release(release: Release, series: list[Series]) -> tuple[Series | None, str]:
    """Return the series that applies to `release` and passes the suite there, or None, and why."""
    with tempfile.TemporaryDirectory(prefix="livekit-procpool-") as scratch:
        tree = Path(scratch).resolve() / "pristine"
        with zipfile.ZipFile(fetch(release)) as archive:
            archive.extractall(tree)
        found, reason = find_series(tree, newest_first(series, release.version))
        if found is None:
            return None, reason
        passed, lines = suite_passes(release, found, Path(scratch))
    return (found if passed else None), f"{reason}; the suite {lines}"


def main() -> int:
    """Try one release; return 1 if no series fits it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("version", help="a release on the index, such as 1.8.10 or 2.0.0b1")
    options = parser.parse_args()
    version = Version(options.version)
    found = {r.version: r for r in releases_on_index(read_index(PROJECT, index_url()))}
    if str(version) not in found:
        raise UserError(f"the index lists no {PROJECT} {version} that this platform can install")
    series, reason = try_release(found[str(version)], load_all_series(PATCHES))
    print(f"{version}: {reason}")
    return 0 if series else 1


if __name__ == "__main__":
    run_main(main)
