"""Run git without the user's settings."""

from __future__ import annotations

import subprocess
from pathlib import Path

from apply_series import git_environment
from errors import UserError, one_line


def git(repository: Path, *arguments: str, stdin: str = "", **environment: str) -> str:
    """Run git in `repository`, feed it `stdin`, and return what it printed, to the letter.

    Raises `UserError` with git's reason, also when there is no git.
    """
    try:
        result = subprocess.run(
            ["git", "-c", "core.autocrlf=false", "-c", "core.quotePath=false", *arguments],
            cwd=repository,
            env=git_environment(repository) | environment,
            input=stdin.encode(),
            capture_output=True,
        )
    except FileNotFoundError:
        raise UserError("git is not installed or not on PATH: install git and try again") from None
    if result.returncode != 0:
        reason = one_line((result.stderr or result.stdout).decode("utf-8", "replace"))
        raise UserError(f"git {arguments[0]} failed in {repository}: {reason[:400]}")
    return result.stdout.decode("utf-8", "surrogateescape")
