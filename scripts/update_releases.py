"""Write `patches/releases.toml` from the metadata of the package index.

Takes every final release between `first` and `last` of each `patches/*/series.toml`. The index is
the one in pip's settings (`PIP_INDEX_URL`, `pip.conf`), then `UV_DEFAULT_INDEX`, otherwise the
public one; proxies, certificates and netrc are taken from the environment.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import requests
import tomlkit
from errors import UserError, run_main
from packaging.version import InvalidVersion, Version
from pypi_simple import PYPI_SIMPLE_ENDPOINT, DistributionPackage, PyPISimple
from releases_table import PATCHES, PROJECT, Release, Series, load_series

_HEADER = """\
Every pinned release. Written by scripts/update_releases.py from the index's metadata, never by
hand; run `nox -s releases` to write it anew. `uploaded` is the upload time of the wheel, in UTC."""


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


def select(packages: Iterable[DistributionPackage], series: Iterable[Series]) -> list[Release]:
    """Return the final releases that a series fits, oldest first.

    Raise `UserError` for missing metadata.
    """
    lines = list(series)
    files: dict[Version, dict[str, DistributionPackage]] = {}
    for package in packages:
        try:
            version = Version(package.version or "")
        except InvalidVersion:
            continue
        if version.is_prerelease or package.package_type not in ("wheel", "sdist"):
            continue
        files.setdefault(version, {})[package.package_type] = package
    releases = []
    for version, found in sorted(files.items()):
        names = [s.name for s in lines if Version(s.first) <= version <= Version(s.last)]
        if not names:
            continue
        if len(names) > 1:
            raise UserError(f"{version} is claimed by more than one series: {', '.join(names)}")
        if found.keys() != {"wheel", "sdist"}:
            raise UserError(f"the index does not list both a wheel and an sdist of {version}")
        wheel, sdist = found["wheel"], found["sdist"]
        hashes = [package.digests.get("sha256") for package in (wheel, sdist)]
        if wheel.upload_time is None or not hashes[0] or not hashes[1]:
            raise UserError(
                f"the index gives no upload time or sha256 for {version}: use an index that serves"
                " the JSON simple API with upload times"
            )
        releases.append(
            Release(
                version=str(version),
                uploaded=wheel.upload_time.isoformat(timespec="seconds").replace("+00:00", "Z"),
                requires_python=wheel.requires_python or "",
                wheel_sha256=hashes[0],
                sdist_sha256=hashes[1],
                yanked=bool(wheel.is_yanked),
                series=names[0],
            )
        )
    if not releases:
        raise UserError("the index lists no release that a series fits")
    return releases


def render(releases: Iterable[Release]) -> str:
    """Return the text of `releases.toml` for these releases."""
    document = tomlkit.document()
    for line in _HEADER.splitlines():
        document.add(tomlkit.comment(line))
    tables = tomlkit.aot()
    for release in releases:
        table = tomlkit.table()
        for name in Release.__dataclass_fields__:
            table.add(name, getattr(release, name))
        tables.append(table)
    document.add("releases", tables)
    return tomlkit.dumps(document)


def main() -> int:
    """Write the table; it is replaced as a whole, or left alone when anything fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--patches", type=Path, default=PATCHES, help="folder that holds the series"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the table would change"
    )
    options = parser.parse_args()
    series = [load_series(path.parent) for path in sorted(options.patches.glob("*/series.toml"))]
    releases = select(read_index(PROJECT, index_url()), series)
    text = render(releases)
    table: Path = options.patches / "releases.toml"
    if table.is_file() and table.read_text("utf-8") == text:
        print(f"{table.name}: {len(releases)} releases, unchanged")
        return 0
    if options.check:
        raise UserError(f"{table.name} differs from the index: run 'nox -s releases'")
    with tempfile.TemporaryDirectory(dir=options.patches) as scratch:
        fresh = Path(scratch, table.name)
        fresh.write_text(text, "utf-8")
        os.replace(fresh, table)
    print(f"{table.name}: {len(releases)} releases written")
    return 0


if __name__ == "__main__":
    run_main(main)
