"""wheel_index: sums and index cover every wheel, links are relative, nothing is half-written."""

import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from procpool.base.errors import UserError
from procpool.base.files import file_sha256
from procpool.wheels.index import publish, scratch_beside
from pypi_simple import IndexPage, ProjectPage

BASE = "http://host.example/any/where/simple/"


def make_wheel(folder: Path, version: str, project: str = "livekit_agents") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{project}-{version}-py3-none-any.whl"
    text = f"Metadata-Version: 2.4\nName: {project}\nVersion: {version}\nRequires-Python: >=3.10\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{project}-{version}.dist-info/METADATA"), text)
    return path


def run(fresh: list[Path], out: Path) -> list[Path]:
    with scratch_beside(out) as scratch:
        return publish(fresh, out, scratch, {"1.0.1"})


def files(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_every_wheel_is_covered(tmp_path: Path) -> None:
    out = tmp_path / "dist"
    run([make_wheel(tmp_path / "one", "1.0.1+procpool.1")], out)
    second = make_wheel(tmp_path / "two", "1.0.2+procpool.1")
    other = make_wheel(tmp_path / "two", "0.1", "other")
    assert run([second, other], out) == [out / second.name, out / other.name]
    assert not second.exists()
    names = sorted(path.name for path in out.glob("*.whl"))
    assert len(names) == 3
    sums = [line.split("  ") for line in (out / "SHA256SUMS").read_text().splitlines()]
    assert sums == [[file_sha256(out / name), name] for name in names]
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=out, check=True)

    root = IndexPage.from_html((out / "simple/index.html").read_text())
    assert root.projects == ["livekit-agents", "other"]
    text = (out / "simple/livekit-agents/index.html").read_text()
    page = ProjectPage.from_html("livekit-agents", text, base_url=f"{BASE}livekit-agents/")
    assert {p.version: p.is_yanked for p in page.packages} == {
        "1.0.1+procpool.1": True,
        "1.0.2+procpool.1": False,
    }
    for package in page.packages:
        url, _ = urldefrag(package.url)
        assert url == urljoin(BASE, "../") + package.filename.replace("+", "%2B")
        assert package.digests == {"sha256": file_sha256(out / unquote(url).rsplit("/", 1)[1])}
        assert package.requires_python == ">=3.10"
    assert "http:" not in text and "https:" not in text


def test_the_order_of_the_builds_does_not_matter(tmp_path: Path) -> None:
    versions = ["1.0.9+procpool.1", "1.0.10+procpool.1"]
    for name, order in (("a", versions), ("b", versions[::-1])):
        for version in order:
            run([make_wheel(tmp_path / "fresh", version)], tmp_path / name)
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.parametrize("name", ["livekit_agents-1.0.3-py3-none-any.whl", "what.whl"])
def test_a_damaged_wheel_changes_nothing(tmp_path: Path, name: str) -> None:
    out = tmp_path / "dist"
    run([make_wheel(tmp_path / "one", "1.0.1+procpool.1")], out)
    (out / name).write_bytes(b"half")
    before = files(out)
    with pytest.raises(UserError, match="remove it and try again"):
        run([make_wheel(tmp_path / "two", "1.0.2+procpool.1")], out)
    assert files(out) == before
    assert {path.name for path in out.iterdir()} == {*before, "simple"} - {
        "simple/index.html",
        "simple/livekit-agents/index.html",
    }


def test_side_by_side_no_scratch_folder_is_taken_for_a_killed_run_s(tmp_path: Path) -> None:
    def lives(number: int) -> bool:
        with scratch_beside(tmp_path / "dist") as scratch:
            return scratch.is_dir()

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(lives, range(200)))


def test_side_by_side_no_wheel_is_lost(tmp_path: Path) -> None:
    versions = [f"1.0.{n}+procpool.1" for n in range(4)]
    wheels = [make_wheel(tmp_path / version, version) for version in versions]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda wheel: run([wheel], tmp_path / "dist"), wheels))
    rows = (tmp_path / "dist" / "SHA256SUMS").read_text().splitlines()
    assert [row.split("  ")[1] for row in rows] == sorted(wheel.name for wheel in wheels)
    page = (tmp_path / "dist/simple/livekit-agents/index.html").read_text()
    assert all(version.replace("+", "%2B") in page for version in versions)
