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
import os
import re
import shlex
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import PATCHES, ROOT, between, replace_file
from procpool.catalog.fetch import fetch
from procpool.catalog.releases import newest_release
from procpool.catalog.series import Series, idea_of, load_all_series
from procpool.patching.apply import apply_in_place, apply_patch, content, git_apply
from procpool.patching.fit import why_not
from procpool.patching.patch import Header, name_of, patched_files, read_header
from procpool.upstream.gates import NEW_TESTS, Gates, Record, git, make_environment, run_gates
from procpool.upstream.requests import (
    Request,
    added_tests,
    header_of,
    load_requests,
    over_limit,
    table_of,
    text_of,
    texts_by_idea,
)
from procpool.upstream.weave import weave

# Where upstream's repository keeps the package, and where the stand-in does.
PACKAGE = "livekit-agents"
DIST = ROOT / "dist"
# Between these lines PR_DESCRIPTION.md has the table of the requests.
BEGIN = "<!-- requests: written by python scripts upstream-pr --table -->"
END = "<!-- end of requests -->"
_AUTHOR = re.compile(r"([^<>\n]*[^<>\s]) <([^<>\s]+@[^<>\s]+)>")

_STAND_IN_SETTINGS = """\
[dependency-groups]
dev = [
    "mypy==2.3.0",
    "pytest==9.0.3",
    "pytest-asyncio==1.4.0",
    "ruff==0.15.22",
]

[tool.ruff]
line-length = 100
target-version = "py310"

[tool.ruff.lint]
select = ["B", "C4", "E", "F", "I", "UP", "W"]
ignore = ["E501"]
isort = { combine-as-imports = true, known-first-party = ["livekit"] }

[tool.mypy]
strict = true
disallow_any_generics = false
plugins = ["pydantic.mypy"]

[tool.pytest.ini_options]
asyncio_mode = "auto"
markers = ["unit", "concurrent"]
"""


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


def message(header: Header) -> str:
    """Return the message of the commit of a patch."""
    return f"{header.subject}\n\n{header.body}".rstrip("\n") + "\n"


def make_stand_in(path: Path, patches: Path) -> str:
    """Make a repository in `path` from the newest final sdist; return the release's version.

    `patches` is the folder with the table of releases. Raises `UserError` as `fetch` does.
    """
    release = newest_release(patches)
    with tarfile.open(fetch(release, "sdist")) as archive:
        archive.extractall(path, filter="data")
    [unpacked] = path.iterdir()
    unpacked.rename(path / PACKAGE)
    (path / "tests").mkdir()
    (path / "tests" / "__init__.py").touch()
    (path / "pyproject.toml").write_text(_STAND_IN_SETTINGS, "utf-8")
    git(path, "init", "--quiet", "--initial-branch=main")
    subject = f"{PACKAGE} {release.version}, from its sdist"
    who = {"GIT_AUTHOR_NAME": "stand-in", "GIT_AUTHOR_EMAIL": "stand-in@example.invalid"}
    commit(path, ["."], f"{subject}\n", release.uploaded, who)
    return release.version


def is_url(clone: str) -> bool:
    """Whether git takes `clone` for a URL, ssh's `user@host:path` included."""
    return "://" in clone or re.match(r"[\w.-]+@[\w.-]+:", clone) is not None


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


def newest_main(clone: Path) -> str:
    """Return the newest of a clone's branches `main`, its own and those of its remotes, as a ref.

    Raises `UserError` if it has none.
    """
    refs = ["refs/heads/main", "refs/remotes/*/main"]
    found = git(clone, "for-each-ref", "--sort=-committerdate", "--format=%(refname)", *refs)
    if not found:
        raise UserError(f"{clone} has no branch main: fetch it, or name a base")
    return found.splitlines()[0]


def resolve(clone: Path, base: str) -> str:
    """Return the commit of a base; "main" is the newest that the clone has.

    Raises `UserError` if there is none, or it does not hold the package.
    """
    ref = newest_main(clone) if base == "main" else base
    try:
        found = git(clone, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    except UserError:
        raise UserError(f"{clone} has no ref {base}: fetch it, or name another") from None
    if not git(clone, "ls-tree", found, "--", f"{PACKAGE}/livekit/agents"):
        raise UserError(f"{base} of {clone} has no {PACKAGE}/: not livekit/agents")
    day = git(clone, "log", "-1", "--format=%cs", found)
    print(f"base: {ref.removeprefix('refs/')} of {day}, {found[:12]}", flush=True)
    return found


def author(clone: Path, given: str | None) -> dict[str, str]:
    """Return whose the commits are, for git's environment.

    It is `given`, "Name <address>", or who git's configuration of that clone names. Raises
    `UserError` if it names nobody: an author is never made up.
    """
    if given is None:
        name, address = (_configured(clone, key) for key in ("name", "email"))
        given = f"{name} <{address}>" if name and address else None
    if given is None:
        raise UserError(
            "who is the author? git's configuration has no user.name and user.email:"
            " set them, or give --author 'Name <address>'"
        )
    found = _AUTHOR.fullmatch(given)
    if found is None:
        raise UserError(f"not an author: {given!r}; give 'Name <address>'")
    return {"GIT_AUTHOR_NAME": found[1], "GIT_AUTHOR_EMAIL": found[2]}


def _configured(clone: Path, key: str) -> str:
    """Return `user.KEY` as the user has set it for a clone, empty if it is not set."""
    if value := os.environ.get(f"GIT_AUTHOR_{key.upper()}"):
        return value
    result = subprocess.run(
        ["git", "config", "--get", f"user.{key}"], cwd=clone, capture_output=True, text=True
    )
    return result.stdout.strip()


def commit(
    checkout: Path, paths: Sequence[str], text: str, date: str, who: Mapping[str, str]
) -> None:
    """Commit what a checkout holds at those paths, with that message, at that date, as that author.

    The date is the committer's too, so that the same content makes the same commit.
    """
    git(checkout, "add", "--all", "--force", "--", *paths)
    dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    committer = {key.replace("AUTHOR", "COMMITTER"): value for key, value in who.items()}
    options = ["--quiet", "--no-verify", "--no-gpg-sign", "--message", text]
    git(checkout, "commit", *options, **who, **dates, **committer)


def final_series(patches: Path = PATCHES) -> list[Series]:
    """Return the series of final releases, newest first."""
    return [series for series in reversed(load_all_series(patches)) if not series.preview]


def split_series(series: Series) -> tuple[list[Path], list[Path]]:
    """Return the patches of a series that upstream has in some release, and the others.

    The header says so: DEP-3, Applied-Upstream.
    """
    ours: list[Path] = []
    theirs: list[Path] = []
    for text in series.patches:
        header = read_header(text.read_text("utf-8"), name_of(text))
        (theirs if header.field("Applied-Upstream") else ours).append(text)
    return theirs, ours


@dataclass(frozen=True)
class Plan:
    """What is committed: first what upstream has, but not in this base, then the requests.

    `texts` maps the ideas of the requests to patch files, in the order of the series; `there` are
    the ideas that this base has.
    """

    first: list[Path]
    texts: dict[str, Path]
    there: set[str]
    requests: list[Request]


def make_plan(tree: Path, options: Options) -> Plan:
    """Return what is committed on the base whose package is in `tree`, up to the request asked for.

    Raises `UserError` that names the base, and the hunk that stopped the newest series.
    """
    reasons = []
    for series in final_series(options.patches):
        theirs, ours = split_series(series)
        requests = load_requests(options.patches, [idea_of(text) for text in ours])
        wanted = choose(requests, options.request)
        ideas = {idea for request in wanted for idea in request.ideas}
        texts = [text for text in ours if idea_of(text) in ideas]
        first = [p for p in theirs if git_apply(tree, p, "--reverse", "--check").returncode != 0]
        if (reason := why_not(tree, [*first, *texts])) is None:
            print(f"{len(texts)} patches of series {series.name}", flush=True)
            for patch in first:
                print(f"first, as upstream has it in a later release: {idea_of(patch)}", flush=True)
            there = {idea_of(text) for text in theirs if text not in first}
            return Plan(first, texts_by_idea(texts), there, wanted)
        reasons.append(f"series {series.name}: {reason}")
    raise UserError(f"base {options.base}: {reasons[0]}; the clone is as it was")


def choose(requests: Sequence[Request], number: int | None) -> list[Request]:
    """Return the requests up to that number, counted from 1, or all; those that bring anything.

    Raises `UserError` if there is no such request, or upstream has all of it.
    """
    wanted = [request for request in requests if number is None or request.number <= number]
    left = [request for request in wanted if request.ideas]
    if number is not None and not 1 <= number <= len(requests):
        raise UserError(f"--request {number}: give a number from 1 to {len(requests)}")
    if not left or (number is not None and left[-1].number != number):
        raise UserError(f"--request {number or 'all'}: upstream has all of it")
    return left


class NewTests:
    """The new tests in a checkout, to which those of one idea after the other are added."""

    def __init__(self, checkout: Path, plan: Plan, patches: Path) -> None:
        """Raises `UserError` if an idea of the plan has no tests."""
        self.path, self.patches = checkout / NEW_TESTS, patches
        tested = [
            idea for idea in plan.there if (patches / "upstream-tests" / f"{idea}.patch").exists()
        ]
        self.done = set(tested)
        self.woven = weave([added_tests(i, patches) for i in [*tested, *plan.texts]], NEW_TESTS)

    def add(self, idea: str) -> None:
        """Add the tests of an idea; raise `UserError` if they don't fit what upstream has made of
        the others.
        """
        have = self.path.read_text("utf-8") if self.path.exists() else ""
        fits = have == self.woven.text(self.done)
        self.done.add(idea)
        if fits:
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text(self.woven.text(self.done), "utf-8")
        else:
            apply_patch(self.path.parents[1], added_tests(idea, self.patches))


def build(checkout: Path, plan: Plan, patches: Path, who: Mapping[str, str] | None) -> list[str]:
    """Commit a plan in a checkout; return the commit below the requests, and that of each.

    `who` is whose the commits are, for git's environment; None: those that the patches name. The
    requests need not have the order of the series: what their patches make of the package must be
    the same. Raises `UserError` if it is not, or a patch does not apply.
    """
    package = checkout / PACKAGE
    tests = NewTests(checkout, plan, patches)
    files = {name for text in plan.texts.values() for name in patched_files(text)}
    in_order = checkout.with_name("in-order")
    shutil.copytree(package / "livekit", in_order / "livekit")
    apply_in_place(in_order, [*plan.first, *plan.texts.values()])

    def add(patch: Path, below: str) -> str:
        header = header_of(patch)
        paths = [f"{below}{name}" for name in patched_files(patch)]
        mine = _AUTHOR.fullmatch(header.author)
        named = {"GIT_AUTHOR_NAME": mine[1], "GIT_AUTHOR_EMAIL": mine[2]} if mine else {}
        commit(checkout, paths, message(header), header.date, who or named)
        return git(checkout, "rev-parse", "HEAD")

    tip = git(checkout, "rev-parse", "HEAD")
    for patch in plan.first:
        apply_patch(package, patch)
        tip = add(patch, f"{PACKAGE}/")
    tips = [tip]
    for request in plan.requests:
        for idea in request.ideas:
            apply_patch(package, plan.texts[idea])
            add(plan.texts[idea], f"{PACKAGE}/")
            tests.add(idea)
            tip = add(added_tests(idea, patches), "")
        tips.append(tip)
    for name in files:
        if content(package / name) != content(in_order / name):
            raise UserError(
                f"{name} is another file when the requests are applied in their order:"
                " see the order of the ideas in requests.toml"
            )
    shutil.rmtree(in_order)
    return tips


def check_branches(clone: Path, requests: Sequence[Request], tips: Sequence[str]) -> None:
    """Raise `UserError` if `clone` has a branch of a request already, other than what was made."""
    heads = git(clone, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads")
    for head, found in (line.split() for line in heads.splitlines()):
        for request, tip in zip(requests, tips, strict=True):
            # git can't have both fix and fix/this
            same = head == request.branch and found == tip
            if not same and f"{request.branch}/".startswith(f"{head}/"):
                raise UserError(f"{clone} has another branch {head}: rename or delete it")


def check_out(clone: Path, folder: Path) -> Path:
    """Return `folder`, made a checkout that shares the objects of `clone` where it is missing."""
    if not folder.exists():
        options = ["--quiet", "--shared", "--no-checkout"]
        git(folder.parent, "clone", *options, str(clone), str(folder))
    return folder


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
    plan = make_plan(branch / PACKAGE, options)
    who = author(clone, options.author) if options.clone else None
    tips = build(branch, plan, options.patches, who)
    check_branches(clone, plan.requests, tips[1:])
    record = Record.read(folder / "record.json")
    if not record.environment:
        print("installing upstream's tools", flush=True)
        shutil.rmtree(folder / "environment", ignore_errors=True)
        record.environment = str(make_environment(branch, folder, options.patches))
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
    if values["author"] and not _AUTHOR.fullmatch(values["author"]):
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
