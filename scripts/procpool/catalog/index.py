"""What the package index lists of livekit-agents.

The index is the one that `pip download` takes: `PIP_INDEX_URL`, then `pip.conf`. If pip is told of
none, it is uv's `UV_DEFAULT_INDEX` or `UV_INDEX_URL`, else the public one. Proxies, certificates
and netrc are taken from the environment.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Collection, Iterable, Set

import requests
from packaging.tags import Tag, sys_tags
from packaging.utils import parse_wheel_filename
from packaging.version import InvalidVersion, Version
from procpool.base.errors import UserError
from procpool.catalog.releases import Release
from pypi_simple import PYPI_SIMPLE_ENDPOINT, DistributionPackage, PyPISimple

FIRST = Version("1.0.0")  # the first release that the project looks at

# Some dependencies reach the index minutes or hours after the release itself: resolve as of the
# end of the day after the release's own day.
_DAYS_AFTER_UPLOAD = 2


# Those that name an index, first the one that counts: as pip reads its own, a command's section
# before [global]; pip's `download` is what fetches.
_PIP_SETTINGS = ("download.index-url", "global.index-url", "install.index-url")
_UV_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")


def index_url() -> str:
    """Return the simple-API URL of the user's package index.

    It may hold credentials, so don't print it.
    """
    if url := os.environ.get("PIP_INDEX_URL"):
        return url
    for setting in _PIP_SETTINGS:  # `pip config get` looks at files only
        found = subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", setting], capture_output=True, text=True
        )
        if found.returncode == 0 and found.stdout.strip():
            return found.stdout.strip()
    urls = (os.environ.get(name) for name in _UV_VARIABLES)
    return next((url for url in urls if url), PYPI_SIMPLE_ENDPOINT)


def read_index(project: str, url: str) -> list[DistributionPackage]:
    """Return what the index at `url` lists for `project`.

    Raise `UserError` if it cannot be reached.
    """
    try:
        with PyPISimple(endpoint=url) as client:
            return client.get_project_page(project).packages
    except (requests.RequestException, ValueError) as error:
        kind = type(error).__name__  # its text may quote the URL, credentials included
        raise UserError(
            f"the package index gave no list of {project} releases ({kind}): check the network,"
            " proxy and index settings"
        ) from None


def pick_wheel(
    files: Iterable[DistributionPackage], pinned: Collection[str], tags: Set[Tag]
) -> DistributionPackage | None:
    """Return the wheel of a release that counts, if there is one among its files.

    It is the one whose name is among the `pinned`, or else the first that fits one of the `tags`.
    """
    wheels = [file for file in files if file.package_type == "wheel"]
    by_name = (wheel for wheel in wheels if wheel.filename in pinned)
    fitting = (wheel for wheel in wheels if tags & parse_wheel_filename(wheel.filename)[3])
    return next(by_name, None) or next(fitting, None)


def to_release(
    version: Version, wheel: DistributionPackage, sdist: DistributionPackage | None
) -> Release:
    """Return the release of these files, with no series and no pool's sha256 yet.

    Raises `UserError` if the index tells too little of them.
    """
    files = [wheel] if sdist is None else [wheel, sdist]
    digests = [file.digests.get("sha256") or "" for file in files]
    if wheel.upload_time is None or not all(digests):
        raise UserError(
            f"the index gives no upload time or sha256 for {version}: use an index that serves"
            " the JSON simple API with upload times"
        )
    uploaded = wheel.upload_time.astimezone(datetime.UTC)
    as_of = uploaded.date() + datetime.timedelta(days=_DAYS_AFTER_UPLOAD)
    return Release(
        version=str(version),
        uploaded=f"{uploaded:%Y-%m-%dT%H:%M:%SZ}",
        dependencies_as_of=f"{as_of}T00:00:00Z",
        requires_python=wheel.requires_python or "",
        wheel=wheel.filename,
        wheel_sha256=digests[0],
        sdist_sha256="" if sdist is None else digests[1],
        pool_sha256="",
        yanked=bool(wheel.is_yanked),
        series="",
    )


def releases_on_index(
    packages: Iterable[DistributionPackage], pinned: Collection[str] = ()
) -> list[Release]:
    """Return the releases from 1.0.0 on, oldest first, with no series and no pool's sha256 yet.

    A final release needs a wheel for any platform and an sdist. Of a pre-release, the wheel whose
    file name is among the `pinned` counts, or else the one for this platform; pre-releases without
    one are left out. Raises `UserError` for missing metadata.
    """
    files: dict[Version, list[DistributionPackage]] = {}
    for package in packages:
        try:
            version = Version(package.version or "")
        except InvalidVersion:
            continue
        if version >= FIRST and not version.is_devrelease:
            files.setdefault(version, []).append(package)
    tags = set(sys_tags())
    releases = []
    for version, found in sorted(files.items()):
        wheel = pick_wheel(found, pinned, tags)
        sdist = next((file for file in found if file.package_type == "sdist"), None)
        if wheel is not None and (sdist is not None or version.is_prerelease):
            releases.append(to_release(version, wheel, sdist))
        elif not version.is_prerelease:
            raise UserError(f"the index does not list both a wheel and an sdist of {version}")
    return releases
