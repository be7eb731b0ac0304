"""Soak whole workers on a real livekit-server: random calls, and faults drawn from a seed.

Every call must be served, refused or reported as failed, once and in time; at the end nothing may
be left, and workers may not have grown. Without `--release`: the release of the report and the
newest. `--unpatched` soaks the unpatched releases too, first; they are measured, not judged.
`--wheel` soaks a patched wheel that was built before, such as one of an earlier revision.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.catalog.releases import REPORTED, get_release, load_releases
from procpool.suite.e2e import TESTS, make_environments
from procpool.suite.livekit_server import find_server

# How a run is repeated.
_COMMAND = "nox -s soak --"


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = step_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="each release; default: 10")
    parser.add_argument("--seed", type=int, default=1, help="default: 1")
    parser.add_argument("--workers", type=int, default=3, help="default: 3")
    parser.add_argument("--release", action="append", default=[], help="such as 1.5.11")
    parser.add_argument("--unpatched", action="store_true", help="soak the unpatched one too")
    parser.add_argument("--wheel", type=Path, help="soak this patched wheel, as it is")
    parser.add_argument(
        "--tests-python", default=sys.executable, help="the Python that runs tests/e2e"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Soak the chosen releases; return 1 if a patched one breaks an invariant."""
    options = _parse(argv)
    if options.minutes <= 0 or options.workers < 1:
        raise UserError("a soak needs more than 0 minutes, and at least one worker")
    finals = [r.version for r in load_releases(options.patches).values() if not r.preview]
    versions = options.release or [REPORTED, finals[-1]]
    again = _COMMAND
    if options.wheel is not None:
        if not options.wheel.is_file():
            raise UserError(f"there is no wheel {options.wheel}")
        of = get_release(options.wheel.name, options.patches)[0].version
        if options.release not in ([], [of]):
            raise UserError(f"{options.wheel.name} is of {of}: leave out --release")
        versions, again = [of], f"{_COMMAND} --wheel {options.wheel}"
    server, where = find_server()
    print(f"server: {where}", flush=True)
    environments = make_environments(
        versions, options.patches, "soak", unpatched=options.unpatched, wheel=options.wheel
    )
    found = environments.with_name("soak-found.json")
    command = [options.tests_python, str(TESTS / "soak.py"), str(environments)]
    command += ["--real", str(server), "--out", str(found), "--command", again]
    command += ["--minutes", str(options.minutes), "--seed", str(options.seed)]
    command += ["--workers", str(options.workers)]
    return 0 if subprocess.run(command, cwd=ROOT).returncode == 0 else 1
