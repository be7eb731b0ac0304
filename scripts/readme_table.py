"""Write README's table of release lines, from `releases.toml` and the recorded control runs.

The table stands between two comments in README.md and is never edited by hand. What breaks
unpatched comes from `patches/control/<release>.toml`, which `nox -s control -- --record` writes.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from check_control import load_control, record_path
from errors import UserError, run_main
from releases_table import (
    PATCHES,
    PYTHONS,
    ROOT,
    Release,
    load_all_series,
    load_releases,
    replace_file,
)

BEGIN = "<!-- The table of release lines: written by scripts/readme_table.py, not by hand. -->"
END = "<!-- End of the table. -->"


def _span(first: str, last: str) -> str:
    """Return "1.0.0" or "1.0.0 to 1.0.13"."""
    return first if first == last else f"{first} to {last}"


def _pythons(releases: list[Release]) -> str:
    """Return the Pythons that the first and the last release of a line are tested on."""
    found = {p for r in (releases[0], releases[-1]) for p in (r.pythons[0], r.pythons[-1])}
    return ", ".join(sorted(found, key=PYTHONS.index))


def _functions(ids: list[str]) -> list[str]:
    """Return the names of the test functions, without parameters, each once, in words."""
    names = dict.fromkeys(id.split("::")[-1].split("[")[0] for id in ids)
    return [name.removeprefix("test_").replace("_", " ") for name in names]


def render(patches: Path = PATCHES) -> str:
    """Return the table, and for each line the list of what breaks there without the patches."""
    line_of = {series.name: series.line for series in load_all_series(patches)}
    releases = load_releases(patches).values()
    rows, lists = [], []
    finals = [release for release in releases if not release.preview]
    for line, group in itertools.groupby(finals, lambda release: line_of[release.series]):
        members = list(group)
        controls = {
            release.version: load_control(release.version, patches)
            for release in members
            if record_path(release.version, patches).is_file()
        }
        breaks = [
            f"{len(c.failed)} of {len(c.failed) + len(c.passed)} tests on {version}"
            for version, c in controls.items()
        ] or ["no control run on record"]
        series = ", ".join(
            f"[{name}](patches/{name})" for name in dict.fromkeys(r.series for r in members)
        )
        yanked = [release.version for release in members if release.yanked]
        count = f"{_span(members[0].version, members[-1].version)} ({len(members)})"
        if yanked:
            count += f"; yanked: {', '.join(yanked)}"
        rows.append(f"| {line} | {count} | {'; '.join(breaks)} | {series} | {_pythons(members)} |")
        for version, control in controls.items():
            lists.append(f"- **{version}**: {'; '.join(_functions(control.failed))}.")
    previews = [
        f"{release.version} ([{release.series}](patches/{release.series}), `{release.wheel}`)"
        for release in releases
        if release.preview
    ]
    table = [
        "| line | releases | what breaks unpatched | series | Pythons tested |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
        "Previews: " + (", ".join(previews) or "none") + ".",
        "",
        "What fails without the patches, by the names of the tests:",
        "",
        *lists,
    ]
    return "\n".join(table)


def main() -> int:
    """Write the table into README.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="fail if the table would change")
    options = parser.parse_args()
    readme = ROOT / "README.md"
    text = readme.read_text("utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise UserError(f"{readme} does not hold the table's two comments, once each")
    before, rest = text.split(BEGIN)
    fresh = f"{before}{BEGIN}\n\n{render()}\n\n{END}{rest.split(END)[1]}"
    if fresh == text:
        print("README.md: the table is up to date")
    elif options.check:
        raise UserError("README.md's table is out of date: run 'nox -s readme'")
    else:
        replace_file(readme, fresh)
        print("README.md: table written")
    return 0


if __name__ == "__main__":
    run_main(main)
