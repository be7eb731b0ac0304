"""Write doctor.py's table of the pools' texts and the series' revisions, from `patches/`.

The table stands between two comments in scripts/doctor.py and is never edited by hand.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from errors import run_main
from releases_table import PATCHES, ROOT, load_all_series, load_releases, write_between

BEGIN = "# -- written by scripts/doctor_table.py, not by hand --"
END = "# -- end of the table --"


def render(patches: Path = PATCHES) -> str:
    """Return the assignment: a line for each run of releases with one text and one series."""
    revisions = {series.name: series.revision for series in load_all_series(patches)}
    lines = []
    releases = load_releases(patches).values()
    for (series, sha256), group in itertools.groupby(releases, lambda r: (r.series, r.pool_sha256)):
        run = [release.version for release in group]
        lines.append(f"{run[0]:7} {run[-1]:7} {series:8} {revisions[series]} {sha256}\n")
    return f'_TABLE = """\n{"".join(lines)}"""\n'


def main() -> int:
    """Write the table into doctor.py."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="fail if the table would change")
    options = parser.parse_args()
    doctor = ROOT / "scripts" / "doctor.py"
    write_between(doctor, BEGIN, END, render(), "nox -s readme", options.check)
    return 0


if __name__ == "__main__":
    run_main(main)
