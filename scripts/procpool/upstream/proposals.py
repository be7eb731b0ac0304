"""Compare this series with what else was proposed: run the same scripts on the code of each.

`patches/proposals.toml` is the table of proposals and behaviours. Each cell is the last line that
the behaviour's script prints on that code, or is cited. The table goes into PR_DESCRIPTION.md.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import ROOT, between, replace_file
from procpool.catalog.series import idea_of
from procpool.patching.apply import apply_in_place, git_apply
from procpool.patching.fit import why_not
from procpool.upstream.branches import final_series, split_series
from procpool.upstream.clones import PACKAGE, make_stand_in, resolve
from procpool.upstream.environment import make_environment
from procpool.upstream.gates import git
from procpool.upstream.requests import reproduction

BEGIN = "<!-- proposals: written by nox -s proposals -->"
END = "<!-- end of proposals -->"
OURS = "this series"
# What stands in place of a ref for the code of the newest final release, from its sdist.
RELEASE = "newest release"
_LIMIT = 300  # seconds for one script; on an idle machine the longest takes 60
_AT_ONCE = 6  # scripts: they wait most of the time


@dataclass(frozen=True)
class Proposal:
    """A column: its name, the ref of its code in a clone, `RELEASE` or None, and a note.

    `cited` maps questions to cells, for a proposal whose code is not run; `otherwise` is the cell
    of the other questions.
    """

    name: str
    note: str
    ref: str | None = None
    otherwise: str = ""
    cited: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Behaviour:
    """A row: its question, and the file below `patches/`, or in the root, with its script."""

    question: str
    script: str


def load_proposals(patches: Path) -> tuple[list[Proposal], list[Behaviour]]:
    """Return the columns and the rows; raise `UserError` if the table is damaged."""
    table = patches / "proposals.toml"
    try:
        rows: dict[str, Any] = tomllib.loads(table.read_text("utf-8"))
        proposals = [Proposal(**row) for row in rows["proposals"]]
        behaviours = [Behaviour(**row) for row in rows["behaviours"]]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{table} is damaged: {error}") from None
    questions = {behaviour.question for behaviour in behaviours}
    for proposal in proposals:
        if unknown := proposal.cited.keys() - questions:
            raise UserError(f"{table}: {proposal.name} cites no behaviour: {', '.join(unknown)}")
    return proposals, behaviours


def script_of(behaviour: Behaviour, patches: Path) -> str:
    """Return the script of a behaviour; raise `UserError` if there is none."""
    name = behaviour.script
    path = (ROOT if name == "PR_DESCRIPTION.md" else patches) / name
    text = path.read_text("utf-8") if path.is_file() else ""
    script = text if path.suffix == ".py" else reproduction(text)
    if not script:
        raise UserError(f"{path} holds no script: proposals.toml names it")
    return script


def unpack(clone: Path, ref: str, folder: Path, patches: Path) -> tuple[Path, str]:
    """Write the files of a ref of a clone, or of the newest release, into `folder`.

    Returns the root of the package, and what it is: its version, its day, and which commit. Raises
    `UserError`.
    """
    folder.mkdir()
    if ref == RELEASE:
        make_stand_in(folder, patches)
        which, day = "its sdist", git(folder, "log", "-1", "--format=%cs")
    else:
        commit = resolve(clone, ref)
        archive = folder.with_suffix(".tar")
        git(clone, "archive", f"--output={archive}", commit)
        subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)
        which, day = commit[:9], git(clone, "log", "-1", "--format=%cs", commit)
    text = (folder / PACKAGE / "livekit" / "agents" / "version.py").read_text("utf-8")
    version = text.partition('__version__ = "')[2].partition('"')[0]
    return folder / PACKAGE, f"{version} of {day} ({which})"


def patch(package: Path, patches: Path) -> str:
    """Apply the newest series that fits to a package; return its name, or raise `UserError`."""
    reason = "there are no series"
    for series in final_series(patches):
        theirs, ours = split_series(series)
        first = [p for p in theirs if git_apply(package, p, "--reverse", "--check").returncode != 0]
        if (why := why_not(package, [*first, *ours])) is None:
            apply_in_place(package, [*first, *ours])
            return f"{series.name}, {len(ours)} ideas, the last of them {idea_of(ours[-1])}"
        reason = f"series {series.name}: {why}"
    raise UserError(reason)


def last_line(python: Path, package: Path, script: Path) -> str:
    """Run a script on a package and return the last line that it prints; what went wrong, else."""
    try:
        result = subprocess.run(
            [str(python), str(script)],
            cwd=script.parent,
            # with byte code: to compile the package takes longer than most scripts
            env=os.environ
            | {
                "PYTHONPATH": str(package),
                "PYTHONUNBUFFERED": "1",
                "PYTHONDONTWRITEBYTECODE": "",
            },
            capture_output=True,
            timeout=_LIMIT,
        )
        out, failed = result.stdout, f"fails: {_last(result.stderr) or 'nothing said'}"
    except subprocess.TimeoutExpired as error:
        # what it has printed counts; it may not end by itself
        out, failed = error.stdout or b"", f"no end within {_LIMIT} s"
    return _last(out) or failed


def _last(output: bytes) -> str:
    """Return the last line of a program's output, empty if there is none."""
    return (output.decode("utf-8", "replace").strip().splitlines() or [""])[-1].strip()


def render(
    proposals: Sequence[Proposal], behaviours: Sequence[Behaviour], cells: Mapping[str, list[str]]
) -> str:
    """Return the table in Markdown; `cells` maps each column to its cells, in the rows' order."""
    names = [OURS, *(proposal.name for proposal in proposals)]
    rows = [f"| | {' | '.join(names)} |", "| --- " * (len(names) + 1) + "|"]
    for number, behaviour in enumerate(behaviours):
        row = [behaviour.question, *(cells[name][number] for name in names)]
        rows.append(f"| {' | '.join(row)} |")
    return "\n".join(rows) + "\n"


def compare(clone: Path, base: str, patches: Path) -> str:
    """Return the table and what it was measured on, in Markdown.

    `base` is what the series is applied to: a ref, or `RELEASE`. Raises `UserError` if a ref is
    missing.
    """
    proposals, behaviours = load_proposals(patches)
    scripts = [script_of(behaviour, patches) for behaviour in behaviours]
    with tempfile.TemporaryDirectory(prefix="livekit-procpool-") as temporary:
        folder = Path(temporary).resolve()
        refs = {OURS: base} | {p.name: p.ref for p in proposals if p.ref}
        packages: dict[str, Path] = {}
        pythons: dict[str, Path] = {}
        found: dict[str, str] = {}
        for number, (name, ref) in enumerate(refs.items()):
            packages[name], found[name] = unpack(clone, ref, folder / f"code-{number}", patches)
            # of its day: older code can't import what the newest release requires
            pythons[name] = make_environment(packages[name].parent, patches)
        print(f"{OURS}: {patch(packages[OURS], patches)}", flush=True)
        cells = {
            p.name: [p.cited.get(b.question, p.otherwise) for b in behaviours] for p in proposals
        }
        paths = [folder / f"behaviour-{number}.py" for number in range(len(scripts))]
        for path, text in zip(paths, scripts, strict=True):
            path.write_text(text, "utf-8")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            runs = {
                name: [pool.submit(last_line, pythons[name], root, path) for path in paths]
                for name, root in packages.items()
            }
            for name, futures in runs.items():
                cells[name] = [future.result() for future in futures]
                print(f"{time.strftime('%H:%M:%S')} {name}: {len(scripts)} scripts", flush=True)
    notes = [f"{p.name}: {p.note}" for p in proposals]
    measured = ", ".join(f"{name} on {what}" for name, what in found.items())
    return (
        render(proposals, behaviours, cells)
        + f"\nMeasured: {measured}. {'. '.join(notes)}. T is `initialize_timeout`. Each cell is the"
        " last line that a script prints (`patches/proposals.toml` names them).\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the table into PR_DESCRIPTION.md."""
    parser = step_parser(__doc__)
    parser.add_argument("clone", type=Path, help="a clone of livekit/agents with refs/pull/*/head")
    parser.add_argument(
        "base", nargs="?", default=RELEASE, help="a ref of the clone; default: the %(default)s"
    )
    options = parser.parse_args(argv)
    if not options.clone.is_dir():
        raise UserError(f"{options.clone} is not a directory: give a clone of livekit/agents")
    path = ROOT / "PR_DESCRIPTION.md"
    between(path, BEGIN, END, "")
    replace_file(
        path, between(path, BEGIN, END, compare(options.clone, options.base, options.patches))
    )
    return 0
