"""Fetch a pristine release into the shared download cache and verify its sha256.

pip does the talking, so the user's own index, proxy and certificate settings hold. A file that is
in the cache is verified again and not fetched again. The cache is `$LIVEKIT_PROCPOOL_CACHE`, else
`$XDG_CACHE_HOME/livekit-procpool`, else `~/.cache/livekit-procpool`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from packaging.utils import parse_wheel_filename
from procpool.base.command import step_parser
from procpool.base.errors import UserError, os_problem, os_problem_in, writing
from procpool.base.files import file_sha256
from procpool.base.scratch import scratch_folder
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
    raise UserError(_why_not(result.stderr, result.returncode, name, expected, target))


# Bytes that a download needs: the largest file is 10 MB, and pip keeps it twice.
_ROOM = 32 * 2**20

_PROXIES = ("PIP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
# What pip says on stderr, and what that means and asks for; the first that is found counts.
_CAUSES = (
    (
        r"ProxyError|([Cc]annot|[Uu]nable to) connect to proxy|[Pp]roxy|Tunnel connection failed",
        "the proxy does not let it through: check HTTPS_PROXY, PIP_PROXY and pip.conf",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError|CA certificate bundle",
        "the index's certificate is not trusted: set PIP_CERT to your own certificates",
    ),
    (
        r"\b(401|403|407)\b.*(Client Error|Error:|Unauthorized|Forbidden)|error code (401|403|407)",
        "the index refuses it: check the credentials in the index settings",
    ),
    (
        r"Temporary failure in name resolution|Name or service not known|NameResolutionError"
        r"|nodename nor servname|getaddrinfo failed",
        "the index's name is not known here: check the network, proxy and index settings",
    ),
    (
        r"NewConnectionError|ConnectionError|Connection refused|ConnectTimeout|ReadTimeout"
        r"|timed out|[Nn]etwork is unreachable|Connection reset|Connection aborted|MaxRetryError"
        r"|No route to",
        "the index does not answer: check the network, proxy and index settings",
    ),
    (
        r"\(from versions: none\)",
        "the index did not list a single file: check the network, proxy and index settings",
    ),
    (
        r"[Nn]o matching distribution|could not find a version",
        "the index does not have it: check the index settings; a mirror may lack it",
    ),
)


def _why_not(stderr: str, code: int, name: str, expected: str, target: Path) -> str:
    """Return the line that says why pip could not download a file, and what to do."""
    if "DO NOT MATCH THE HASHES" in stderr:
        return (
            f"sha256 mismatch: the index's file is not {name} that releases.toml pins ({expected})"
        )
    if "No module named pip" in stderr:
        return "pip is not installed for this Python: run the scripts through nox"
    # pip takes a disk that fills up while it downloads for a fault of the network
    places = {"LIVEKIT_PROCPOOL_CACHE": target.parent.parent, "TMPDIR": Path(tempfile.gettempdir())}
    for variable, folder in places.items():
        if shutil.disk_usage(folder).free < _ROOM:
            problem = os_problem(errno.ENOSPC, str(folder))
            return f"could not download {name}: {problem}; {variable} chooses another folder"
    if problem_there := os_problem_in(stderr, "pip's cache or another folder of its own"):
        return f"could not download {name}: {problem_there}; PIP_CACHE_DIR chooses another folder"
    for pattern, meaning in _CAUSES:
        if re.search(pattern, stderr):
            proxies = [n for n in _PROXIES if os.environ.get(n)]
            through = f" (through the proxy of {proxies[0]})" if proxies else ""
            return f"could not download {name}: {meaning}{through}"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    said = [*lines, *errors][-1:] or ["nothing"]
    return f"could not download {name}: pip exited with {code} and said: {said[0][:200]}"


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
        with contextlib.ExitStack() as stack:
            with writing(cache, "LIVEKIT_PROCPOOL_CACHE"):
                cache.mkdir(parents=True, exist_ok=True)
                scratch = stack.enter_context(scratch_folder(cache, "fetch-"))
                target = scratch / "files"
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
