"""The doctor on made-up installations and wheels, in every state."""

import hashlib
import importlib.machinery
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import doctor
import pytest
from conftest import POOL_TEXT
from doctor import POOL, Finding, State, Sum
from installs import (
    LATER_TEXT,
    OLD,
    PATCHED,
    PATCHED_TEXT,
    PRISTINE,
    SUPERVISED,
    TABLE,
    Examine,
    b64,
    edit,
    install,
    pristine,
)
from uv import find_uv_bin

pytestmark = pytest.mark.usefixtures("known_releases")


@pytest.mark.parametrize(
    ("version", "text", "state"),
    [
        ("1.0.1", POOL_TEXT, "affected"),
        ("1.5.17", LATER_TEXT, "partly"),
        ("1.0.1", "another text\n", "modified"),  # RECORD agrees with it
        ("1.9.0", LATER_TEXT, "partly"),  # an unknown release with a known pool
        ("1.9.0", "another text\n", "unknown"),
        ("2.0.0b1", "another text\n", "unknown"),
        ("1.0.1+other.1", "another text\n", "modified"),
        ("1.0.1+procpool.3", POOL_TEXT, "affected"),  # the version says what is not so
        ("1.0.1+procpool.3", "another text\n", "modified"),
        ("1.5.17", POOL_TEXT, "affected"),  # an old pool in a later release
    ],
)
def test_unpatched(tmp_path: Path, examine: Examine, version: str, text: str, state: str) -> None:
    wheel = pristine(tmp_path / "wheel", version, text)
    site = install(wheel, tmp_path / "site")
    for target in (site, wheel):
        found = examine(target)
        assert (found["state"], found["version"]) == (state, version)
        assert found["where"] == str(target)
    assert (examine(site)["fix"] is None) == (state == "unknown")


def test_patched(tmp_path: Path, examine: Examine, patched: Path) -> None:
    for target in (patched, install(patched, tmp_path / "site")):
        found = examine(target)
        assert found["state"] == "patched" and found["fix"] is None
        assert (found["series"], found["revision"], found["newest_revision"]) == ("v1.0.0", 3, 3)


def test_an_older_and_a_newer_revision(
    examine: Examine,
    patched: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    site = install(patched, tmp_path / "site")
    newer = Sum(OLD, 4, (POOL,), "4" * 64)
    monkeypatch.setattr(doctor, "TABLE", TABLE._replace(sums=(*TABLE.sums, newer)))
    found = examine(site)
    assert found["exit_code"] == 0 and found["newest_revision"] == 4
    assert "1.0.1+procpool.4-py3" in found["fix"]
    assert "revision 3 of series v1.0.0; revision 4 is out" in doctor.report(
        Finding(State.PATCHED, [], series="v1.0.0", revision=3, newest_revision=4)
    )
    monkeypatch.setattr(doctor, "TABLE", TABLE._replace(sums=TABLE.sums[:1]))
    found = examine(site)
    assert found["exit_code"] == 2 and found["fix"] is None
    assert "revision 3 of 1.0.1 is none that this doctor.py knows" in found["why"][0]


def test_a_wheel_may_be_of_a_series_that_was_split_since(
    examine: Examine, patched: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = install(patched, tmp_path / "site")
    rows = tuple(row._replace(series="v1.0.1") for row in TABLE.rows)
    monkeypatch.setattr(doctor, "TABLE", TABLE._replace(rows=rows))
    found = examine(site)
    assert (found["state"], found["series"]) == ("patched", "v1.0.0")


@pytest.mark.parametrize("name", [POOL, "livekit/agents/version.py"])
@pytest.mark.parametrize("record", [None, PATCHED])
def test_a_patched_install_that_was_edited(
    tmp_path: Path, examine: Examine, patched: Path, name: str, record: str | None
) -> None:
    site = install(patched, tmp_path / "site")
    edit(site, name, record)
    found = examine(site)
    assert found["state"] == "modified" and name.rsplit("/", 1)[-1] in found["why"][0]
    assert "procpool.3-py3-none-any.whl" in found["fix"]


@pytest.mark.parametrize("name", [POOL, SUPERVISED])
@pytest.mark.parametrize("record", [None, PRISTINE])
def test_an_unpatched_install_that_was_edited(
    tmp_path: Path, examine: Examine, name: str, record: str | None
) -> None:
    site = install(pristine(tmp_path / "wheel"), tmp_path / "site")
    edit(site, name, record)
    found = examine(site)
    # the pristine pool stalls, whatever was done to the files beside it
    assert found["state"] == ("modified" if name == POOL else "affected")
    said = " ".join(found["why"])
    assert ("edited after it was installed" in said) == (record is None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{PATCHED}/procpool/NOTICE", "NOTICE is missing"),
        (f"{PATCHED}/procpool/0001-change-1.patch", "not as RECORD states: 0001-change-1.patch"),
        (f"{PATCHED}/procpool/series", "series"),
        ("livekit/agents/version.py", "version.py"),
        (f"{PATCHED}/METADATA", "METADATA"),
    ],
)
def test_a_patched_install_that_lost_a_file(
    tmp_path: Path, examine: Examine, patched: Path, name: str, words: str
) -> None:
    site = install(patched, tmp_path / "site")
    (site / name).unlink()
    found = examine(site)
    assert found["state"] == "modified" and words in " ".join(found["why"])


def test_a_patched_install_whose_notice_tells_another_story(
    tmp_path: Path, examine: Examine, patched: Path
) -> None:
    site = install(patched, tmp_path / "site")
    (site / PATCHED / "RECORD").unlink()
    found = examine(site)
    assert found["state"] == "patched" and "there is no RECORD" in found["why"][1]
    patch = (site / PATCHED / "procpool" / "0001-change-1.patch").rename(tmp_path / "patch")
    assert "the patches are not in it: 0001-change-1.patch" in examine(site)["why"]
    patch.rename(site / PATCHED / "procpool" / "0001-change-1.patch")
    notice = site / PATCHED / "procpool" / "NOTICE"
    text = notice.read_text()
    for old, new, words in (
        ("revision 3", "revision 2", "NOTICE says revision 2"),
        (TABLE.rows[0].sha256, "0" * 64, "not the one of 1.0.1"),
        (POOL, "livekit/agents/else.py", "NOTICE is missing or unreadable"),
    ):
        notice.write_text(text.replace(old, new))
        found = examine(site)
        assert found["state"] == "modified" and words in " ".join(found["why"])
    pool = site / POOL
    data = pool.read_bytes()
    unmarked = b"".join(data.splitlines(keepends=True)[:-1])
    pool.write_bytes(unmarked)
    old, new = (hashlib.sha256(each).hexdigest() for each in (data, unmarked))
    notice.write_text(text.replace(old, new))
    assert "without the mark of revision 3: proc_pool.py" in examine(site)["why"]


def test_no_livekit_agents(tmp_path: Path, examine: Examine) -> None:
    (tmp_path / "site").mkdir()
    for target in ("site", "none", "setup.cfg", "broken.whl"):
        if "." in target:
            (tmp_path / target).write_text("[x]\n")
        found = examine(tmp_path / target)
        assert found["exit_code"] == 2 and len(found["why"]) == 1 and found["version"] is None
    site = install(pristine(tmp_path / "wheel"), tmp_path / "site")
    (site / POOL).unlink()
    assert examine(site)["exit_code"] == 2
    shutil.rmtree(site / "livekit")
    assert "broken installation" in examine(site)["why"][0]
    (site / "pyvenv.cfg").touch()
    assert "--python" in examine(site)["why"][0]


def test_a_wheel_of_another_project_and_a_damaged_one(
    tmp_path: Path, examine: Examine, patched: Path
) -> None:
    other = tmp_path / "other-1.0-py3-none-any.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other-1.0.dist-info/METADATA", "Name: other\nVersion: 1.0\n")
    assert "not a wheel of livekit-agents" in examine(other)["why"][0]
    data = patched.read_bytes()
    patched.write_bytes(data.replace(b"line two", b"line 2.0"))
    found = examine(patched)
    assert found["exit_code"] == 2 and "damaged" in found["why"][0]


def test_two_dist_infos(tmp_path: Path, examine: Examine, patched: Path) -> None:
    site = install(pristine(tmp_path / "wheel"), tmp_path / "site")
    assert examine(site)["stale"] == []
    install(patched, site)
    found = examine(site, "--wheels", patched.parent)
    assert found["state"] == "modified" and PRISTINE in found["why"][-1]
    assert found["stale"] == [str(site / PRISTINE)]
    install(pristine(tmp_path / "wheel"), site)
    found = examine(site, "--wheels", patched.parent)
    assert found["state"] == "affected" and found["stale"] == [str(site / PATCHED)]
    subprocess.run(found["fix"], shell=True, check=True)
    found = examine(site)
    assert found["state"] == "patched" and not (site / PRISTINE).exists()


def test_source_trees_and_editable_installs(tmp_path: Path, examine: Examine) -> None:
    tree = install(pristine(tmp_path / "wheel"), tmp_path / "tree")
    shutil.rmtree(tree / PRISTINE)
    site = tmp_path / "site"
    (site / PRISTINE).mkdir(parents=True)
    (site / PRISTINE / "METADATA").write_text("Version: 1.0.1\n")
    link = json.dumps({"url": tree.as_uri(), "dir_info": {"editable": True}})
    (site / PRISTINE / "direct_url.json").write_text(link)
    for target in (tree, site):
        found = examine(target)
        assert (found["state"], found["where"]) == ("affected", str(tree))
        assert found["version"] == "1.0.1"
    (site / PRISTINE / "direct_url.json").unlink()
    (site / "editable.pth").write_text(f"import os\n# a comment\n{tree}\n")
    assert examine(site)["where"] == str(tree)
    edit(tree, POOL)
    found = examine(tree)
    assert found["state"] == "modified" and "no RECORD" in found["why"][0]


def test_a_copy_that_hides_another(tmp_path: Path, examine: Examine, patched: Path) -> None:
    site = install(pristine(tmp_path / "wheel"), tmp_path / "site")
    other = install(patched, tmp_path / "other")
    link = tmp_path / "lib64"
    link.symlink_to(site)
    (site / "other.pth").write_text(f"{link}\n")
    assert len(examine(site)["why"]) == 1
    (site / "other.pth").write_text(f"{link}\n{other}\n")
    found = examine(site)
    assert found["state"] == "affected" and str(other) in found["why"][-1]


def test_the_fix_of_an_environment(
    tmp_path: Path, examine: Examine, patched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Affected, then as the fix says, then patched; and the same for an edited install."""
    uv = Path(find_uv_bin())
    monkeypatch.setenv("PATH", f"{uv.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UV_OFFLINE", "1")
    environment = tmp_path / "venv"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    wheel = pristine(tmp_path / "wheel")
    install_it: list[str | Path] = [
        uv,
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--python",
        python,
        wheel,
    ]
    subprocess.run(install_it, check=True)
    [site] = environment.glob("lib/*/site-packages")
    arguments = ("--python", python, "--wheels", patched.parent)
    for state in ("affected", "modified"):
        found = examine(*arguments)
        assert (found["state"], found["where"]) == (state, str(site))
        subprocess.run(found["fix"], shell=True, check=True)
        assert examine(*arguments)["state"] == "patched"
        edit(site, POOL)
    assert f"uv pip install --python {python}" in examine(site)["fix"]
    (site / "pip").mkdir()
    (site / "pip" / "__init__.py").touch()
    assert examine(*arguments)["fix"].startswith(f"{python} -m pip install --no-deps --force-re")


def test_a_python_that_does_not_run(tmp_path: Path, examine: Examine) -> None:
    for python in (tmp_path / "none", "/bin/false"):
        assert "does not run" in examine("--python", python)["why"][0]


def forge(site: Path, name: str) -> None:
    """Edit a file of a patched install, and let NOTICE and RECORD say that it must be so."""
    path, notice, record = (
        site / name,
        site / PATCHED / "procpool/NOTICE",
        site / PATCHED / "RECORD",
    )
    old, said = path.read_bytes(), notice.read_bytes()
    new = b"# forged\n" + old
    path.write_bytes(new)
    was, now = (hashlib.sha256(data).hexdigest().encode() for data in (old, new))
    notice.write_bytes(said.replace(was, now))
    rows = record.read_text().replace(b64(old), b64(new))
    record.write_text(rows.replace(b64(said), b64(notice.read_bytes())))
    assert was not in notice.read_bytes()


def test_a_forged_notice(tmp_path: Path, examine: Examine, patched: Path) -> None:
    """NOTICE, RECORD, the marks and the version agree; the table knows better."""
    site = install(patched, tmp_path / "site")
    forge(site, POOL)
    found = examine(site, "--wheels", patched.parent)
    assert found["state"] == "modified" and "not what revision 3" in found["why"][0]
    subprocess.run(found["fix"], shell=True, check=True)
    assert examine(site)["state"] == "patched"


def test_a_notice_that_names_a_revision_that_nobody_knows(
    tmp_path: Path, examine: Examine, patched: Path
) -> None:
    site = install(patched, tmp_path / "site")
    for path in [site / POOL, *(site / PATCHED).rglob("*"), site / "livekit/agents/version.py"]:
        if path.is_file():
            text = path.read_text().replace("revision 3", "revision 9")
            path.write_text(text.replace("procpool.3", "procpool.9"))
    (site / PATCHED / "RECORD").unlink()
    assert examine(site)["exit_code"] != 0


def test_a_series_that_was_applied_by_hand(tmp_path: Path, examine: Examine) -> None:
    site = install(pristine(tmp_path / "wheel"), tmp_path / "site")
    (site / POOL).write_text(PATCHED_TEXT)
    found = examine(site)
    assert (found["state"], found["applied"], found["fix"]) == ("patched", "by hand", None)
    assert (found["version"], found["revision"], found["series"]) == ("1.0.1", 3, "v1.0.0")
    assert "PATCHED by hand: revision 3" in doctor.report(
        Finding(State.PATCHED, [], applied="by hand", revision=3)
    )
    (site / SUPERVISED).write_text("not as the series leaves it\n")
    found = examine(site)
    assert found["state"] == "modified" and "in part" in found["why"][0]
    (site / SUPERVISED).write_text("supervised\n")
    metadata = site / PRISTINE / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.0.1", "1.5.17"))
    found = examine(site)
    assert found["state"] == "modified" and "those that a series makes of 1.0.0" in found["why"][0]


def test_a_copy_of_a_patched_package(tmp_path: Path, examine: Examine, patched: Path) -> None:
    """Vendored without its .dist-info."""
    site = install(patched, tmp_path / "site")
    shutil.rmtree(site / PATCHED)
    found = examine(site)
    assert (found["state"], found["applied"], found["revision"]) == ("patched", "wheel", 3)
    (site / POOL).write_bytes(b"x\n" + (site / POOL).read_bytes())
    assert examine(site)["state"] == "modified"


def test_other_files_that_were_edited(tmp_path: Path, examine: Examine, patched: Path) -> None:
    site = install(patched, tmp_path / "site")
    (site / "livekit/agents/worker.py").write_text("print()\n")
    found = examine(site)
    assert found["state"] == "patched" and found["why"][-1].endswith(": livekit/agents/worker.py")
    (site / "livekit/agents/worker.py").unlink()
    assert "livekit/agents/worker.py" in examine(site)["why"][-1]


def test_what_hides_the_pool(tmp_path: Path, examine: Examine, patched: Path) -> None:
    """A package or an extension module comes before the file of the same name."""
    site = install(patched, tmp_path / "site")
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    extension = site / POOL.replace(".py", suffix)
    extension.touch()
    found = examine(site)
    assert found["state"] == "modified" and extension.name in found["why"][0]
    extension.unlink()
    package = site / POOL.replace(".py", "")
    package.mkdir()
    assert examine(site)["state"] == "patched"  # a folder is no package where there is a file
    (package / "__init__.py").touch()
    assert examine(site)["state"] == "modified"
    shutil.rmtree(package)
    (site / "livekit.py").touch()
    found = examine(site)
    assert found["state"] == "unknown" and "hides" in found["why"][0]
    (site / "livekit.py").rename(site / "livekit" / "__init__.py")
    assert examine(site)["state"] == "patched"
    other = tmp_path / "other" / "livekit"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    (site / "livekit" / "__init__.py").unlink()
    (other.parent / "more.pth").write_text(f"{site}\n")
    assert examine(other.parent)["state"] == "unknown"


def test_an_editable_install_is_found_through_its_finder(
    tmp_path: Path, examine: Examine, patched: Path
) -> None:
    """As setuptools does it: a .pth file that installs a finder."""
    tree = install(patched, tmp_path / "tree")
    shutil.rmtree(tree / PATCHED)
    uv = Path(find_uv_bin())
    environment = tmp_path / "venv"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, environment], check=True)
    [site] = environment.glob("lib/*/site-packages")
    (site / "_finder.py").write_text(
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "class Finder:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'livekit.agents':\n"
        f"            return PathFinder.find_spec(name, [{str(tree / 'livekit')!r}])\n"
        "        if name == 'livekit':\n"
        f"            return PathFinder.find_spec(name, [{str(tree)!r}])\n"
        "sys.meta_path.insert(0, Finder)\n"
    )
    (site / "editable.pth").write_text("import _finder\n")
    install(pristine(tmp_path / "wheel"), site)
    found = examine("--python", environment / "bin" / "python")
    assert (found["state"], found["where"]) == ("patched", str(tree))
    assert "another copy" in found["why"][-1]
