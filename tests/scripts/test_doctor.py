"""The doctor, on made-up installs, wheels and lock files in every state, and on fake pools, live.

The made-up releases are 1.0.0 to 1.0.9 with `POOL_TEXT` as their pool, series v1.0.0 at revision 3,
and 1.5.16 to 1.5.18 with `LATER_TEXT`.
"""

import ast
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import doctor
import pytest
from build_wheel import build_wheel
from conftest import PATCH, POOL_TEXT, write_wheel
from doctor import EXIT_CODES, POOL, Finding, Row, version_key
from doctor_table import BEGIN, END, render
from errors import UserError
from fetch import file_sha256
from releases_table import ROOT, Series, load_all_series, load_releases, write_between
from test_inputs import run as run_script
from uv import find_uv_bin

MakeSeries = Callable[..., Series]
DOCTOR = ROOT / "scripts" / "doctor.py"
LATER_TEXT = POOL_TEXT.replace("line 2\n", "line 2b\n")
SUPERVISED = "livekit/agents/ipc/supervised_proc.py"
POOL_PATCH = PATCH.replace("livekit/agents/pool.py", POOL)
PRISTINE = "livekit_agents-1.0.1.dist-info"
PATCHED = "livekit_agents-1.0.1+procpool.3.dist-info"


@pytest.fixture(autouse=True)
def releases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the doctor know the made-up releases, and those only."""
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in (POOL_TEXT, LATER_TEXT)]
    rows = [
        Row("1.0.0", "1.0.9", "v1.0.0", 3, digests[0]),
        Row("1.5.16", "1.5.18", "v1.5.16", 1, digests[1]),
    ]
    monkeypatch.setattr(doctor, "ROWS", rows)


def pristine(folder: Path, version: str = "1.0.1", text: str = POOL_TEXT) -> Path:
    folder.mkdir(exist_ok=True)
    members = {POOL: text.encode(), SUPERVISED: b"supervised\n", "livekit/agents/worker.py": b"w\n"}
    return write_wheel(folder, version, members)


@pytest.fixture
def patched(tmp_path: Path, make_series: MakeSeries) -> Path:
    """A patched wheel of 1.0.1, revision 3, as the project builds it."""
    wheel = pristine(tmp_path / "pristine")
    return build_wheel(wheel, make_series(POOL_PATCH), tmp_path / "wheels", file_sha256(wheel))


def install(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def edit(site: Path, name: str, record: str | None = None) -> None:
    """Change a file, and its row of RECORD in the folder `record` too."""
    before = (site / name).read_bytes()
    after = before.replace(b"line 9", b"line nine") + b"# edited\n"
    (site / name).write_bytes(after)
    if record:
        path = site / record / "RECORD"
        rows = path.read_text().replace(b64(before), b64(after))
        assert rows != path.read_text()
        path.write_text(rows)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> dict[str, Any]:
    """Run the doctor with --json and without; check that both agree; return the JSON."""
    outputs, codes = [], []
    for option in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["doctor.py", *map(str, arguments), *option])
        codes.append(doctor.main())
        outputs.append(capsys.readouterr().out)
    found: dict[str, Any] = json.loads(outputs[1])
    assert codes == [found["exit_code"]] * 2 == [EXIT_CODES[found["state"]]] * 2
    lines = outputs[0].splitlines()
    assert [line[5:] for line in lines if line.startswith("why: ")] == found["why"]
    if found["fix"]:
        assert lines[-1] == f"fix: {found['fix']}"
    return found


@pytest.fixture
def examine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    return lambda *arguments: run(capsys, monkeypatch, *arguments)


Examine = Callable[..., dict[str, Any]]


# -- installations ---------------------------------------------------------------------------------


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
    row = doctor.ROWS[0]
    monkeypatch.setattr(doctor, "ROWS", [row._replace(revision=4)])
    found = examine(site)
    assert found["exit_code"] == 0 and found["newest_revision"] == 4
    assert "1.0.1+procpool.4-py3" in found["fix"]
    assert "revision 3 of series v1.0.0; revision 4 is out" in doctor.report(
        Finding("patched", [], series="v1.0.0", revision=3, newest_revision=4)
    )
    monkeypatch.setattr(doctor, "ROWS", [row._replace(revision=2)])
    found = examine(site)
    assert found["exit_code"] == 0 and found["fix"] is None
    assert "newer than this doctor.py" in doctor.report(
        Finding("patched", [], series="v1.0.0", revision=3, newest_revision=2)
    )


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
        (f"{PATCHED}/procpool/0001-change.patch", "not as RECORD states: 0001-change.patch"),
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
    assert found["state"] == "patched" and "NOTICE only" in found["why"][1]
    patch = (site / PATCHED / "procpool" / "0001-change.patch").rename(tmp_path / "patch")
    assert "the patches are not in it: 0001-change.patch" in examine(site)["why"]
    patch.rename(site / PATCHED / "procpool" / "0001-change.patch")
    notice = site / PATCHED / "procpool" / "NOTICE"
    text = notice.read_text()
    for old, new, words in (
        ("revision 3", "revision 2", "NOTICE says revision 2"),
        (doctor.ROWS[0].sha256, "0" * 64, "not the one of 1.0.1"),
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
    found = examine(site)
    assert found["state"] == "modified" and PRISTINE in found["why"][-1]
    assert found["stale"] == [str(site / PRISTINE)]
    assert f"rm -r {site / PRISTINE} && " in found["fix"]
    install(pristine(tmp_path / "wheel"), site)
    found = examine(site)
    assert found["state"] == "affected" and f"rm -r {site / PATCHED} && " in found["fix"]


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


# -- lock files ------------------------------------------------------------------------------------

UV = """\
version = 1

[[package]]
name = "livekit-agents"
version = "{version}"
source = {{ registry = "https://index.example.invalid/simple" }}
dependencies = [
    {{ name = "aiohttp" }},
]
wheels = [
    {{ url = "https://index.example.invalid/livekit_agents-9.9.9-py3-none-any.whl" }},
]

[package.optional-dependencies]
images = [
    {{ name = "pillow" }},
]

[[package]]
name = "livekit-api"
version = "1.0.1"
"""
POETRY = """\
[[package]]
name = "aiohttp"
version = "3.0"

[[package]]
name = "livekit-agents"
version = "{version}"
description = "[[package]] and more"
optional = false
files = [
    {{file = "livekit_agents-{version}-py3-none-any.whl", hash = "sha256:00"}},
]

[package.dependencies]
version = "7"

[metadata]
lock-version = "2.1"
"""
PYLOCK = """\
lock-version = "1.0"
created-by = "uv"

[[packages]]
name = "livekit-agents"
version = "{version}"
wheels = [{{ url = "https://index.example.invalid/livekit_agents-{version}-py3-none-any.whl" }}]
"""
REQUIREMENTS = """\
aiohttp==3.0 \\
    --hash=sha256:00
Livekit_Agents[images,mcp]=={version} ; python_version >= "3.9" \\
    --hash=sha256:{zeros} \\
    --hash=sha256:{zeros}
    # via something
livekit-agents-extra==1.0
"""
LOCKS = {
    "uv.lock": (UV, 3),
    "poetry.lock": (POETRY, 5),
    "pylock.toml": (PYLOCK, 4),
    "pylock.prod.toml": (PYLOCK, 4),
    "requirements.txt": (REQUIREMENTS, 3),
    "constraints.txt": ("livekit-agents == {version}", 1),
    "requirements.in": ("livekit.agents==={version}  # comment\n", 1),
}


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("1.0.1", "affected"),
        ("1.5.16", "partly"),
        ("1.0.1+procpool.3", "patched"),
        ("1.0.1+procpool.2", "patched"),
        ("1.0.1+other.1", "modified"),
        ("2.0.0b1", "unknown"),
        ("1.9.0", "unknown"),
    ],
)
def test_lock_files(tmp_path: Path, examine: Examine, name: str, version: str, state: str) -> None:
    text, line = LOCKS[name]
    (tmp_path / name).write_text(text.format(version=version, zeros="0" * 64))
    found = examine(tmp_path / name)
    assert (found["state"], found["version"]) == (state, version)
    assert found["where"] == f"{tmp_path / name}, line {line}"
    if state == "patched":
        assert found["revision"] == int(version[-1]) and found["newest_revision"] == 3
        assert (found["fix"] is None) == (version[-1] == "3")


@pytest.mark.parametrize(
    "line",
    [
        "livekit-agents",
        "livekit-agents>=1.0.1",
        "livekit-agents~=1.0",
        "livekit-agents==1.0.*",
        "livekit-agents[images]==1.0.1,!=1.0.2",
    ],
)
def test_requirements_that_do_not_pin(tmp_path: Path, examine: Examine, line: str) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(f"{line}\n")
    assert "does not pin" in examine(path)["why"][0]


@pytest.mark.parametrize("text", ["", "livekit==1.0\n# livekit-agents==1.0.1\n--find-links x\n"])
def test_lock_files_without_it(tmp_path: Path, examine: Examine, text: str) -> None:
    for name in LOCKS:
        (tmp_path / name).write_text(text)
        assert "no livekit-agents found" in examine(tmp_path / name)["why"][0]
    (tmp_path / "uv.lock").write_bytes(b"\xff\xfe")
    assert examine(tmp_path / "uv.lock")["exit_code"] == 2


def test_the_worst_of_several_pins_counts(tmp_path: Path, examine: Examine) -> None:
    path = tmp_path / "uv.lock"
    path.write_text("".join(UV.format(version=v) for v in ("1.0.1+procpool.3", "1.0.1")))
    found = examine(path)
    assert found["state"] == "affected" and "1.0.1+procpool.3, 1.0.1" in found["why"][-1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "./wheels/{wheel}\n"),
        ("requirements.txt", "livekit-agents[images] @ file://{folder}/wheels/{quoted}\n"),
        (
            "uv.lock",
            UV.replace('{{ registry = "https://index.example.invalid/simple" }}', "{path}"),
        ),
        ("poetry.lock", POETRY.replace("[metadata]", '[package.source]\nurl = "wheels/{wheel}"')),
        ("pylock.toml", PYLOCK.replace("url = ", 'path = "wheels/{wheel}", url = ')),
    ],
)
def test_a_lock_file_that_names_a_local_wheel(
    tmp_path: Path, examine: Examine, patched: Path, name: str, text: str
) -> None:
    """The wheel is judged, not its name."""
    path = tmp_path / name
    values = {"wheel": patched.name, "quoted": patched.name.replace("+", "%2B")}
    values |= {"path": f'{{ path = "wheels/{patched.name}" }}', "folder": str(tmp_path)}
    path.write_text(text.format(version="1.0.1+procpool.3", **values))
    assert examine(path)["why"] == ["all 2 changed files are as the wheel's NOTICE states"]
    shutil.copy(pristine(tmp_path / "wheel"), patched)
    assert examine(path)["state"] == "affected"
    patched.unlink()
    assert examine(path)["why"][0].startswith("by its version")


@pytest.mark.parametrize("name", [name for name in LOCKS if name.startswith(("req", "con"))])
def test_the_fix_of_a_requirements_file(
    tmp_path: Path, examine: Examine, patched: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_text(LOCKS[name][0].format(version="1.0.1", zeros="0" * 64))
    found = examine(path, "--wheels", patched.parent)
    subprocess.run(found["fix"], shell=True, check=True)
    fixed = examine(path)
    assert (fixed["state"], fixed["version"]) == ("patched", "1.0.1+procpool.3")
    text = path.read_text()
    assert f"\n--find-links {patched.parent}\n" in text and "0000" not in text
    assert (f"--hash=sha256:{file_sha256(patched)}" in text) == (name == "requirements.txt")
    if name == "requirements.txt":
        assert "[images,mcp]==1.0.1+procpool.3" in text and '; python_version >= "3.9"' in text
        assert "aiohttp==3.0 \\\n    --hash=sha256:00\n" in text and "# via something" in text


def test_the_fix_of_other_lock_files(tmp_path: Path, examine: Examine, patched: Path) -> None:
    def fix(name: str, wheels: object = patched.parent) -> str:
        (tmp_path / name).write_text(LOCKS[name][0].format(version="1.0.1"))
        return str(examine(tmp_path / name, "--wheels", wheels)["fix"])

    assert fix("uv.lock") == f"uv add --project {tmp_path} --no-sync {patched}"
    assert fix("pylock.toml").endswith(
        f" && uv export -q --project {tmp_path} -o {tmp_path}/pylock.toml"
    )
    assert fix("poetry.lock") == f"poetry -C {tmp_path} add --lock {patched}"
    address = "https://wheels.example.invalid"
    escaped = patched.name.replace("+", "%2B")
    assert fix("uv.lock", f"{address}/").endswith(f" {address}/{escaped}")
    for text in (
        'dependencies = ["livekit-agents[images, mcp]==1.0.1"]',
        'livekit-agents = { version = "1.0.1", extras = ["images", "mcp"] }',
    ):
        (tmp_path / "pyproject.toml").write_text(text)
        assert fix("poetry.lock").endswith(f"add --lock '{patched}[images,mcp]'")


# -- the command line ------------------------------------------------------------------------------


def test_exit_codes() -> None:
    """What can stall is never 0."""
    stalls = dict.fromkeys(["affected", "partly", "modified"], 1)
    assert {"patched": 0, "unknown": 2, **stalls} == EXIT_CODES


def test_json_schema(tmp_path: Path, examine: Examine, patched: Path) -> None:
    keys = {
        "state": str,
        "why": list,
        "version": str,
        "where": str,
        "series": str,
        "revision": int,
        "newest_revision": int,
        "fix": type(None),
        "live": type(None),
        "stale": list,
        "exit_code": int,
    }
    found = examine(patched)
    assert {name: type(value) for name, value in found.items()} == keys
    assert examine(tmp_path / "none").keys() == keys.keys()


@pytest.mark.parametrize(
    "arguments", [["--no-such"], ["x.whl", "--live"], ["x.whl", "--python", "y"], ["a", "b"]]
)
def test_wrong_arguments_are_unknown(arguments: list[str]) -> None:
    command = [sys.executable, str(DOCTOR), *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2 and "Traceback" not in result.stderr


def test_alone_in_a_container(tmp_path: Path, patched: Path) -> None:
    """Copied without the project, or read from standard input, it says where the wheel is from."""
    site = install(pristine(tmp_path / "wheel", "1.0.0"), tmp_path / "site")
    (site / POOL).write_text("edited\n")
    copy = tmp_path / "alone" / "check.py"
    copy.parent.mkdir()
    shutil.copy(DOCTOR, copy)
    for command, given in (([str(copy)], None), (["-"], DOCTOR.read_text())):
        result = subprocess.run(
            [sys.executable, *command, str(site), "--json"],
            capture_output=True,
            text=True,
            input=given,
            cwd=copy.parent,
        )
        found = json.loads(result.stdout)
        assert result.returncode == 1 and found["state"] == "modified"
        assert "dist/livekit_agents-1.0.0+procpool." in found["fix"]
        assert "nox -s wheel -- 1.0.0" in found["why"][-1]


def test_in_a_checkout_the_fix_builds_the_wheel(tmp_path: Path, examine: Examine) -> None:
    site = install(pristine(tmp_path / "wheel", "1.0.2"), tmp_path / "site")
    found = examine(site)
    assert f"-f {ROOT / 'noxfile.py'} -s wheel -- 1.0.2 && " in found["fix"]
    assert "--wheels" not in " ".join(found["why"])
    assert examine(tmp_path / "wheel" / "livekit_agents-1.0.2-py3-none-any.whl")["fix"].endswith(
        f"-f {ROOT / 'noxfile.py'} -s wheel -- 1.0.2"
    )


def test_standard_library_only_on_python_3_9() -> None:
    tree = ast.parse(DOCTOR.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""]
        for name in {name.split(".")[0] for name in names}:
            assert name in sys.stdlib_module_names or name == "livekit"
    # livekit is imported inside the scenario only
    top = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [line for line in top if "livekit" in line]


@pytest.mark.parametrize(
    "versions", [["1.0.9", "1.0.10", "1.5rc1", "1.5", "1.5.0.1", "1.8.9b1", "1.8.9rc1", "1.8.9"]]
)
def test_versions_are_ordered(versions: list[str]) -> None:
    keys = [version_key(version) for version in versions]
    assert keys == sorted(keys, key=lambda key: key or ((), (0, "", 0))) and None not in keys
    assert version_key("1.5") == version_key("1.5.0") == version_key("1.5.0+x.1")
    assert version_key("1.5.dev1") is None and version_key("one") is None


# -- the table -------------------------------------------------------------------------------------


def test_the_table_is_in_step_with_the_patches() -> None:
    rows = doctor._rows(doctor._TABLE)
    assert render() == f'_TABLE = """{doctor._TABLE}"""\n'
    revisions = {series.name: series.revision for series in load_all_series()}
    for release in load_releases().values():
        [row] = [r for r in rows if r == doctor_row(rows, release.version)]
        assert (row.series, row.sha256) == (release.series, release.pool_sha256)
        assert row.revision == revisions[release.series]


def doctor_row(rows: list[Row], version: str) -> Row | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "ROWS", rows)
        return doctor.row_of(version)


def test_the_table_is_written_and_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "doctor.py"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    with pytest.raises(UserError, match="out of date: run 'nox -s readme'"):
        write_between(path, BEGIN, END, "new\n", "nox -s readme", check=True)
    write_between(path, BEGIN, END, "new\n", "nox -s readme", check=False)
    assert path.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    write_between(path, BEGIN, END, "new\n", "nox -s readme", check=True)
    assert capsys.readouterr().out.splitlines()[-1] == "doctor.py: the table is up to date"
    path.write_text(f"{BEGIN}\n")
    with pytest.raises(UserError, match="once each"):
        write_between(path, BEGIN, END, "new\n", "nox -s readme", check=False)


# -- live ------------------------------------------------------------------------------------------

FAKE_POOL = """
import asyncio

class ProcPool:
    def __init__(self, *, num_idle_processes, mp_ctx):
        self.closed = asyncio.Event()

    def on(self, event, callback):
        pass

    async def start(self):
        await self.closed.wait()  # as before 1.4.2

    async def aclose(self):
        self.closed.set()

    async def launch_job(self, info):
        {launch}
"""
FAKE_JOB = """
import enum

class JobExecutorType(enum.Enum):
    PROCESS = 1

class RunningJobInfo:
    def __init__(self, job):
        self.job = job

def JobAcceptArguments(**values):
    pass
"""
FAKE_AGENT = """
class JobType:
    JT_ROOM = 1

def Job(**values):
    pass
"""


def fake(folder: Path, launch: str, imported: str = "", seconds: float = 8) -> dict[str, str]:
    """Write a made-up livekit-agents, and the scripts with short limits, into a folder.

    Returns the environment variables to run them with.
    """
    for name, text in {
        "livekit/agents/__init__.py": imported,
        "livekit/agents/version.py": '__version__ = "1.0.1"\n',
        "livekit/agents/job.py": FAKE_JOB,
        "livekit/agents/ipc/__init__.py": "",
        POOL: FAKE_POOL.format(launch=launch),
        "livekit/protocol/agent.py": FAKE_AGENT,
    }.items():
        path = folder / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    text = DOCTOR.read_text()
    for old, new in (
        ("return 3 * (initialize_timeout + 5) + 1", "return 0.5"),
        ("LIVE_SECONDS = 28.0", f"LIVE_SECONDS = {seconds}"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "doctor.py").write_text(text)
    shutil.copy(ROOT / "scripts" / "reproduce.py", folder)
    return os.environ | {"PYTHONPATH": str(folder / "site")}


def live(folder: Path, *arguments: Any) -> dict[str, Any]:
    environment = fake(folder, *arguments)
    command = [sys.executable, str(folder / "doctor.py"), "--live", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)
    found: dict[str, Any] = json.loads(result.stdout)
    assert result.returncode == found["exit_code"]
    return found


HANGS = "await asyncio.Event().wait()"
ENDS = "raise RuntimeError('no process became available')"


def test_live_sees_a_stall(tmp_path: Path) -> None:
    found = live(tmp_path, HANGS)
    assert found["live"]["result"] == "stall" and found["live"]["stalled"] == 3
    assert found["state"] == "affected"
    assert "job-2: STALLED" in " ".join(found["live"]["saw"])


def test_live_sees_none(tmp_path: Path) -> None:
    found = live(tmp_path, ENDS)
    assert found["live"]["result"] == "no stall" and found["live"]["stalled"] == 0
    assert found["state"] == "modified"  # as without --live


def test_live_that_cannot_import(tmp_path: Path) -> None:
    found = live(tmp_path, "pass", "import no_such_module")
    assert found["live"]["result"] == "inconclusive"
    assert "no_such_module" in found["live"]["text"]


def test_live_ends_in_time_and_leaves_no_process(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hang = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(600)\n"
    )
    start = time.monotonic()
    found = live(tmp_path, "pass", hang, 3)
    assert time.monotonic() - start < 6
    assert found["live"]["result"] == "inconclusive"
    for pid in map(int, pids.read_text().split()):
        assert not alive(pid)


@pytest.mark.parametrize(("launch", "code"), [(HANGS, 1), (ENDS, 0)], ids=["stall", "none"])
def test_reproduce_runs_the_same_scenario(tmp_path: Path, launch: str, code: int) -> None:
    environment = fake(tmp_path, launch)
    command = [sys.executable, str(tmp_path / "reproduce.py")]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == code
    assert result.stdout.splitlines()[-1] == f"{3 * code} of 3 jobs stalled"


def test_reproduce_without_livekit_agents() -> None:
    result = run_script("reproduce")
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # it ended just now, or there is no /proc
        return sys.platform != "linux"


@pytest.mark.parametrize(
    ("state", "result", "expected"),
    [
        ("patched", "stall", "affected"),
        ("patched", "no stall", "patched"),
        ("patched", "inconclusive", "unknown"),
        ("partly", "stall", "partly"),
        ("partly", "no stall", "partly"),
        ("affected", "no stall", "affected"),
        ("affected", "inconclusive", "affected"),
        ("modified", "stall", "affected"),
        ("modified", "no stall", "modified"),
        ("unknown", "stall", "affected"),
        ("unknown", "no stall", "unknown"),
    ],
)
def test_live_decides_together_with_the_files(state: str, result: str, expected: str) -> None:
    finding = Finding(state, ["why"])
    doctor.add_live(finding, {"result": result, "text": "what was seen", "saw": ["a line"]})
    assert finding.state == expected
    assert "live: what was seen\n     a line" in doctor.report(finding)
