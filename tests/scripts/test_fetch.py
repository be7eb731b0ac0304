"""Fetching: only the pinned file, and once."""

import dataclasses
import os
from pathlib import Path

import pytest
from procpool.base.errors import UserError
from procpool.base.files import file_sha256
from procpool.catalog import fetch as fetch_module
from procpool.catalog.fetch import cache_dir, fetch
from samples import release


@pytest.fixture
def local_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pip find the wheels in `tmp_path`, and no others."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


@pytest.mark.usefixtures("local_pip")
def test_fetch_takes_only_the_pinned_file(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(UserError, match="sha256 mismatch"):
        fetch(release(), cache=cache)
    assert list(cache.iterdir()) == []
    good = release(digest=file_sha256(wheel))
    path = fetch(good, cache=cache)
    assert path.read_bytes() == wheel.read_bytes()

    def fail(*arguments: object) -> Path:
        raise AssertionError("a second run fetches nothing")

    monkeypatch.setattr(fetch_module, "_download", fail)
    assert fetch(good, cache=cache) == path
    path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="sha256 mismatch"):
        fetch(good, cache=cache)


@pytest.mark.usefixtures("local_pip")
def test_fetch_takes_a_wheel_for_another_platform(wheel: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "livekit_agents-1.0.1-cp310-abi3-win_arm64.whl"
    wheel.rename(elsewhere)
    pinned = release(digest=file_sha256(elsewhere))
    pinned = dataclasses.replace(pinned, wheel=elsewhere.name, sdist_sha256="")
    assert fetch(pinned, cache=tmp_path / "cache").name == elsewhere.name
    with pytest.raises(UserError, match=r"1\.0\.1 has no sdist"):
        fetch(pinned, "sdist", tmp_path / "cache")


def test_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LIVEKIT_PROCPOOL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "livekit-procpool"
    monkeypatch.setenv("LIVEKIT_PROCPOOL_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("ProxyError('Unable to connect to proxy')", "the proxy does not let it through"),
        ("SSLError(SSLCertVerificationError(1, 'x'))", "certificate is not trusted: set PIP_CERT"),
        ("ERROR: HTTP error 403 Client Error: Forbidden", "the index refuses it"),
        ("NameResolutionError('no')", "the index's name is not known here"),
        ("NewConnectionError('[Errno 111] Connection refused')", "the index does not answer"),
        ("ReadTimeoutError: Read timed out.", "the index does not answer"),
        ("ERROR: no version (from versions: none)", "did not list a single file"),
        ("ERROR: No matching distribution found for x", "the index does not have it"),
        ("OSError: [Errno 13] Permission denied: '/x'", "Permission denied: choose a folder"),
        ("Traceback\nValueError: odd\n", "pip exited with 2 and said: ValueError: odd"),
        ("", "pip exited with 2 and said: nothing"),
        ("No module named pip", "run the scripts through nox"),
    ],
)
def test_why_pip_could_not_download(
    said: str, meaning: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in fetch_module._PROXIES:
        monkeypatch.delenv(name, raising=False)
    target = tmp_path / "scratch" / "files"
    line = fetch_module._why_not(said, 2, "the wheel", "0" * 64, target)
    assert meaning in line and "\n" not in line and "(through" not in line


def test_a_proxy_and_a_full_disk_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "scratch" / "files"
    monkeypatch.setenv("PIP_PROXY", "http://me:secret@proxy.invalid")
    line = fetch_module._why_not("Connection refused", 1, "the wheel", "0", target)
    assert line.endswith("(through the proxy of PIP_PROXY)") and "secret" not in line
    monkeypatch.setattr(fetch_module, "_ROOM", 2**60)
    line = fetch_module._why_not("Connection refused", 1, "the wheel", "0", target)
    assert f"{tmp_path}: No space left on device: free some space" in line
    assert line.endswith("LIVEKIT_PROCPOOL_CACHE chooses another folder")
