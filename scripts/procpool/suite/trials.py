"""Run parts of the suite on variants of one release, each a tree of its own.

A variant is an unpacked wheel with some patches, or with something broken on purpose. All variants
of a release share one environment of its dependencies; tests/regression/trees.py runs them there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.base.pythons import choose_python, installed_pythons
from procpool.base.scratch import scratch_folder
from procpool.catalog.fetch import fetch
from procpool.catalog.releases import Release, load_releases
from procpool.catalog.series import line_of, load_lines
from procpool.patching.steps import pristine_files, write_files
from procpool.suite.control import record_path
from procpool.suite.environment import make_dependencies
from procpool.suite.outcomes import Outcome, read_outcomes
from procpool.suite.run import RUNS
from procpool.wheels.wheel import wheel_requirements


@dataclass(frozen=True)
class Trial:
    """One run of pytest on one variant.

    `arguments` are pytest's. After `limit` seconds it is ended, and has no outcomes. Its tree, its
    report and its output have their names from `name`.
    """

    name: str
    arguments: list[str]
    limit: float


@dataclass
class Bench:
    """A folder with the trees of one release's variants, and what runs the suite on them."""

    release: Release
    folder: Path
    interpreter: Path

    def tree(self, name: str) -> Path:
        """Return where the tree of a variant is."""
        return self.folder / name

    def copy(self, name: str, original: str) -> Path:
        """Make a variant like another and return its tree.

        The files are links: replace one to change it. Linked with the compiled ones beside them,
        those that don't change are not compiled again.
        """
        shutil.copytree(self.tree(original), self.tree(name), copy_function=os.link)
        return self.tree(name)

    def run(self, trials: Iterable[Trial], at_once: int) -> dict[str, dict[str, Outcome]]:
        """Run trials, so many at once; return the outcomes by trial and by test.

        Raises `UserError` if a trial could not even begin.
        """
        rows = [
            {
                "tree": str(self.tree(trial.name)),
                "report": str(self._report(trial.name)),
                "limit": trial.limit,
                "arguments": trial.arguments,
            }
            for trial in trials
        ]
        command = [str(self.interpreter), "tests/regression/trees.py"]
        plan = json.dumps({"at_once": at_once, "trials": rows})
        subprocess.run(command, cwd=ROOT, input=plan, text=True, check=False)
        found: dict[str, dict[str, Outcome]] = {}
        for row in rows:
            report = Path(str(row["report"]))
            log = report.with_suffix(".xml.txt")
            if not log.is_file():
                raise UserError(f"the suite could not be run on {row['tree']}: see above")
            found[report.stem] = read_outcomes(report) if report.is_file() else {}
        return found

    def _report(self, name: str) -> Path:
        return self.folder / f"{name}.xml"


@contextmanager
def make_bench(release: Release) -> Iterator[Bench]:
    """Make the environment of a release's dependencies, on the newest Python that it supports, and
    its pristine tree, compiled. The trees are gone afterwards. Raises `UserError`.
    """
    python = choose_python(release.requires_python, "newest", installed_pythons())
    requirements = wheel_requirements(fetch(release))
    interpreter = make_dependencies(requirements, release.dependencies_as_of, python, RUNS)
    with scratch_folder(RUNS, "trials-") as scratch:
        bench = Bench(release, scratch, interpreter)
        write_files(bench.tree(PRISTINE), pristine_files(release))
        # Where Python is told to write no bytecode, each fork would compile the release anew.
        command = [str(interpreter), "-m", "compileall", "-q", str(bench.tree(PRISTINE))]
        subprocess.run(command, capture_output=True, check=False)
        yield bench


# The name of the variant without any patch.
PRISTINE = "pristine"


def one_of_each_line(patches: Path) -> list[str]:
    """Return a release of each line, oldest first: those with a record of their control run."""
    lines = load_lines(patches)
    found = {
        line_of(version, lines).first: version
        for version, release in load_releases(patches).items()
        if not release.preview and record_path(version, patches).is_file()
    }
    return list(found.values())
