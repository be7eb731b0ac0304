"""Run whole workers, unpatched beside patched, on a LiveKit server, and see their calls served.

For the releases that are given, every case runs on a real livekit-server. Without any, the
stand-in's rules are compared with the real server's, one case runs on the stand-in for the newest
release of each line, and all cases run on a real server, where there is one or Go to build it, for
the release of the report and the newest. The cases of the short run are made on the stand-in too,
and must come out alike there.

`--record` keeps what all cases showed on the real server in benchmarks/e2e.json, from which the
documents show it. `--ci` compares the rules too, and makes the short run for patched releases: the
newest on the stand-in, and the release of the report on the real server.

`--all` runs cases on every patched release, on the stand-in: one that all get, and two others,
dealt out in turn. So each case that needs no core of its own is run on eight releases or more, and
on each series of twelve releases or more at least once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import ROOT, replace_file
from procpool.base.source_date import today
from procpool.catalog.releases import REPORTED, get_release, load_releases
from procpool.catalog.series import line_of, load_lines
from procpool.suite.livekit_server import find_server
from procpool.suite.run import Target, prepare

RECORD = ROOT / "benchmarks" / "e2e.json"
# Where the lists of environments and the tables are kept.
RUNS = ROOT / ".nox" / ".cache" / "e2e"
TESTS = ROOT / "tests" / "e2e"
# What `record` writes: see there.
Recorded = dict[str, Any]
# Seconds after which a test of the rules hangs.
_HANGS = 600
# How many cases beside that of all releases `--all` deals to each.
_DEALT = 2
# How a run is repeated.
COMMAND = "nox -s e2e --"


def newest_of_each_line(patches: Path) -> list[str]:
    """Return the newest final release of each line, and the previews."""
    lines = load_lines(patches)
    newest: dict[str, str] = {}
    for release in load_releases(patches).values():
        key = release.version if release.preview else line_of(release.version, lines).first
        newest[key] = release.version
    return list(newest.values())


def make_environments(
    versions: list[str],
    patches: Path,
    name: str,
    *,
    unpatched: bool = False,
    wheel: Path | None = None,
) -> Path:
    """Make the environments of the patched releases and, if wanted, of the unpatched ones.

    `wheel` is a patched one that is taken as it is. Returns the list of them. Raises `UserError`.
    """
    found = []
    for version in versions:
        release, series = get_release(version, patches)
        environment = {"release": release.version}
        if unpatched:
            target = Target(release, None, "newest", purpose="e2e-")
            environment["unpatched"] = str(prepare(target))
        purpose = "e2e-" if wheel is None else "e2e-wheel-"
        patched = Target(release, series, "newest", purpose=purpose, wheel=wheel)
        environment["patched"] = str(prepare(patched))
        found.append(environment)
    path = RUNS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(found, indent=2) + "\n")
    return path


def table_of(environments: Path, *, real: bool = True) -> Path:
    """Return where the runner writes what it found on these environments, on either server."""
    return environments.with_name(f"{environments.stem}-{'table' if real else 'stand-in'}.json")


def disagreements(real: Path, stand_in: Path) -> list[str]:
    """Return what came out well on one server only, of what two runners have written."""
    tables = [json.loads(path.read_text("utf-8")) for path in (real, stand_in)]
    on_real, on_stand_in = (
        {(o["case"], o["release"], o["kind"]): o for o in table["outcomes"]} for table in tables
    )
    return [
        f"{' '.join(key)}: {'; '.join(on_real[key]['found'])} on {tables[0]['server']},"
        f" {'; '.join(outcome['found'])} on {tables[1]['server']}"
        for key, outcome in on_stand_in.items()
        if key in on_real and bool(on_real[key]["wrong"]) != bool(outcome["wrong"])
    ]


def record(environments: Path, server: Path, patches: Path) -> None:
    """Keep what was found on these environments on a real server, as the documents show it.

    Beside the runner's own words that is the day, the server, and the versions of the wheels. Of
    what was repeated, what was found the first time is kept as `first`.
    """
    found = json.loads(table_of(environments).read_text("utf-8"))
    releases = [environment["release"] for environment in json.loads(environments.read_text())]
    asked = subprocess.run([str(server), "--version"], capture_output=True, text=True)
    series = {version: get_release(version, patches)[1] for version in releases}
    kept = {
        "command": " ".join([COMMAND, *releases, "--record"]),
        "date": today(),
        "server": asked.stdout.replace(" version", "").strip(),
        "releases": {v: f"{v}+{of.local_version}" for v, of in series.items()},
        **{key: found[key] for key in ("pace", "cores", "seconds", "about")},
        "outcomes": [
            {key: outcome[key] for key in ("case", "release", "kind", "found")}
            | ({"first": outcome["first"]} if outcome["first"] else {})
            for outcome in found["outcomes"]
        ],
    }
    replace_file(RECORD, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    print(f"recorded in {RECORD}; now run 'nox -s tables'")


def load_record(path: Path = RECORD) -> Recorded | None:
    """Return what `record` wrote, None where there is no such file."""
    if not path.is_file():
        return None
    found: Recorded = json.loads(path.read_text("utf-8"))
    return found


def _cases(python: str, environments: Path, server: Path | None, arguments: list[str]) -> bool:
    """Run cases on these environments; return whether all went as expected."""
    out = table_of(environments, real=server is not None)
    command = [python, str(TESTS / "run.py"), str(environments), "--out", str(out)]
    if server is not None:
        command += ["--command", COMMAND, "--real", str(server)]
    else:
        command += ["--command", f"{COMMAND} --server stand-in"]
    return subprocess.run([*command, *arguments], cwd=ROOT).returncode == 0


def _compare(
    versions: list[str], name: str, server: Path | None, options: argparse.Namespace
) -> bool:
    """Run cases on releases, unpatched beside patched; return whether all went as expected.

    With `--record`, which has a real server, what was found is kept then.
    """
    environments = make_environments(versions, options.patches, name, unpatched=True)
    chosen = [*named(options.case), *(["--short"] if options.short else [])]
    good = _cases(options.tests_python, environments, server, chosen)
    if options.record and good and server is not None:
        record(environments, server, options.patches)
    return good


def _agree(versions: list[str], name: str, options: argparse.Namespace) -> bool:
    """Make the short run on the stand-in after all cases on the real server, and compare them."""
    environments = make_environments(versions, options.patches, name, unpatched=True)
    good = _cases(options.tests_python, environments, None, ["--short"])
    differ = disagreements(table_of(environments), table_of(environments, real=False))
    if differ:
        print("\n".join(["the servers do not agree:", *differ]), file=sys.stderr)
    return good and not differ


def named(cases: Sequence[str]) -> list[str]:
    """Return the arguments, this step's and the runner's, that name cases; none for all."""
    return [argument for name in cases for argument in ("--case", name)]


def _rules(python: str, server: Path | None) -> bool:
    """Run the tests of the servers' rules, and of the runner; return whether they pass."""
    environment = dict(os.environ)
    if server is not None:
        environment["E2E_LIVEKIT_SERVER"] = str(server)
    # A test may take long on a busy machine; one that hangs shows all stacks, and then ends.
    command = [python, "-m", "pytest", str(TESTS), "-q", "-p", "no:cacheprovider"]
    command += [f"--timeout={_HANGS}", "-o", f"faulthandler_timeout={_HANGS - 10}"]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode == 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = step_parser(__doc__)
    parser.add_argument("version", nargs="*", help="supported releases, such as 1.5.11")
    parser.add_argument("--all", action="store_true", help="every release, on the stand-in")
    parser.add_argument("--ci", action="store_true", help="what CI runs")
    parser.add_argument(
        "--server",
        choices=["real", "stand-in"],
        help="default: the real one, or the stand-in where there is none",
    )
    parser.add_argument("--short", action="store_true", help="only the cases of the short run")
    parser.add_argument("--case", action="append", default=[], help="only this case")
    parser.add_argument(
        "--record", action="store_true", help="keep what all cases showed, for the documents"
    )
    parser.add_argument(
        "--tests-python", default=sys.executable, help="the Python that runs tests/e2e"
    )
    return parser.parse_args(argv)


def _server(wanted: str | None) -> Path | None:
    """Return the real server to use, or None; say which it is.

    Raises `UserError` if the real one is wanted and cannot be had.
    """
    if wanted == "stand-in":
        print("server: the stand-in", flush=True)
        return None
    try:
        server, where = find_server()
    except UserError as error:
        if wanted == "real":
            raise
        print(f"server: the stand-in only: {error}", flush=True)
        return None
    print(f"server: {where}", flush=True)
    return server


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; return 1 if something is not as expected."""
    options = _parse(argv)
    python = options.tests_python
    patches: Path = options.patches
    finals = [r.version for r in load_releases(patches).values() if not r.preview]
    others = options.all or options.ci or options.short or options.case
    if options.record and (others or options.server == "stand-in"):
        raise UserError("--record keeps all cases on a real server: leave out what chooses others")
    if options.all:
        environments = make_environments(list(load_releases(patches)), patches, "all")
        dealt = named(options.case) or ["--deal", str(_DEALT)]
        good = _cases(python, environments, None, dealt)
        print(f"also in {table_of(environments, real=False).relative_to(ROOT)}")
        return 0 if good else 1
    server = _server("real" if options.record else options.server)
    if options.version:  # sessions side by side keep their files apart by what they run
        name = "-".join(["chosen", *options.version, *options.case])[:200]
        return 0 if _compare(options.version, name, server, options) else 1
    good = _rules(python, server)
    if options.ci:
        newest = make_environments(finals[-1:], patches, "ci-newest")
        good &= _cases(python, newest, None, ["--short"])
        if server is not None:
            reported = make_environments([REPORTED], patches, "ci-reported")
            good &= _cases(python, reported, server, ["--short"])
        return 0 if good else 1
    lines = make_environments(newest_of_each_line(patches), patches, "lines")
    good &= _cases(python, lines, None, named(options.case) or ["--bulk"])
    if server is not None:
        good &= _compare([REPORTED, finals[-1]], "newest", server, options)
        if not (options.case or options.short):
            good &= _agree([REPORTED, finals[-1]], "newest", options)
    return 0 if good else 1
