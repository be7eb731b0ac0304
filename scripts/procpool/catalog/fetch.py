"""Fetch a pristine release into the shared download cache and verify its sha256.

pip does the talking, so the user's own index, proxy and certificate settings hold. A file that is
in the cache is verified again and not fetched again. The cache is `$LIVEKIT_PROCPOOL_CACHE`, else
`$XDG_CACHE_HOME/livekit-procpool`, else `~/.cache/livekit-procpool`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from packaging.utils import parse_wheel_filename
from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.base.files import file_sha256
from procpool.catalog.releases import PROJECT, Release, get_release

Kind = Literal["wheel", "sdist"]

# pip waits between its retries; five of them, its default, keep an offline user waiting for a
# minute.
_RETRIES = "2"


def cache_dir() -> Path:
    """Return the shared download cache's directory, which may not exist yet."""
    if own := os.environ.get("LIVEKIT_PROCPOOL_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "livekit-procpool"


def verify(path: Path, expected: str) -> None:
    """Raise `UserError` unless the sha256 of `path` is `expected`."""
    if (actual := file_sha256(path)) != expected:
        raise UserError(
            f"sha256 mismatch: {path} has {actual}, releases.toml says {expected};"
            " delete the file and try again, and don't install it"
        )


def _platform_options(wheel: str) -> list[str]:
    """Return the options with which pip takes a wheel of this file name on any platform."""
    tags = sorted(parse_wheel_filename(wheel)[3], key=str)
    python, abi = tags[0].interpreter, tags[0].abi
    options = [f"--implementation={python[:2]}", f"--python-version={python[2:]}", f"--abi={abi}"]
    return options + [f"--platform={tag.platform}" for tag in tags]


def _download(release: Release, kind: Kind, expected: str, target: Path) -> Path:
    """Have pip download one file into the empty directory `target`.

    Raise `UserError` if it cannot.
    """
    requirements = target.parent / "requirements.txt"
    requirements.write_text(f"{PROJECT}=={release.version} --hash=sha256:{expected}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--ignore-requires-python", "--disable-pip-version-check", "--retries", _RETRIES]
    command += ["--only-binary" if kind == "wheel" else "--no-binary", PROJECT]
    command += _platform_options(release.wheel) if kind == "wheel" else []
    # pip has an sdist's metadata made: by the backend that is pinned here, not by one it installs.
    command += ["--no-build-isolation", "--dest", str(target), "--requirement", str(requirements)]
    result = subprocess.run(command, capture_output=True, text=True)
    files = list(target.iterdir()) if target.is_dir() else []
    if result.returncode == 0 and len(files) == 1:
        return files[0]
    name = f"the {kind} of {PROJECT} {release.version}"
    if "DO NOT MATCH THE HASHES" in result.stderr:
        raise UserError(
            f"sha256 mismatch: the index's file is not {name} that releases.toml pins ({expected})"
        )
    if "No module named pip" in result.stderr:
        raise UserError("pip is not installed for this Python: run the scripts through nox")
    lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR:")]
    reason = (
        lines[-1].removeprefix("ERROR:").strip()
        if lines
        else f"pip exited with {result.returncode}"
    )
    raise UserError(
        f"could not download {name}: check the network, proxy and index settings ({reason})"
    )


def fetch(release: Release, kind: Kind = "wheel", cache: Path | None = None) -> Path:
    """Return the path of a verified pristine file of `release`, from the cache or the index.

    Two processes may fetch the same file at once: each moves a complete, verified file into place.
    Raises `UserError` on a hash mismatch or when the index cannot be reached.
    """
    expected = release.wheel_sha256 if kind == "wheel" else release.sdist_sha256
    if not expected:
        raise UserError(f"{PROJECT} {release.version} has no {kind}")
    sdist = f"{PROJECT.replace('-', '_')}-{release.version}.tar.gz"
    name = release.wheel if kind == "wheel" else sdist
    cache = cache_dir() if cache is None else cache
    path = cache / expected / name
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as scratch:
            target = Path(scratch, "files")
            target.mkdir()
            fetched = _download(release, kind, expected, target)
            verify(fetched, expected)
            path.parent.mkdir(exist_ok=True)
            os.replace(fetched, path)
    verify(path, expected)
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch one release and print the path of the verified file."""
    parser = step_parser(__doc__)
    parser.add_argument("version", help="a supported release, such as 1.5.11")
    parser.add_argument(
        "--kind", choices=("wheel", "sdist"), default="wheel", help="default: %(default)s"
    )
    options = parser.parse_args(argv)
    release, _ = get_release(options.version, options.patches)
    print(fetch(release, options.kind))
    return 0
