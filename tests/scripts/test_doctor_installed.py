"""The doctor on made-up installations and wheels, in every state."""

import hashlib
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
    PRISTINE,
    SUPERVISED,
    TABLE,
    Examine,
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
