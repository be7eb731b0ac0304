"""Small made-up releases and series for the scripts' tests. Nothing here touches the network."""

import base64
import dataclasses
import hashlib
import io
import socket
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from procpool.base.files import file_sha256
from procpool.catalog.releases import Release
from procpool.catalog.series import Series, load_series
from procpool.editing.refresh import fitting_texts
from procpool.editing.texts import layout
from procpool.patching.patch import Header
from procpool.patching.steps import Files, Step
from procpool.upkeep.update_releases import render as render_table
from procpool.wheels.build import build_wheel

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
    (patches / "releases.toml").write_text(render_table([known, unknown]))


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Refuse every connection that a test would make in this process.

    A test that takes its own changes back with `monkeypatch.undo()` does not take back this one.
    """

    def refuse(*arguments: object) -> None:
        raise OSError("the tests use no network")

    with pytest.MonkeyPatch.context() as guard:
        guard.setattr(socket.socket, "connect", refuse)
        guard.delenv("SOURCE_DATE_EPOCH", raising=False)
        yield


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return the root of an unpacked release."""
    root = tmp_path / "tree"
    (root / POOL).parent.mkdir(parents=True)
    (root / POOL).write_text(POOL_TEXT)
    return root


def write_revisions(patches: Path, numbers: dict[str, int]) -> None:
    """Record that many revisions of each series, whose code is nobody's."""
    rows = (f'"{name}" = {[f"{n:064}" for n in range(n)]}\n' for name, n in numbers.items())
    (patches / "revisions.toml").write_text("[series]\n" + "".join(rows))


@pytest.fixture
def make_series(tmp_path: Path) -> Callable[..., Series]:
    """Return a function that writes a series of the given patch texts."""

    def make(*texts: str, revision: int = 3) -> Series:
        patches = tmp_path / "patches"
        names = [f"change-{number}/v1.0.0.patch" for number in range(1, len(texts) + 1)]
        for name, text in zip(names, texts, strict=True):
            (patches / name).parent.mkdir(parents=True, exist_ok=True)
            (patches / name).write_text(text)
        (patches / "v1.0.0").mkdir(parents=True, exist_ok=True)
        listing = "# in order\n" + "".join(f"{name}\n" for name in names)
        (patches / "v1.0.0" / "series").write_text(listing)
        write_revisions(patches, {"v1.0.0": revision})
        (patches / "lines.toml").write_text('[[lines]]\nfirst = "1.0.0"\nlacks = "all"\n')
        return load_series("v1.0.0", patches)

    return make


def write_wheel(folder: Path, version: str, members: dict[str, bytes]) -> Path:
    """Write a wheel of these files, compressed, with modes, order and time stamps worth keeping.

    version.py, METADATA, WHEEL and RECORD are added.
    """
    info = f"livekit_agents-{version}.dist-info"
    members = members | {
        "livekit/agents/version.py": f'__version__ = "{version}"\n'.encode(),
        f"{info}/METADATA": METADATA.replace(b"1.0.1", version.encode()),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = ""
    for name, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows += f"{name},sha256={digest},{len(data)}\n"
    members[f"{info}/RECORD"] = f"{rows}{info}/RECORD,,\n".encode()
    path = folder / f"livekit_agents-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            member = zipfile.ZipInfo(name, (2021, 3, 4, 5, 6, 8))
            member.external_attr = (0o100755 if name.endswith(".sh") else 0o100644) << 16
            archive.writestr(member, data, zipfile.ZIP_DEFLATED)
    return path


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Return a pristine wheel."""
    members = {
        "livekit/agents/zebra.py": b"zebra\n",
        POOL: POOL_TEXT.encode(),
        "livekit/agents/tool.sh": b"#!/bin/sh\n",
    }
    return write_wheel(tmp_path, "1.0.1", members)


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


# The releases of `lines`: what differs between their pools, the series, and the lines of the pool
# that its patches replace, by name.
LINES = {
    "1.0.0": ("line 30", "v1.0.0", {"oldest-only": 25, "first": 5, "second": 15}),
    "1.0.1": ("line 0\nline 1", "v1.0.0", {"oldest-only": 25, "first": 5, "second": 15}),
    "2.0.0": ("line 20", "v2.0.0", {"first": 5, "second": 15}),
}
BODY = "Why.\n\nBug: https://example.invalid/1\nForwarded: no\nLast-Update: 2026-06-01"


def pool(version: str) -> str:
    """Return the pool of a release of `lines`, which is another in each."""
    differs, _, _ = LINES[version]
    return POOL_TEXT.replace(f"{differs.splitlines()[-1]}\n", f"{differs} of {version}\n", 1)


def steps(version: str, replaced: dict[str, int]) -> Iterator[Step]:
    """Yield a patch for each name, that replaces a line of the pool of `version` by it."""
    text = pool(version)
    for name, line in replaced.items():
        text = text.replace(f"\nline {line}\n", f"\n{name}\n")
        header = Header(
            "A <a@example.invalid>", "Mon, 1 Jun 2026 00:00:00 +0000", f"x: {name}", BODY
        )
        yield Step(name, header, {POOL: text.encode()})


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of two series, of three made-up releases that are in the cache.

    The day is 2 June 2026. Both series share the texts of "first" and "second".
    """
    patches, cache = tmp_path / "lines" / "patches", tmp_path / "cache"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1780272000")
    rows = []
    texts: dict[str, dict[str, str]] = {}
    written: dict[str, list[str]] = {}
    for version, (_, series, replaced) in LINES.items():
        name = f"livekit_agents-{version}-py3-none-any.whl"
        wheel = tmp_path / name
        files: Files = {POOL: pool(version).encode(), "livekit/agents/other.py": b"other\n"}
        with zipfile.ZipFile(wheel, "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content or b"")
        digest = file_sha256(wheel)
        (cache / digest).mkdir(parents=True)
        wheel.rename(cache / digest / name)
        day = "2026-05-19T00:00:00Z"
        own = hashlib.sha256(pool(version).encode()).hexdigest()
        rows.append(Release(version, day, day, ">=3.10", name, digest, digest, own, False, series))
        made = list(steps(version, replaced))
        if series not in texts:
            texts[series] = fitting_texts(made, files, {}, written)
    patches.mkdir(parents=True)
    for name, text in layout(texts).items():
        (patches / name).parent.mkdir(exist_ok=True)
        (patches / name).write_text(text)
    (patches / "lines.toml").write_text('[[lines]]\nfirst = "1.0.0"\nlacks = "all"\n')
    (patches / "releases.toml").write_text(render_table(rows))
    monkeypatch.setenv("LIVEKIT_PROCPOOL_CACHE", str(cache))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1780358400")
    return patches


@pytest.fixture
def known_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the doctor know the made-up releases of `installs`, and those only."""
    import installs

    monkeypatch.setattr("doctor.TABLE", installs.TABLE)


@pytest.fixture
def patched(tmp_path: Path, make_series: Callable[..., Series]) -> Path:
    """A patched wheel of 1.0.1, revision 3, as the project builds it."""
    import installs

    wheel = installs.pristine(tmp_path / "pristine")
    series = make_series(installs.POOL_PATCH)
    return build_wheel(wheel, series, tmp_path / "wheels", file_sha256(wheel))


@pytest.fixture
def examine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the doctor with some arguments and returns its JSON."""
    import installs

    return lambda *arguments: installs.run(capsys, monkeypatch, *arguments)
