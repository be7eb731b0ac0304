"""Made-up rows of the release table, and files that a package index lists."""

from datetime import UTC, datetime

from procpool.catalog.releases import Release
from pypi_simple import DistributionPackage


def release(version: str = "1.0.1", digest: str = "0" * 64) -> Release:
    return Release(
        version=version,
        uploaded="2026-05-19T17:55:41Z",
        dependencies_as_of="2026-05-21T00:00:00Z",
        requires_python=">=3.10,<3.15",
        wheel=f"livekit_agents-{version}-py3-none-any.whl",
        wheel_sha256=digest,
        sdist_sha256=digest,
        pool_sha256="0" * 64,
        yanked=False,
        series="v1.0.0",
    )


def package(
    version: str, kind: str, tag: str = "-py3-none-any.whl", **changes: object
) -> DistributionPackage:
    values: dict[str, object] = {
        "filename": f"livekit_agents-{version}" + (".tar.gz" if kind == "sdist" else tag),
        "url": "",
        "project": "livekit-agents",
        "version": version,
        "package_type": kind,
        "digests": {"sha256": "ab" * 32},
        "requires_python": ">=3.10",
        "has_sig": None,
        "is_yanked": False,
        "upload_time": datetime(2026, 5, 19, 1, 2, 3, tzinfo=UTC),
    }
    return DistributionPackage(**values | changes)  # type: ignore[arg-type]
