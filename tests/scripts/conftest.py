"""Small made-up releases and series for the scripts' tests. Nothing here touches the network."""

import base64
import dataclasses
import hashlib
import io
import socket
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from fetch import file_sha256
from releases_table import Release, Series, load_series
from update_releases import render

POOL = "livekit/agents/pool.py"
POOL_TEXT = "".join(f"line {number}\n" for number in range(1, 31))
METADATA = b"Metadata-Version: 2.4\nName: livekit-agents\nVersion: 1.0.1\n\nVersion: 9\n"
PATCH = """\
From: Someone <someone@example.invalid>
Date: Mon, 1 Jun 2026 00:00:00 +0000
Subject: [PATCH] Change two lines

---
diff --git a/livekit/agents/pool.py b/livekit/agents/pool.py
--- a/livekit/agents/pool.py
+++ b/livekit/agents/pool.py
@@ -1,5 +1,5 @@
 line 1
-line 2
+line two
 line 3
 line 4
 line 5
@@ -20,5 +20,5 @@
 line 20
 line 21
-line 22
+line twenty-two
 line 23
 line 24
-- \n2.39.0
"""

PYPROJECT = b"""\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "livekit-agents"
dynamic = ["version"]

[tool.hatch.version]
path = "livekit/agents/version.py"

[tool.hatch.build.targets.wheel]
packages = ["livekit"]
"""


def write_table(patches: Path, wheel: Path, sdist: Path) -> None:
    """Write a table of two releases: that of `wheel` and `sdist`, and 1.0.2, which is nowhere."""
    known = Release(
        version="1.0.1",
        uploaded="2026-05-19T17:55:41Z",
        dependencies_as_of="2026-05-21T00:00:00Z",
        requires_python=">=3.10",
        wheel=wheel.name,
        wheel_sha256=file_sha256(wheel),
        sdist_sha256=file_sha256(sdist),
        pool_sha256="0" * 64,
        yanked=False,
        series="v1.0.0",
    )
    unknown = dataclasses.replace(known, version="1.0.2", wheel_sha256="2" * 64)
    (patches / "releases.toml").write_text(render([known, unknown]))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that a test would make in this process."""

    def refuse(*arguments: object) -> None:
        raise OSError("the tests use no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return the root of an unpacked release."""
    root = tmp_path / "tree"
    (root / POOL).parent.mkdir(parents=True)
    (root / POOL).write_text(POOL_TEXT)
    return root


@pytest.fixture
def make_series(tmp_path: Path) -> Callable[..., Series]:
    """Return a function that writes a series of the given patch texts."""

    def make(*texts: str, revision: str = "3") -> Series:
        folder = tmp_path / "patches" / "v1.0.0"
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"{number:04}-change.patch" for number in range(1, len(texts) + 1)]
        for name, text in zip(names, texts, strict=True):
            (folder / name).write_text(text)
        (folder / "series").write_text("# in order\n" + "".join(f"{name}\n" for name in names))
        (folder / "series.toml").write_text('first = "1.0.0"\nlast = "1.0.9"\nline = "1.0.0"\n')
        (folder / "revision").write_text(f"{revision}\n")
        return load_series(folder)

    return make


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Return a pristine wheel, compressed, with modes, order and time stamps worth keeping."""
    info = "livekit_agents-1.0.1.dist-info"
    members = {
        "livekit/agents/zebra.py": b"zebra\n",
        POOL: POOL_TEXT.encode(),
        "livekit/agents/tool.sh": b"#!/bin/sh\n",
        "livekit/agents/version.py": b'__version__ = "1.0.1"\n',
        f"{info}/METADATA": METADATA,
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = ""
    for name, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows += f"{name},sha256={digest},{len(data)}\n"
    members[f"{info}/RECORD"] = f"{rows}{info}/RECORD,,\n".encode()
    path = tmp_path / "livekit_agents-1.0.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            member = zipfile.ZipInfo(name, (2021, 3, 4, 5, 6, 8))
            member.external_attr = (0o100755 if name.endswith(".sh") else 0o100644) << 16
            archive.writestr(member, data, zipfile.ZIP_DEFLATED)
    return path


@pytest.fixture
def sdist(wheel: Path) -> Path:
    """Return the sdist of the same release as `wheel`, with the same files."""
    with zipfile.ZipFile(wheel) as archive:
        members = {i: archive.read(i) for i in archive.namelist() if ".dist-info/" not in i}
    members |= {"PKG-INFO": METADATA, "pyproject.toml": PYPROJECT}
    path = wheel.with_name("livekit_agents-1.0.1.tar.gz")
    with tarfile.open(path, "w:gz") as sources:
        for name, data in members.items():
            info = tarfile.TarInfo(f"livekit_agents-1.0.1/{name}")
            info.size = len(data)
            info.mode = 0o755 if name.endswith(".sh") else 0o644
            sources.addfile(info, io.BytesIO(data))
    return path
