"""Find the series that fits a release, or say which hunk of which patch does not."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from packaging.version import Version
from procpool.base.errors import UserError
from procpool.catalog.series import Series
from procpool.patching.apply import apply_in_place, git_apply
from procpool.patching.patch import name_of


def why_not(tree: Path, patches: list[Path]) -> str | None:
    """Return None if `patches` apply to the unpacked release in `tree`, else why they do not.

    The reason names the patch, the file and the hunk, or the first patch that upstream now has.
    """
    for patch in patches:
        if git_apply(tree, patch, "--reverse", "--check").returncode == 0:
            return f"upstream now has the change of {name_of(patch)}"
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
    return sorted(series, key=lambda s: (s.first <= release, s.first), reverse=True)


def find_series(tree: Path, series: list[Series]) -> tuple[Series | None, str]:
    """Return the first of the series that applies to the release in `tree`, and a reason.

    The reason is the first series' own if none applies: it is the one to be carried on.
    """
    reasons = []
    for found in series:
        if (reason := why_not(tree, found.patches)) is None:
            return found, f"series {found.name} applies"
        reasons.append(f"series {found.name}: {reason}")
    return None, reasons[0] if reasons else "there are no series"
