"""Clones of livekit/agents: which commit is the base, whose the commits are, and committing.

Where there is no clone, a stand-in is made from the newest final release's sdist. It lacks
upstream's tests and settings, so it gets settings of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from procpool.base.errors import UserError
from procpool.catalog.fetch import fetch
from procpool.catalog.releases import newest_release
from procpool.upstream.gates import git
from procpool.upstream.requests import Request

# Where upstream's repository keeps the package, and where the stand-in does.
PACKAGE = "livekit-agents"

# "Name <address>"
AUTHOR = re.compile(r"([^<>\n]*[^<>\s]) <([^<>\s]+@[^<>\s]+)>")

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
    found = AUTHOR.fullmatch(given)
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
