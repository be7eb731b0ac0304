"""Make the branch of an upstream pull request, run upstream's checks on it, write its description.

The branch holds a commit for each patch of the newest series that applies to the base, and after
each the commit with its tests (`patches/upstream-tests`). Series of previews are passed over. All
is made and checked in temporary clones; the clone that was given gets the finished branch, or
nothing. Without a clone, a stand-in repository is made from the newest final release's sdist. It
lacks upstream's tests and settings, so it gets settings of its own, and is thrown away.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

from apply_series import git_environment
from errors import UserError, one_line, run_main
from fetch import fetch
from releases_table import PATCHES, ROOT, Series, load_all_series, newest_release, replace_file
from try_release import find_series
from upstream_gates import NEW_TESTS, run_gates

# Where upstream's repository keeps the package, and where the stand-in does.
PACKAGE = "livekit-agents"

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


def git(repository: Path, *arguments: str, **environment: str) -> str:
    """Run git in `repository` without the user's settings and return what it printed, stripped.

    Raises `UserError` with git's reason.
    """
    result = subprocess.run(
        ["git", *arguments],
        cwd=repository,
        env=git_environment(repository) | environment,
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        reason = one_line(result.stderr or result.stdout)
        raise UserError(f"git {arguments[0]} failed in {repository}: {reason[:400]}")
    return result.stdout.strip()


def parse_prefix(text: str, count: int) -> int:
    """Return N of "1-N", 1 of "1"; raise `UserError` if it is no prefix of `count` patches."""
    found = re.fullmatch(r"1(?:-([1-9]\d*))?", text)
    last = int(found[1] or 1) if found else 0
    if not 1 <= last <= count:
        raise UserError(
            f"--patches {text}: give 1-N, with N from 1 to {count}: a patch needs those before it"
        )
    return last


def mail(patch: Path, author: str | None) -> str:
    """Return a patch as `git am` takes it, without the fields that only this project needs.

    `author`, "Name <address>", replaces the one in its header.
    """
    head, separator, diff = patch.read_text("utf-8").partition("\n---\n")
    head = re.sub(r"^(Forwarded|Last-Update): .*\n?", "", head, flags=re.MULTILINE).rstrip("\n")
    if author:
        head = re.sub(r"^From: .*$", lambda _: f"From: {author}", head, count=1, flags=re.MULTILINE)
    return head + separator + diff


def added_tests(patch: Path, patches: Path = PATCHES) -> Path:
    """Return the patch that adds the tests of `patch`; raise `UserError` if there is none."""
    folder = patches / "upstream-tests"
    idea = patch.name.partition("-")[2]
    for line in (folder / "series").read_text("utf-8").splitlines():
        tests, _, tested = line.partition(" # ")
        if tested == idea:
            return folder / tests
    raise UserError(f"{folder / 'series'} names no tests for {idea}")


def make_stand_in(path: Path) -> str:
    """Make a repository in `path` from the newest final sdist; return the release's version."""
    release = newest_release()
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


def open_clone(clone: str | None, scratch: Path) -> Path:
    """Return the repository to work on: the given clone, one made from a URL, or a stand-in.

    A URL is cloned into `dist/`, where the branch can be pushed from. Raises `UserError`.
    """
    if clone is None:
        stand_in = scratch / "stand-in"
        stand_in.mkdir()
        version = make_stand_in(stand_in)
        print(f"no clone given: a stand-in repository holds the sdist of {version}", flush=True)
        return stand_in
    if "://" in clone or re.match(r"[\w.-]+@[\w.-]+:", clone):
        target = ROOT / "dist" / re.split(r"[/:]", clone.rstrip("/"))[-1].removesuffix(".git")
        if target.exists():
            raise UserError(f"{target} exists: give it in place of the URL, or delete it")
        target.parent.mkdir(exist_ok=True)
        print(f"cloning {clone} into {target}", flush=True)
        fresh = scratch / "cloned"
        git(scratch, "clone", "--quiet", clone, str(fresh))
        fresh.rename(target)
        return target
    path = Path(clone).resolve()
    if not path.is_dir():
        raise UserError(f"{clone} is not a directory: give a clone of livekit/agents, or a URL")
    git(path, "rev-parse", "--git-dir")
    return path


def identity(repository: Path, author: str) -> dict[str, str]:
    """Return the committer for git's environment: the user's in that repository, else `author`."""
    result = subprocess.run(
        ["git", "var", "GIT_COMMITTER_IDENT"], cwd=repository, capture_output=True, text=True
    )
    found = re.match(r"(.+) <(.+)>", result.stdout if result.returncode == 0 else author)
    if found is None:
        raise UserError(f"not an author: {author!r}; give 'Name <address>'")
    return {"GIT_COMMITTER_NAME": found[1], "GIT_COMMITTER_EMAIL": found[2]}


def commit_series(checkout: Path, patches: list[Path], author: str | None, **who: str) -> None:
    """Commit the patches and their tests in `checkout`, in order; raise `UserError`."""
    for patch in patches:
        for text, directory in ((patch, [f"--directory={PACKAGE}"]), (added_tests(patch), [])):
            message = checkout.parent / text.name
            message.write_text(mail(text, author), "utf-8")
            git(checkout, "am", "--quiet", *directory, str(message), **who)


def choose_series(checkout: Path, base: str, count: str | None) -> tuple[Series, list[Path]]:
    """Return the newest series of which the patches asked for apply to the checkout, and these.

    Raises `UserError` that names the base, and the hunk that stopped the newest series.
    """
    all_series = [series for series in load_all_series() if not series.preview]
    prefix = parse_prefix(count, len(all_series[-1].patches())) if count else None
    newest = [s for s in all_series[::-1] if len(s.patches()) == len(all_series[-1].patches())]
    found, reason = find_series(checkout / PACKAGE, newest, prefix)
    if found is None:
        raise UserError(f"base {base}: {reason}; the clone is as it was")
    if found.name != all_series[-1].name:
        print(f"series {all_series[-1].name} does not apply to {base}; {found.name} does")
    return found, found.patches()[:prefix]


def description(patches: list[Path], of: int) -> str:
    """Return the text for the pull request with these patches: PR_DESCRIPTION.md without its title.

    Fewer than `of` patches get a paragraph that says which they are, and what comes after them.
    """
    _, _, text = (ROOT / "PR_DESCRIPTION.md").read_text("utf-8").partition("\n\n")
    if len(patches) == of:
        return text
    ideas = [re.sub(r"^\d+-|\.patch$", "", patch.name).replace("-", " ") for patch in patches]
    part = (
        f"> This is the first part, patches 1 to {len(patches)} of {of}: {'; '.join(ideas)}."
        " It works without the others, which follow as requests of their own, in the order of the"
        " table below: each needs those before it.\n\n"
    )
    return part + text


def main() -> int:
    """Make the branch and the description; return 1 if one of upstream's checks fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("clone", nargs="?", help="a clone of livekit/agents, or a URL")
    parser.add_argument("base", nargs="?", default="HEAD", help="a ref; default: %(default)s")
    parser.add_argument("--branch", default="fix/bound-the-wait-for-a-process")
    parser.add_argument("--author", help="'Name <address>'; default: that of the patches")
    parser.add_argument("--patches", metavar="1-N", help="the first N patches only")
    parser.add_argument(
        "--body",
        type=Path,
        default=ROOT / "dist" / "PR_DESCRIPTION.md",
        help="default: %(default)s",
    )
    options = parser.parse_args()
    if options.author and not re.fullmatch(r"[^<>\n]+ <[^<>\s]+@[^<>\s]+>", options.author):
        raise UserError(f"not an author: {options.author!r}; give 'Name <address>'")
    with tempfile.TemporaryDirectory(prefix="livekit-procpool-") as temporary:
        scratch = Path(temporary).resolve()
        clone = open_clone(options.clone, scratch)
        try:
            base = git(clone, "rev-parse", "--verify", "--quiet", f"{options.base}^{{commit}}")
        except UserError:
            raise UserError(
                f"{clone} has no ref {options.base}: fetch it, or name another"
            ) from None
        if git(clone, "branch", "--list", options.branch):
            raise UserError(f"{clone} has a branch {options.branch}: delete it, or give --branch")
        checkouts = [scratch / "branch", scratch / "base"]
        for checkout in checkouts:
            git(scratch, "clone", "--quiet", "--shared", "--no-checkout", str(clone), str(checkout))
            git(checkout, "checkout", "--quiet", "--detach", base)
        if not (checkouts[0] / PACKAGE / "livekit" / "agents").is_dir():
            raise UserError(f"{options.base} of {clone} has no {PACKAGE}/: not livekit/agents")
        series, patches = choose_series(checkouts[0], options.base, options.patches)
        header = re.search(r"^From: (.+@.+)$", patches[0].read_text("utf-8"), re.MULTILINE)
        who = identity(clone, options.author or (header[1] if header else ""))
        commit_series(checkouts[0], patches, options.author, **who)
        git(checkouts[1], "fetch", "--quiet", str(checkouts[0]), "HEAD")
        git(checkouts[1], "checkout", "--quiet", "FETCH_HEAD", "--", NEW_TESTS)
        print(
            f"{options.base} is {base[:12]}; {len(patches)} patches of series {series.name}",
            flush=True,
        )
        failed = run_gates(checkouts[0], checkouts[1], scratch)
        if failed:
            raise UserError(f"{', '.join(failed)} failed on {options.base}; the clone is as it was")
        refs = f"HEAD:refs/heads/{options.branch}"
        git(clone, "fetch", "--quiet", str(checkouts[0]), refs)
        options.body.parent.mkdir(parents=True, exist_ok=True)
        replace_file(options.body, description(patches, len(series.patches())))
        print(git(clone, "log", "--oneline", "--reverse", f"{base}..{options.branch}"))
    print(
        f"branch {options.branch} of {options.clone or 'the stand-in'}; description: {options.body}"
    )
    return 0


if __name__ == "__main__":
    run_main(main)
