"""What the package index lists, and where it is."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from procpool.base.errors import UserError
from procpool.catalog.index import index_url, read_index, releases_on_index
from pypi_simple import PYPI_SIMPLE_ENDPOINT
from samples import package

PIP_CONF = """
[install]
index-url = https://install.invalid/simple
[global]
index-url = https://global.invalid/simple
"""
DOWNLOAD = "[download]\nindex-url = https://download.invalid/simple\n"


@pytest.mark.parametrize(
    ("conf", "environ", "host"),
    [
        (PIP_CONF + DOWNLOAD, {"PIP_INDEX_URL": "https://pip.invalid/simple"}, "pip.invalid"),
        (PIP_CONF + DOWNLOAD, {"PIP_INDEX_URL": ""}, "download.invalid"),
        (PIP_CONF, {"UV_DEFAULT_INDEX": "https://uv.invalid/simple"}, "global.invalid"),
        (
            "",
            {"UV_DEFAULT_INDEX": "https://uv.invalid/", "UV_INDEX_URL": "http://u/"},
            "uv.invalid",
        ),
        ("", {"UV_DEFAULT_INDEX": "", "UV_INDEX_URL": "https://old.invalid/"}, "old.invalid"),
        ("", {}, urlsplit(PYPI_SIMPLE_ENDPOINT).hostname),
    ],
)
def test_the_index_is_the_one_that_pip_takes(
    conf: str, environ: dict[str, str], host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    # /dev/null is what keeps pip from the machine's own settings
    (tmp_path / "pip.conf").write_text(conf)
    file = str(tmp_path / "pip.conf") if conf else os.devnull
    monkeypatch.setenv("PIP_CONFIG_FILE", file)
    assert urlsplit(index_url()).hostname == host


def test_an_index_that_is_not_there_is_not_named() -> None:
    with pytest.raises(UserError, match="no list of x releases") as raised:
        read_index("x", "http://me:secret@127.0.0.1:9/simple")
    assert "secret" not in str(raised.value)


def test_index_needs_hashes_and_upload_times() -> None:
    with pytest.raises(UserError, match="no upload time or sha256"):
        releases_on_index([package("1.0.2", "wheel", upload_time=None), package("1.0.2", "sdist")])
    with pytest.raises(UserError, match="both a wheel and an sdist"):
        releases_on_index([package("1.0.2", "wheel")])


def test_a_preview_needs_a_wheel_for_this_platform_only() -> None:
    assert releases_on_index([package("1.1.0b1", "wheel", tag="-cp39-cp39-elsewhere.whl")]) == []
    [found] = releases_on_index([package("1.1.0b1", "wheel")])
    assert found.preview and found.sdist_sha256 == ""


def test_the_pinned_wheel_of_a_preview_counts_on_every_platform() -> None:
    elsewhere = package("1.1.0b1", "wheel", tag="-cp39-cp39-elsewhere.whl")
    packages = [package("1.1.0b1", "wheel"), elsewhere]
    [found] = releases_on_index(packages, pinned=[elsewhere.filename])
    assert found.wheel == elsewhere.filename
    [found] = releases_on_index(packages)
    assert found.wheel != elsewhere.filename


def test_dependencies_as_of_the_day_after() -> None:
    [found] = releases_on_index([package("1.0.2", "wheel"), package("1.0.2", "sdist")])
    assert found.dependencies_as_of == "2026-05-21T00:00:00Z"


def test_no_test_takes_back_the_guard_against_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with socket.socket() as client, pytest.raises(OSError, match="the tests use no network"):
        client.connect(("127.0.0.1", 9))
