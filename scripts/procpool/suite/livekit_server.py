"""Find a real livekit-server, or build one into the cache with Go."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock
from procpool.base.errors import UserError, one_line
from procpool.catalog.fetch import cache_dir

# Later versions replace a module, which `go install` refuses.
VERSION = "v1.13.5"
PACKAGE = f"github.com/livekit/livekit-server/cmd/server@{VERSION}"

# Seconds for a build, with its downloads.
_BUILD = 1800.0


def find_server(cache: Path | None = None) -> tuple[Path, str]:
    """Return the path of a livekit-server, and where it comes from.

    It is the one on PATH, else the one in the cache, which Go builds once. Raises `UserError`,
    which says how to get one.
    """
    if found := shutil.which("livekit-server"):
        return Path(found), "livekit-server on PATH"
    binary = (cache or cache_dir()) / f"livekit-server-{VERSION}"
    where = f"livekit-server {VERSION}, built from its source"
    if binary.is_file():
        return binary, where
    go = shutil.which("go")
    if go is None:
        raise UserError(
            "there is no livekit-server: put one on PATH, or install Go, with which this builds one"
        )
    binary.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{binary}.lock"):  # two sessions need it once
        if not binary.is_file():
            print(f"building livekit-server {VERSION}: a few minutes, once", file=sys.stderr)
            _build(go, binary)
    return binary, where


def _build(go: str, binary: Path) -> None:
    """Build the server and put it at `binary`, whole or not at all. Raises `UserError`."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=binary.parent)))
        environment = os.environ | {"GOBIN": str(folder), "GOFLAGS": "-trimpath"}
        try:
            result = subprocess.run(
                [go, "install", PACKAGE],
                env=environment,
                capture_output=True,
                text=True,
                timeout=_BUILD,
            )
        except subprocess.TimeoutExpired:
            raise UserError(
                f"`go install {PACKAGE}` took more than {_BUILD:g} s: run this again, "
                "or put a livekit-server on PATH"
            ) from None
        if result.returncode != 0:
            raise UserError(
                f"`go install {PACKAGE}` failed: {one_line(result.stderr)[-300:]}; "
                "or put a livekit-server on PATH"
            )
        [built] = folder.iterdir()
        built.replace(binary)
