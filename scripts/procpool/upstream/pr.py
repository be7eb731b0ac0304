"""Make the branches of upstream's pull requests, run upstream's checks on each, write their texts.

Which ideas a request brings stands in `patches/requests.toml`. A request is a branch, stacked on
the one before, with a commit for each of its ideas, of the newest series that applies to the base,
and after each the commit with its tests (`patches/upstream-tests`). Series of previews are passed
over. What upstream has in a release newer than the base comes first, as a commit below them all.

All is made and checked in checkouts below `dist/upstream-pr`, which stay there if a check fails;
the clone that was given gets finished branches only. Without a clone, a stand-in repository is made
from the newest final release's sdist. It lacks upstream's tests and settings, so it gets settings
of its own, and is thrown away. The same patches on the same base by the same author always make the
same commits, so that a request can be made, and a run resumed, on top of what is there.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shlex
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import ROOT, between, replace_file
from procpool.upstream.branches import Plan, build, final_series, make_plan, split_series
from procpool.upstream.clones import (
    AUTHOR,
    PACKAGE,
    author,
    check_branches,
    check_out,
    is_url,
    make_stand_in,
    resolve,
)
from procpool.upstream.environment import make_environment
from procpool.upstream.gates import NEW_TESTS, Gates, Record, git, run_gates
from procpool.upstream.requests import (
    Request,
    load_requests,
    over_limit,
    table_of,
    text_of,
    texts_by_idea,
)

DIST = ROOT / "dist"
# Between these lines PR_DESCRIPTION.md has the table of the requests.
BEGIN = "<!-- requests: written by python scripts upstream-pr --table -->"
END = "<!-- end of requests -->"


@dataclass(frozen=True)
class Options:
    """What was asked for: a clone and its base, one request or all, whose they are.

    `clone` is a path, a URL or None for a stand-in; `request` is a number, counted from 1, or None
    for all; `author` is "Name <address>"; `texts` is the folder for the texts of the requests;
    `patches` is the folder with the series. `table` only writes the table into PR_DESCRIPTION.md.
    """

    patches: Path
    clone: str | None
    base: str
    request: int | None
    author: str | None
    texts: Path
    resume: bool
    table: bool

    @property
    def url(self) -> str | None:
        """The clone, if it is a URL."""
        return self.clone if self.clone and is_url(self.clone) else None

    @property
    def name(self) -> str:
        """What the clone is called: the last part of its path or URL."""
        if self.clone is None:
            return "stand-in"
        if self.url:
            return re.split(r"[/:]", self.url.rstrip("/"))[-1].removesuffix(".git")
        return Path(self.clone).resolve().name

    @property
    def kept(self) -> Path:
        """Where the clone of a URL is kept once it has a branch."""
        return DIST / self.name

    @property
    def work(self) -> Path:
        """Where all is made: a folder of its own for each clone."""
        where = self.url or str(Path(self.clone).resolve()) if self.clone else "stand-in"
        return (
            DIST / "upstream-pr" / f"{self.name}-{hashlib.sha256(where.encode()).hexdigest()[:8]}"
        )

    def again(self) -> str:
        """The shell line that goes on where a run has stopped."""
        words = [self.clone, self.base] if self.clone else []
        words += ["--request", str(self.request)] if self.request else []
        words += ["--author", self.author] if self.author else []
        return shlex.join(["nox", "-s", "upstream-pr", "--", *words, "--resume"])


def open_clone(options: Options) -> Path:
    """Return the repository to work on: the given clone, or in the folder of the work one of a URL
    or a stand-in, of the newest release.

    Raises `UserError`.
    """
    made = options.work / "repository"
    if options.clone is None:
        if not made.exists():
            made.mkdir()
            version = make_stand_in(made, options.patches)
            print(f"no clone given: a stand-in repository holds the sdist of {version}", flush=True)
        return made
    if options.url:
        if options.kept.exists():
            raise UserError(f"{options.kept} exists: give it in place of the URL, or delete it")
        if not made.exists():
            print(f"cloning {options.url}", flush=True)
            git(options.work, "clone", "--quiet", options.url, str(made))
        return made
    path = Path(options.clone).resolve()
    if not path.is_dir():
        raise UserError(
            f"{options.clone} is not a directory: give a clone of livekit/agents, or a URL"
        )
    git(path, "rev-parse", "--git-dir")
    return path


def prepare(options: Options, clone: Path, base: str) -> tuple[Record, Plan, list[str]]:
    """Make the checkouts of a base and all commits, and install the tools; return the record of the
    run, the plan, and the commit below the requests and of each.

    Raises `UserError`.
    """
    folder = options.work / base[:12]
    folder.mkdir(exist_ok=True)
    shutil.rmtree(folder / "in-order", ignore_errors=True)
    branch = check_out(clone, folder / "branch")
    git(branch, "checkout", "--quiet", "--force", "--detach", base)
    git(branch, "clean", "--quiet", "--force", "-dx")
    plan = make_plan(branch / PACKAGE, options.base, options.patches, options.request)
    who = author(clone, options.author) if options.clone else None
    tips = build(branch, plan, options.patches, who)
    check_branches(clone, plan.requests, tips[1:])
    record = Record.read(folder / "record.json")
    record.environment = str(make_environment(branch, options.patches))
    record.write()
    return record, plan, tips


def check(
    options: Options, request: Request, record: Record, below: str, tip: str
) -> dict[str, str]:
    """Run upstream's checks on a request, a commit, stacked on the commit `below`.

    Returns what each found. Raises `UserError` that names those that fail, and where to look.
    """
    folder = record.path.parent
    branch = folder / "branch"
    git(branch, "checkout", "--quiet", "--force", "-B", request.branch, tip)
    base = check_out(branch, folder / "base")
    git(base, "fetch", "--quiet", "origin", request.branch)
    git(base, "checkout", "--quiet", "--force", "--detach", below)
    git(base, "checkout", "--quiet", tip, "--", NEW_TESTS)
    failed, remarks = run_gates(Gates(request, branch, base, record), options.again())
    if failed:
        raise UserError(
            f"{request}: {', '.join(failed)} failed on {options.base}; branch {request.branch} is"
            f" kept in {branch}. Go on with: {options.again()}"
        )
    return remarks


def deliver(options: Options, clone: Path, request: Request, checkout: Path, text: str) -> None:
    """Write the text of a request, and give the clone its branch."""
    options.texts.mkdir(parents=True, exist_ok=True)
    body = options.texts / f"{request.name}.md"
    replace_file(body, text)
    refs = f"{request.branch}:refs/heads/{request.branch}"
    git(clone, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", str(checkout), refs)
    words = ["gh", "pr", "create", "--base", "main", "--head", request.branch]
    words += ["--title", request.title, "--body-file", str(body)]
    print(f"{request}: branch {request.branch}\n{shlex.join(words)}", flush=True)


def make_requests(options: Options) -> None:
    """Make, check and deliver the requests that were asked for; raise `UserError`."""
    clone = open_clone(options)
    base = resolve(clone, options.base)
    record, plan, tips = prepare(options, clone, base)
    folder = record.path.parent
    where = f"`{base[:12]}`" if options.clone else git(clone, "log", "--format=%s")
    for number, request in enumerate(plan.requests):
        if options.request not in (None, request.number):
            continue
        if note := over_limit(request, plan.texts, options.patches):
            print(f"note: {note}", flush=True)
        remarks = check(options, request, record, tips[number], tips[number + 1])
        below = plan.requests[number - 1] if number else None
        text = text_of(
            request, plan.texts, options.patches, below=below, base=where, remarks=remarks
        )
        deliver(options, clone, request, folder / "branch", text)
    if options.url:
        clone.rename(options.kept)
    shutil.rmtree(options.work)
    print(f"all of it is in {options.kept if options.url else options.clone or 'the stand-in'}")


def write_table(patches: Path) -> None:
    """Write the table of the requests into PR_DESCRIPTION.md; raise `UserError`."""
    _, ours = split_series(final_series(patches)[0])
    texts = texts_by_idea(ours)
    path = ROOT / "PR_DESCRIPTION.md"
    table = table_of(load_requests(patches, list(texts)), texts, patches)
    replace_file(path, between(path, BEGIN, END, table))


def read_options(argv: Sequence[str] | None) -> Options:
    """Read the command line; raise `UserError` for what is no author."""
    parser = step_parser(__doc__)
    parser.add_argument("clone", nargs="?", help="a clone of livekit/agents, or a URL")
    parser.add_argument(
        "base", nargs="?", help="a ref; default: main, the newest that the clone or a remote has"
    )
    parser.add_argument("--request", type=int, metavar="N", help="only request N; default: all")
    parser.add_argument("--author", help="'Name <address>'; default: as git is configured")
    parser.add_argument(
        "--texts", type=Path, default=DIST / "pull-requests", help="default: %(default)s"
    )
    parser.add_argument(
        "--resume", action="store_true", help="leave out what has passed on the same commits"
    )
    parser.add_argument("--table", action="store_true", help=argparse.SUPPRESS)
    values = vars(parser.parse_args(argv))
    values["base"] = values["base"] or "main"
    if values["author"] and not AUTHOR.fullmatch(values["author"]):
        raise UserError(f"not an author: {values['author']!r}; give 'Name <address>'")
    return Options(**values)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the branches and their texts; raise `UserError` if one of upstream's checks fails."""
    options = read_options(argv)
    if options.table:
        write_table(options.patches)
        return 0
    # an interrupted run ends its children too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options.work.parent.mkdir(parents=True, exist_ok=True)
    lock = Path(f"{options.work}.lock")
    try:
        with FileLock(lock, timeout=0):
            if not options.resume:
                shutil.rmtree(options.work, ignore_errors=True)
            options.work.mkdir(exist_ok=True)
            try:
                make_requests(options)
            finally:
                # what can be gone on with stays: see --resume
                if not list(options.work.glob("*/record.json")):
                    shutil.rmtree(options.work, ignore_errors=True)
                if not options.work.exists():
                    lock.unlink(missing_ok=True)
    except Timeout:
        raise UserError(
            f"another run works on {options.name}, in {options.work}: wait for it to end"
        ) from None
    return 0
