"""What the package index lists of livekit-agents.

The index is the one in pip's settings (`PIP_INDEX_URL`, `pip.conf`), then `UV_DEFAULT_INDEX`,
otherwise the public one; proxies, certificates and netrc are taken from the environment. Run alone,
this module prints the releases on the index, oldest first.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
from collections.abc import Collection, Iterable

import packaging.tags
import requests
from errors import UserError, run_main
from packaging.utils import parse_wheel_filename
from packaging.version import InvalidVersion, Version
from pypi_simple import PYPI_SIMPLE_ENDPOINT, DistributionPackage, PyPISimple
from releases_table import PROJECT, Release

FIRST = Version("1.0.0")  # the first release that the project looks at

# Some dependencies reach the index minutes or hours after the release itself: resolve as of the
# end of the day after the release's own day.
_DAYS_AFTER_UPLOAD = 2


def index_url() -> str:
    """Return the simple-API URL of the user's package index.

    It may hold credentials, so don't print it.
    """
    for setting in ("global.index-url", "install.index-url", "download.index-url"):
        found = subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", setting], capture_output=True, text=True
        )
        if found.returncode == 0 and found.stdout.strip():
            return found.stdout.strip()
    environ = os.environ
    return environ.get("PIP_INDEX_URL") or environ.get("UV_DEFAULT_INDEX") or PYPI_SIMPLE_ENDPOINT


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
    tags = set(packaging.tags.sys_tags())
    releases = []
    for version, found in sorted(files.items()):
        wheels = [
            package
            for package in found
            if package.package_type == "wheel"
            and (
                package.filename in pinned
                or "py3-none-any" in package.filename
                or tags & parse_wheel_filename(package.filename)[3]
            )
        ]
        sdists = [package for package in found if package.package_type == "sdist"]
        if version.is_prerelease and not wheels:
            continue
        if not wheels or not (sdists or version.is_prerelease):
            raise UserError(f"the index does not list both a wheel and an sdist of {version}")
        wheel = next((package for package in wheels if package.filename in pinned), wheels[0])
        digests = [package.digests.get("sha256") for package in [wheel, *sdists[:1]]]
        if wheel.upload_time is None or not all(digests):
            raise UserError(
                f"the index gives no upload time or sha256 for {version}: use an index that serves"
                " the JSON simple API with upload times"
            )
        uploaded = wheel.upload_time.astimezone(datetime.UTC)
        as_of = uploaded.date() + datetime.timedelta(days=_DAYS_AFTER_UPLOAD)
        releases.append(
            Release(
                version=str(version),
                uploaded=f"{uploaded:%Y-%m-%dT%H:%M:%SZ}",
                dependencies_as_of=f"{as_of}T00:00:00Z",
                requires_python=wheel.requires_python or "",
                wheel=wheel.filename,
                wheel_sha256=digests[0] or "",
                sdist_sha256=(digests[1] or "") if sdists else "",
                pool_sha256="",
                yanked=bool(wheel.is_yanked),
                series="",
            )
        )
    return releases


def main() -> int:
    """Print every release on the index, oldest first, with its upload time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.parse_args()
    for release in releases_on_index(read_index(PROJECT, index_url())):
        print(f"{release.version:8} {release.uploaded}{'  yanked' if release.yanked else ''}")
    return 0


if __name__ == "__main__":
    run_main(main)
