"""Draw for README what a person sees in a terminal: the doctor before and after, whole workers.

What stands in the picture is what the commands printed: the doctor's of an environment that is made
for it, called /app there, and the cases of `nox -s e2e` on the release of the report.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import ROOT, replace_file
from procpool.base.pythons import choose_python, installed_pythons, uv
from procpool.catalog.fetch import fetch
from procpool.catalog.releases import REPORTED, get_release
from procpool.suite.e2e import COMMAND, named
from procpool.wheels.build import build_release
from rich.console import Console
from rich.style import Style
from rich.text import Text

PICTURE = ROOT / "benchmarks" / "terminal.svg"
# What stands for the folder of the environment.
_APP = "/app"
# The cases that are shown: they say most in the fewest lines.
_CASES = ("all-sick", "short-outage")
# Characters in a line.
_WIDTH = 124
_STYLES = {
    r"^\$ .*": Style(bold=True, color="cyan"),
    r"^AFFECTED|\d+ silent\b": Style(bold=True, color="red"),
    r"^PATCHED|\d+ (served|refused)\b": Style(bold=True, color="green"),
}


def draw(lines: Sequence[str], title: str) -> str:
    """Return a terminal with these lines as SVG. It loads nothing, not even a font."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO())
    for line in lines:
        text = Text(line)
        for pattern, style in _STYLES.items():
            text.highlight_regex(pattern, style)
        console.print(text)
    drawn = console.export_svg(title=title, unique_id="procpool")
    return re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


def doctor_lines(folder: Path) -> list[str]:
    """Return what the doctor says of upstream's wheel, and of the patched one in its place."""
    release, series = get_release(REPORTED)
    python = choose_python(release.requires_python, "newest", installed_pythons())
    interpreter = folder / ".venv" / "bin" / "python"
    uv("venv", "--quiet", "--seed", "--python", python, str(folder / ".venv"))
    shutil.copy(ROOT / "scripts" / "doctor.py", folder)
    wheels = fetch(release), build_release(release, series, folder / "dist")
    lines = []
    for wheel in wheels:
        uv("pip", "install", "--quiet", "--no-deps", "--python", str(interpreter), str(wheel))
        command = [str(interpreter), "doctor.py"]
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if said.returncode not in (0, 1):
            raise UserError(f"the doctor failed: {said.stderr.strip()[-500:]}")
        lines += ["$ python doctor.py", *said.stdout.splitlines(), ""]
    return [line.replace(str(folder), _APP) for line in lines]


def tables_in(printed: str) -> list[str]:
    """Return the tables that `nox -s e2e` printed, without its progress and its last words."""
    lines = printed.splitlines()
    rows = [number for number, line in enumerate(lines) if line.startswith("|")]
    if not rows:
        raise UserError(f"e2e printed no table: {printed.strip()[-500:]}")
    return lines[rows[0] : rows[-1] + 1]


def worker_lines(python: str) -> list[str]:
    """Return what `nox -s e2e` prints of the chosen cases; `python` runs tests/e2e."""
    chosen = named(_CASES)
    command = [sys.executable, str(ROOT / "scripts"), "e2e", REPORTED, *chosen]
    result = subprocess.run(
        [*command, "--server", "real", "--tests-python", python],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if result.returncode:
        raise UserError(f"e2e failed: {(result.stdout + result.stderr).strip()[-500:]}")
    shown = " ".join([f"$ {COMMAND}", REPORTED, *chosen])
    return [shown, *tables_in(result.stdout)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the commands and write the picture."""
    parser = step_parser(__doc__)
    parser.add_argument(
        "--tests-python", default=sys.executable, help="the Python that runs tests/e2e"
    )
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        lines = doctor_lines(Path(scratch).resolve())
    lines += worker_lines(options.tests_python)
    replace_file(PICTURE, draw(lines, f"livekit-agents {REPORTED}") + "\n")
    print(f"written: {PICTURE.relative_to(ROOT)}")
    return 0
