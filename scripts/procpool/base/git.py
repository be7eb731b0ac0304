"""Run git without the user's settings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from procpool.base.errors import UserError, one_line


def run_git(
    repository: Path, *arguments: str, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run git in `repository`, feed it `stdin`, and return how it ended and what it printed.

    Raises `UserError` if there is no git.
    """
    try:
        return subprocess.run(
            ["git", "-c", "core.autocrlf=false", "-c", "core.quotePath=false", *arguments],
            cwd=repository,
            env=git_environment(repository) | environment,
            input=stdin.encode(),
            capture_output=True,
        )
    except FileNotFoundError:
        raise UserError("git is not installed or not on PATH: install git and try again") from None


def git(repository: Path, *arguments: str, stdin: str = "", **environment: str) -> str:
    """Run git as `run_git` does, and return what it printed, to the letter.

    Raises `UserError` with git's reason, also when there is no git.
    """
    result = run_git(repository, *arguments, stdin=stdin, **environment)
    if result.returncode != 0:
        reason = one_line((result.stderr or result.stdout).decode("utf-8", "replace"))
        raise UserError(f"git {arguments[0]} failed in {repository}: {reason[:400]}")
    return result.stdout.decode("utf-8", "surrogateescape")


def git_environment(tree: Path) -> dict[str, str]:
    """Return an environment in which git sees neither the user's settings nor a repository around
    `tree`.

    Inside a work tree `git apply` silently skips paths that the repository does not hold, so a
    tree that lies in someone's checkout would come out unpatched, with exit code 0.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return environment | {
        "GIT_CEILING_DIRECTORIES": str(tree.parent),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "LC_ALL": "C",
    }
