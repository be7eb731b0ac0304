"""Make the branch of an upstream pull request, run upstream's checks on it, write its description.

The branch holds a commit for each patch of the newest series that applies to the base, and after
each the commit with its tests (`patches/upstream-tests`). Series of previews are passed over. All
is made and checked in temporary clones; the clone that was given gets the finished branch, or
nothing. Without a clone, a stand-in repository is made from the newest final release's sdist. It
lacks upstream's tests and settings, so it gets settings of its own, and is thrown away.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import PATCHES, ROOT, replace_file
from procpool.catalog.fetch import fetch
from procpool.catalog.releases import newest_release
from procpool.catalog.series import Series, idea_of, load_all_series
from procpool.patching.fit import why_not
from procpool.patching.patch import FIRST_LINE, name_of, read_header, split
from procpool.upstream.gates import NEW_TESTS, git, run_gates

# Where upstream's repository keeps the package, and where the stand-in does.
PACKAGE = "livekit-agents"
DIST = ROOT / "dist"
# Between these lines PR_DESCRIPTION.md lists the patches.
BEGIN = "<!-- patches: those of the newest series -->\n"
END = "\n<!-- end of patches -->"

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
class Request:
    """What was asked for: a clone, its base and the name of the branch.

    `clone` is a path, a URL or None for a stand-in; `prefix` is "1-N"; `body` is where the text of
    the pull request goes; `patches` is the folder with the series.
    """

    patches: Path
    clone: str | None
    base: str
    branch: str
    author: str | None
    prefix: str | None
    body: Path

    @property
    def url(self) -> str | None:
        """The clone, if it is a URL."""
        return self.clone if self.clone and is_url(self.clone) else None

    @property
    def kept(self) -> Path:
        """Where the clone of a URL is kept once it has the branch."""
        return DIST / re.split(r"[/:]", (self.url or "").rstrip("/"))[-1].removesuffix(".git")


def parse_prefix(text: str, count: int) -> int:
    """Return N of "1-N", 1 of "1"; raise `UserError` if it is no prefix of `count` patches."""
    found = re.fullmatch(r"1(?:-([1-9]\d*))?", text)
    last = int(found[1] or 1) if found else 0
    if not 1 <= last <= count:
        raise UserError(
            f"--prefix {text}: give 1-N, with N from 1 to {count}: a patch needs those before it"
        )
    return last


def mail(patch: Path, author: str | None) -> str:
    """Return a patch as `git am` takes it, without the fields that only this project needs.

    `author`, "Name <address>", replaces the one in its header.
    """
    text = patch.read_text("utf-8")
    header = read_header(text, name_of(patch)).without_fields("Forwarded", "Last-Update")
    header = dataclasses.replace(header, author=author or header.author)
    return f"{FIRST_LINE}{header.text()}---\n{split(text)[1]}"


def added_tests(idea: str, patches: Path) -> Path:
    """Return the patch that adds the tests of an idea; raise `UserError` if there is none."""
    tests = patches / "upstream-tests" / f"{idea}.patch"
    if not tests.is_file():
        raise UserError(f"{idea} has no tests for upstream: {tests} is missing")
    return tests


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
    git(path, "add", "--all", "--force")
    identity = ["-c", "user.name=stand-in", "-c", "user.email=stand-in@example.invalid"]
    message = f"{PACKAGE} {release.version}, from its sdist"
    git(path, *identity, "commit", "--quiet", "--message", message)
    return release.version


def is_url(clone: str) -> bool:
    """Whether git takes `clone` for a URL, ssh's `user@host:path` included."""
    return "://" in clone or re.match(r"[\w.-]+@[\w.-]+:", clone) is not None


def open_clone(clone: str | None, scratch: Path, patches: Path) -> Path:
    """Return the repository to work on: the given clone, or in `scratch` one of a URL or a
    stand-in, of the newest release in the folder `patches`.

    Raises `UserError`.
    """
    made = scratch / "repository"
    if clone is None:
        made.mkdir()
        version = make_stand_in(made, patches)
        print(f"no clone given: a stand-in repository holds the sdist of {version}", flush=True)
        return made
    if is_url(clone):
        print(f"cloning {clone}", flush=True)
        git(scratch, "clone", "--quiet", clone, str(made))
        return made
    path = Path(clone).resolve()
    if not path.is_dir():
        raise UserError(f"{clone} is not a directory: give a clone of livekit/agents, or a URL")
    git(path, "rev-parse", "--git-dir")
    return path


def check_branch(clone: Path, branch: str) -> None:
    """Raise `UserError` if `clone` cannot get a branch of that name, or has it already."""
    try:
        git(clone, "check-ref-format", "--branch", branch)
    except UserError:
        raise UserError(f"--branch {branch}: git allows no branch of that name") from None
    for head in git(clone, "for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines():
        # git can't have both fix and fix/this
        if f"{head}/".startswith(f"{branch}/") or f"{branch}/".startswith(f"{head}/"):
            raise UserError(f"{clone} has a branch {head}: delete it, or give --branch")


def identity(repository: Path, author: str) -> dict[str, str]:
    """Return the committer for git's environment: the user's in that repository, else `author`."""
    result = subprocess.run(
        ["git", "var", "GIT_COMMITTER_IDENT"], cwd=repository, capture_output=True, text=True
    )
    found = re.match(r"(.+) <(.+)>", result.stdout if result.returncode == 0 else author)
    if found is None:
        raise UserError(f"not an author: {author!r}; give 'Name <address>'")
    return {"GIT_COMMITTER_NAME": found[1], "GIT_COMMITTER_EMAIL": found[2]}


def commit_series(
    checkout: Path, patches: list[Path], tests_of: Path, author: str | None, **who: str
) -> None:
    """Commit the patches and their tests in `checkout`, in order; raise `UserError`.

    The tests are those in the folder `tests_of`.
    """
    for patch in patches:
        tests = added_tests(idea_of(patch), tests_of)
        for text, directory in ((patch, [f"--directory={PACKAGE}"]), (tests, [])):
            message = checkout.parent / "message"
            message.write_text(mail(text, author), "utf-8")
            git(checkout, "am", "--quiet", *directory, str(message), **who)


def final_series(patches: Path = PATCHES) -> list[Series]:
    """Return the series of final releases, newest first."""
    return [series for series in reversed(load_all_series(patches)) if not series.preview]


def upstreamable(series: Series) -> list[Path]:
    """Return the patches of a series that upstream has in no release (DEP-3, Applied-Upstream)."""
    return [
        text
        for text in series.patches
        if not read_header(text.read_text("utf-8"), name_of(text)).field("Applied-Upstream")
    ]


def choose_series(checkout: Path, request: Request) -> tuple[Series, list[Path]]:
    """Return the newest series of which the patches asked for apply to the checkout, and these.

    Raises `UserError` that names the base, and the hunk that stopped the newest series.
    """
    series = final_series(request.patches)
    newest = series[0]
    last = count = len(upstreamable(newest))
    if request.prefix:
        last = parse_prefix(request.prefix, count)
    reasons = []
    for found in series:
        patches = upstreamable(found)[:last]
        if (reason := why_not(checkout / PACKAGE, patches)) is None:
            if found != newest:
                print(f"series {newest.name} does not apply to {request.base}; {found.name} does")
            return found, patches
        reasons.append(f"series {found.name}: {reason}")
    raise UserError(f"base {request.base}: {reasons[0]}; the clone is as it was")


def subject(patch: Path) -> str:
    """Return the subject of a patch, without "[PATCH]"."""
    return read_header(patch.read_text("utf-8"), name_of(patch)).subject


def listing(patches: list[Path]) -> str:
    """Return a numbered list of the patches."""
    return "\n".join(f"{number}. `{subject(patch)}`" for number, patch in enumerate(patches, 1))


def description(patches: list[Path], of: list[Path]) -> tuple[str, str]:
    """Return title and text of the pull request that brings `patches`, the first ones of `of`.

    The text is PR_DESCRIPTION.md with the list of `of` filled in. Where a paragraph or a list item
    starts with `<!-- respawn -->`, it is left out if that idea is not among those of `patches`.
    """
    title, _, text = (ROOT / "PR_DESCRIPTION.md").read_text("utf-8").partition("\n\n")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    ideas = {idea_of(patch) for patch in patches}
    kept, keep = [], True
    for line in (before + listing(of) + after).splitlines():
        mark = re.match(r"([-\d. ]*)<!-- ([a-z-]+) --> ?", line)
        if mark or not line.startswith(" "):
            keep = mark is None or mark[2] in ideas
        if keep:
            kept.append(mark[1] + line[mark.end() :] if mark else line)
    text = "\n".join(kept) + "\n"
    if len(patches) == len(of):
        return title.removeprefix("# "), text
    titles = "; ".join(subject(patch) for patch in patches)
    part = (
        f"> This is part of a series: patches 1 to {len(patches)} of the {len(of)} listed below. It"
        " works without the others, which follow as requests of their own, in that order. The"
        " figures are those of the whole series.\n\n"
    )
    return titles, part + text


@dataclass(frozen=True)
class Work:
    """Where the branch is made: in checkouts of its own of `base`, a commit of `clone`."""

    clone: Path
    base: str
    branch_checkout: Path
    base_checkout: Path


def prepare(request: Request, scratch: Path, beside_target: Path) -> Work:
    """Open the clone and check its base out twice in `scratch`.

    A URL is cloned into `beside_target`. Raise `UserError` for a clone that cannot get the branch.
    """
    if request.url and request.kept.exists():
        raise UserError(f"{request.kept} exists: give it in place of the URL, or delete it")
    clone = open_clone(request.clone, beside_target if request.url else scratch, request.patches)
    try:
        base = git(clone, "rev-parse", "--verify", "--quiet", f"{request.base}^{{commit}}")
    except UserError:
        raise UserError(f"{clone} has no ref {request.base}: fetch it, or name another") from None
    check_branch(clone, request.branch)
    work = Work(clone, base, scratch / "branch", scratch / "base")
    for checkout in (work.branch_checkout, work.base_checkout):
        git(scratch, "clone", "--quiet", "--shared", "--no-checkout", str(clone), str(checkout))
        git(checkout, "checkout", "--quiet", "--detach", base)
    if not (work.branch_checkout / PACKAGE / "livekit" / "agents").is_dir():
        raise UserError(f"{request.base} of {clone} has no {PACKAGE}/: not livekit/agents")
    return work


def make_branch(request: Request, work: Work) -> tuple[str, str]:
    """Commit the patches and their tests; return title and text of the pull request.

    The new tests are put into the checkout of the base too. Raise `UserError` if no series fits.
    """
    checkout = work.branch_checkout
    series, patches = choose_series(checkout, request)
    author = read_header(patches[0].read_text("utf-8"), name_of(patches[0])).author
    who = identity(work.clone, request.author or author)
    commit_series(checkout, patches, request.patches, request.author, **who)
    git(work.base_checkout, "fetch", "--quiet", str(checkout), "HEAD")
    git(work.base_checkout, "checkout", "--quiet", "FETCH_HEAD", "--", NEW_TESTS)
    found = f"{len(patches)} patches of series {series.name}"
    print(f"{request.base} is {work.base[:12]}; {found}", flush=True)
    return description(patches, upstreamable(series))


def check(request: Request, work: Work, scratch: Path) -> None:
    """Run upstream's checks; raise `UserError` that names those that fail."""
    if failed := run_gates(work.branch_checkout, work.base_checkout, scratch, request.patches):
        raise UserError(f"{', '.join(failed)} failed on {request.base}; the clone is as it was")


def deliver(request: Request, work: Work, text: str) -> None:
    """Write the text of the pull request, and give the clone the branch."""
    request.body.parent.mkdir(parents=True, exist_ok=True)
    replace_file(request.body, text)
    refs = f"HEAD:refs/heads/{request.branch}"
    options = ["--quiet", "--no-tags", "--no-write-fetch-head"]
    git(work.clone, "fetch", *options, str(work.branch_checkout), refs)
    print(git(work.clone, "log", "--oneline", "--reverse", f"{work.base}..{request.branch}"))
    if request.url:
        work.clone.rename(request.kept)


def read_request(argv: Sequence[str] | None) -> Request:
    """Read the command line; raise `UserError` for what is no author."""
    parser = step_parser(__doc__)
    parser.add_argument("clone", nargs="?", help="a clone of livekit/agents, or a URL")
    parser.add_argument("base", nargs="?", default="HEAD", help="a ref; default: %(default)s")
    parser.add_argument("--branch", default="fix/bound-the-wait-for-a-process")
    parser.add_argument("--author", help="'Name <address>'; default: that of the patches")
    parser.add_argument("--prefix", metavar="1-N", help="the first N patches only")
    parser.add_argument(
        "--body", type=Path, default=DIST / "PR_DESCRIPTION.md", help="default: %(default)s"
    )
    request = Request(**vars(parser.parse_args(argv)))
    if request.author and not re.fullmatch(r"[^<>\n]+ <[^<>\s]+@[^<>\s]+>", request.author):
        raise UserError(f"not an author: {request.author!r}; give 'Name <address>'")
    return request


def main(argv: Sequence[str] | None = None) -> int:
    """Make the branch and the description; raise `UserError` if one of upstream's checks fails."""
    request = read_request(argv)
    # an interrupted run cleans up too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    DIST.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="livekit-procpool-") as temporary,
        tempfile.TemporaryDirectory(prefix=".clone-", dir=DIST) as beside_target,
    ):
        scratch = Path(temporary).resolve()
        work = prepare(request, scratch, Path(beside_target))
        title, text = make_branch(request, work)
        check(request, work, scratch)
        deliver(request, work, text)
    where = request.kept if request.url else request.clone or "the stand-in"
    print(f"branch {request.branch} of {where}")
    print(f"gh pr create --title {shlex.quote(title)} --body-file {shlex.quote(str(request.body))}")
    return 0
