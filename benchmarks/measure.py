"""Measure the releases of the pull request's figures side by side; write them where they are shown.

Runs `benchmarks/measure_release.py` in an environment of each, one after the other, and the script
that PR_DESCRIPTION.md shows. What was measured goes into `benchmarks/figures.json`, and its table
between the two markers of PR_DESCRIPTION.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from procpool.base.errors import UserError, exit_code
from procpool.base.files import replace_file
from procpool.catalog.releases import REPORTED, get_release, newest_release
from procpool.suite.run import Target, prepare

BEGIN = "<!-- figures: written by nox -s figures -->"
END = "<!-- end of figures -->"
_TIMEOUT = 300  # seconds, for one release: a burst of 250 jobs takes half a minute unpatched


def measure(target: Target) -> dict[str, Any]:
    """Return what measure_release.py prints in an environment; raise `UserError` if it fails."""
    script = str(ROOT / "benchmarks" / "measure_release.py")
    result = subprocess.run(
        [str(prepare(target)), script], capture_output=True, text=True, timeout=_TIMEOUT
    )
    if result.returncode != 0:
        raise UserError(
            f"measuring {target.release.version} failed: {result.stderr.strip()[-400:]}"
        )
    measured: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    print(json.dumps(measured), flush=True)
    return measured


def check_script(text: str, target: Target) -> None:
    """Run the script in `text` on a release; raise `UserError` unless its job stalls there, or gets
    its verdict if patched."""
    [source] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    script = target.folder / "description.py"
    script.write_text(source, "utf-8")
    result = subprocess.run(
        [str(target.path / "bin" / "python"), str(script)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=_TIMEOUT,
    )
    last, release = result.stdout.strip(), target.release.version
    stalled = last == "STALLED"
    if not (last.startswith("no process became available") if target.series else stalled):
        raise UserError(f"the script of PR_DESCRIPTION.md prints {last!r} on {release}")


def table(measured: dict[str, Any]) -> str:
    """Return a Markdown table with a row for each release, and a line that says how it was made."""
    rows = measured["releases"]
    first = next(iter(rows.values()))
    bursts, python = list(first["cpu"]), first["python"]
    lines = [
        "| release | jobs stalled | slowest verdict | processes spawned | CPU a waiting job, "
        f"{', '.join(bursts)} waiting |",
        "| --- | --- | --- | --- | --- |",
    ]
    for label, row in rows.items():
        verdict = f"{row['slowest']:.1f} s" if row["slowest"] else "none"
        cpu = ", ".join(f"{row['cpu'][jobs]:.1f}" for jobs in bursts)
        spawned = f"{row['spawned']} in {row['seconds']:.0f} s"
        lines.append(f"| {label} | {row['stalled']} of 3 | {verdict} | {spawned} | {cpu} ms |")
    lines += [
        "",
        "Three jobs, four idle processes wanted, `initialize_timeout` 1 s, prewarm raises as above;"
        " then bursts of jobs that wait for executors which take 20 ms, and the event loop's CPU"
        f" for each. Python {python}, {measured['cores']} cores, {measured['day']}.",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure, and fill in the table of PR_DESCRIPTION.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="directory for the environments")
    options = parser.parse_args()
    description = ROOT / "PR_DESCRIPTION.md"
    before, begin, rest = description.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"{description} lacks the markers {BEGIN} and {END}")
    newest, series = get_release(newest_release().version)
    reported, _ = get_release(REPORTED)
    targets = {
        REPORTED: Target(reported, None, "newest", options.folder),
        newest.version: Target(newest, None, "newest", options.folder),
        f"{newest.version} with this change": Target(newest, series, "newest", options.folder),
    }
    measured = {
        "day": datetime.date.today().isoformat(),
        "cores": os.cpu_count(),
        "releases": {name: measure(target) for name, target in targets.items()},
    }
    for name in list(targets)[1:]:
        check_script(before, targets[name])
    replace_file(ROOT / "benchmarks" / "figures.json", json.dumps(measured, indent=2) + "\n")
    replace_file(description, f"{before}{begin}\n{table(measured)}\n{end}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
