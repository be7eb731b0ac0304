"""Write README's table of release lines, from `releases.toml` and the recorded control runs.

The table stands between two comments in README.md and is never edited by hand. What breaks
unpatched comes from `patches/control/<release>.toml`, which `nox -s control -- --record` writes;
patches/control/README.md, test by test, is written beside them.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from pathlib import Path

from check_control import Control, load_control, record_path
from errors import UserError, run_main
from releases_table import (
    PATCHES,
    PYTHONS,
    ROOT,
    Release,
    load_all_series,
    load_releases,
    replace_file,
    write_between,
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


def _words(id: str) -> str:
    """Return the name of a test's function in words, without parameters."""
    return id.split("::")[-1].split("[")[0].removeprefix("test_").replace("_", " ")


def _controls(patches: Path) -> dict[str, Control]:
    """Return the recorded control runs by release, the oldest release first."""
    versions = [v for v in load_releases(patches) if record_path(v, patches).is_file()]
    return {version: load_control(version, patches) for version in versions}


def render_controls(patches: Path = PATCHES) -> str:
    """Return the text of control/README.md: how many of each test's cases fail on each release."""
    controls = _controls(patches)
    failed = {v: Counter(_words(id) for id in c.failed) for v, c in controls.items()}
    passed = {v: Counter(_words(id) for id in c.passed) for v, c in controls.items()}
    either = {v: Counter(_words(id) for id in c.either) for v, c in controls.items()}
    rows = [
        "# What breaks without the patches",
        "",
        "The regression suite on unpatched releases, from the records beside this file. A cell",
        "says how many cases of a test fail; `-` stands for none, nothing where the test is not",
        "about the release.",
        "Written by `nox -s readme`.",
        "",
        f"| test | {' | '.join(controls)} |",
        f"| --- |{' --- |' * len(controls)}",
    ]
    for name in sorted(
        {name for c in (failed, passed, either) for of in c.values() for name in of}
    ):
        cells = []
        for version in controls:
            bad, races = failed[version][name], either[version][name]
            count = bad + races + passed[version][name]
            most = f"{bad} to {bad + races}" if races else f"{bad}"
            cells.append(f"{most} of {count}" if bad + races else "-" if count else "")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def render(patches: Path = PATCHES) -> str:
    """Return the table of lines, and a line on previews."""
    line_of = {series.name: series.line for series in load_all_series(patches)}
    releases = load_releases(patches).values()
    controls = _controls(patches)
    rows = []
    finals = [release for release in releases if not release.preview]
    for line, group in itertools.groupby(finals, lambda release: line_of[release.series]):
        members = list(group)
        breaks = [
            f"{len(c.failed)} of {len(c.failed + c.passed + c.either)} tests on {release.version}"
            for release in members
            if (c := controls.get(release.version))
        ] or ["no control run on record"]
        series = ", ".join(
            f"[{name}](patches/{name})" for name in dict.fromkeys(r.series for r in members)
        )
        yanked = [release.version for release in members if release.yanked]
        count = f"{_span(members[0].version, members[-1].version)} ({len(members)})"
        if yanked:
            count += f"; yanked: {', '.join(yanked)}"
        rows.append(f"| {line} | {count} | {'; '.join(breaks)} | {series} | {_pythons(members)} |")
    previews = [
        f"{release.version} ([{release.series}](patches/{release.series}), `{release.wheel}`)"
        for release in releases
        if release.preview
    ]
    table = [
        "| line | releases | [what breaks unpatched](patches/control/README.md) | series"
        " | Pythons tested |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
        "Previews: " + (", ".join(previews) or "none") + ".",
    ]
    return "\n".join(table)


def main() -> int:
    """Write the table into README.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="fail if the table would change")
    options = parser.parse_args()
    text = f"\n{render()}\n\n"
    write_between(ROOT / "README.md", BEGIN, END, text, "nox -s readme", options.check)
    controls = record_path("README").with_suffix(".md")
    if options.check:
        if not controls.is_file() or controls.read_text("utf-8") != render_controls():
            raise UserError(f"{controls} is not up to date: run 'nox -s readme'")
    else:
        replace_file(controls, render_controls())
    return 0


if __name__ == "__main__":
    run_main(main)
