"""Write what is computed from other files: tables in README.md and doctor.py, version numbers.

README's table of release lines comes from `releases.toml`, `lines.toml` and the recorded control
runs; patches/control/README.md lists these runs test by test; doctor.py holds a table of the
releases' pools, as upstream wrote them and as each revision leaves them (`doctor_table`); README
names the patched versions with their present revisions. The figures in README, PR_DESCRIPTION.md
and benchmarks/README.md come from benchmarks/results.json, what callers get in README and
benchmarks/e2e.md from benchmarks/e2e.json.
None of these is edited by hand. With --check, what README shows must be of the newest revisions.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import PATCHES, ROOT, between, replace_file, within
from procpool.base.pythons import PYTHONS
from procpool.catalog.releases import Release, get_release, load_releases
from procpool.catalog.series import line_of, load_lines
from procpool.suite.bench import load
from procpool.suite.control import function, guards, load_controls, record_path
from procpool.suite.e2e import load_record
from procpool.upkeep.calls import calls_page, calls_part
from procpool.upkeep.doctor_table import doctor_table
from procpool.upkeep.figures import IN_README, page, pull_request_part, readme_part

_FIGURES = ("<!-- The figures: written by `nox -s bench`. -->", "<!-- End of the figures. -->")
_CALLS = (
    "<!-- The calls: written by `nox -s tables` from benchmarks/e2e.json. -->",
    "<!-- End of the calls. -->",
)
_REQUEST = ("<!-- figures: written by nox -s bench -->", "<!-- end of figures -->")
_LINES = ("<!-- The release lines: written by `nox -s tables`. -->", "<!-- End of the lines. -->")
_POOLS = ("# -- the pools: written by `nox -s tables` --", "# -- end of the pools --")


def _span(first: str, last: str) -> str:
    """Return "1.0.0" or "1.0.0 to 1.0.13"."""
    return first if first == last else f"{first} to {last}"


def _pythons(releases: list[Release]) -> str:
    """Return the Pythons that the first and the last release of a line are tested on."""
    found = {p for r in (releases[0], releases[-1]) for p in (r.pythons[0], r.pythons[-1])}
    return ", ".join(sorted(found, key=PYTHONS.index))


def _words(id: str) -> str:
    """Return the name of a test's function in words, without parameters."""
    return function(id).removeprefix("test_").replace("_", " ")


def controls_text(patches: Path = PATCHES) -> str:
    """Return the text of control/README.md: how many of each test's cases fail on each release."""
    controls = load_controls(patches)
    guarding = {_words(name) for name in guards(controls.values())}
    failed = {v: Counter(_words(id) for id in c.failed) for v, c in controls.items()}
    passed = {v: Counter(_words(id) for id in c.passed) for v, c in controls.items()}
    either = {v: Counter(_words(id) for id in c.either) for v, c in controls.items()}
    rows = [
        "<!-- Written by `nox -s tables`. -->",
        "",
        "# What breaks without the patches",
        "",
        "The regression suite on unpatched releases, from the records beside this file. A cell",
        "says how many cases of a test fail; `-` stands for none, nothing where the test is not",
        "about the release. A guard passes on all of them: it holds what the patches must not",
        "break, and `nox -s mutants` shows that it can fail.",
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
        guard = " (guard)" if name in guarding else ""
        rows.append(f"| {name}{guard} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def lines_table(patches: Path = PATCHES) -> str:
    """Return the table of lines, and a line on previews."""
    lines = load_lines(patches)
    releases = load_releases(patches).values()
    controls = load_controls(patches)
    rows = []
    finals = [release for release in releases if not release.preview]
    for line, group in itertools.groupby(finals, lambda release: line_of(release.version, lines)):
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
        cells = [line.first, count, line.lacks, "; ".join(breaks), series, _pythons(members)]
        rows.append(f"| {' | '.join(cells)} |")
    previews = [
        f"{release.version} ([{release.series}](patches/{release.series}), `{release.wheel}`)"
        for release in releases
        if release.preview
    ]
    table = [
        "| line | releases | what upstream's pool lacks"
        " | [what breaks unpatched](patches/control/README.md) | series | Pythons tested |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        "Previews: " + (", ".join(previews) or "none") + ".",
    ]
    return "\n".join(table)


def with_revisions(text: str, patches: Path = PATCHES) -> str:
    """Return a text in which every patched version, 1.5.11+procpool.N, has its present revision.

    Raise `UserError` if it names a release that is not supported.
    """

    def present(found: re.Match[str]) -> str:
        release, series = get_release(found[1], patches)
        return f"{release.version}+{series.local_version}"

    return re.sub(r"(\d+\.\d+\.\d+)\+procpool\.\d+", present, text)


def computed(patches: Path = PATCHES) -> dict[Path, str]:
    """Return the present text of every file that holds something computed."""
    readme, doctor = ROOT / "README.md", ROOT / "scripts" / "doctor.py"
    request, benchmarks = ROOT / "PR_DESCRIPTION.md", ROOT / "benchmarks"
    figures = load(benchmarks / "results.json")
    text = between(readme, *_LINES, f"\n{lines_table(patches)}\n\n")
    text = with_revisions(text, patches)
    # after that: figures are of the wheels that they were measured on
    text = within(text, readme, *_FIGURES, f"\n{readme_part(figures)}\n")
    calls = load_record(benchmarks / "e2e.json")
    text = within(text, readme, *_CALLS, calls_part(calls))
    held = doctor_table(doctor.read_text("utf-8"), patches)
    return {
        readme: text,
        request: between(request, *_REQUEST, pull_request_part(figures)),
        benchmarks / "README.md": page(figures),
        benchmarks / "e2e.md": calls_page(calls),
        doctor: between(doctor, *_POOLS, held),
        record_path("README", patches).with_suffix(".md"): controls_text(patches),
    }


def outdated(patches: Path = PATCHES) -> list[str]:
    """Return what README shows of wheels with a revision before the newest, a line each.

    A line names the session that measures it anew. The other figures say what they are of, and
    take half an hour on a quiet machine: they may be of an earlier one.
    """

    def old(versions: Iterable[str]) -> set[str]:
        return {version for version in versions if with_revisions(version, patches) != version}

    benchmarks, lines = ROOT / "benchmarks", []
    shown = load(benchmarks / "results.json").get(IN_README, {"releases": {}})
    if of := old(release["version"] for release in shown["releases"].values()):
        session = f"nox -s bench -- --only {IN_README}"
        lines.append(f"benchmarks/results.json: {', '.join(sorted(of))}: run '{session}'")
    calls = load_record(benchmarks / "e2e.json")
    if calls is not None and (of := old(calls["releases"].values())):
        lines.append(f"benchmarks/e2e.json: {', '.join(sorted(of))}: run '{calls['command']}'")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files, or with --check say which are stale."""
    parser = step_parser(__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; fail if one is stale, or if README shows an older revision",
    )
    options = parser.parse_args(argv)
    stale = [
        path
        for path, text in computed(options.patches).items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]
    names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
    if options.check and stale:
        raise UserError(f"stale: {names}: run 'nox -s tables'")
    if options.check and (lines := outdated(options.patches)):
        raise UserError(f"not of the newest revision: {'; '.join(lines)}")
    for path in stale:
        replace_file(path, computed(options.patches)[path])
    print(f"written: {names}" if stale else "the tables are up to date")
    return 0
