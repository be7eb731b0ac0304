"""The doctor's command line: exit codes, JSON, and where it may run."""

import ast
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import doctor
import pytest
from doctor import POOL, State, version_key
from installs import DOCTOR, Examine, install, pristine
from procpool.base.files import ROOT, file_sha256

pytestmark = pytest.mark.usefixtures("known_releases")


def test_exit_codes() -> None:
    """What can stall is never 0."""
    stalls = dict.fromkeys(["affected", "partly", "modified"], 1)
    codes = {state.value: state.exit_code for state in State}
    assert {"patched": 0, "unknown": 2, **stalls} == codes


def test_json_schema(tmp_path: Path, examine: Examine, patched: Path) -> None:
    keys = {
        "schema": int,
        "state": str,
        "why": list,
        "version": str,
        "where": str,
        "series": str,
        "revision": int,
        "newest_revision": int,
        "applied": str,
        "fix": type(None),
        "notes": list,
        "writes": list,
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
    "versions",
    [
        [
            "1.0.9",
            "1.0.10",
            "1.5.dev1",
            "1.5a1",
            "1.5rc1",
            "1.5",
            "1.5.post1",
            "1.5.0.1",
            "1.8.9b1",
            "1!0",
        ]
    ],
)
def test_versions_are_ordered(versions: list[str]) -> None:
    keys = [version_key(version) for version in versions]
    assert None not in keys and keys == sorted(keys, key=lambda key: key or ())
    assert version_key("1.5") == version_key("1.5.0") == version_key("1.5.0+x.1")
    assert version_key("one") is None and version_key("1.5-procpool") is None


@pytest.fixture
def affected(tmp_path: Path) -> Path:
    """Return a folder with a ß in its name that holds an unpatched, real release's number."""
    folder = tmp_path / "groß"
    folder.mkdir()
    (folder / "requirements.txt").write_text("livekit-agents==1.5.11\n")
    return folder / "requirements.txt"


def shell(command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    doctor = shlex.join([sys.executable, str(DOCTOR)])
    return subprocess.run(
        ["bash", "-c", command.replace("DOCTOR", doctor)],
        capture_output=True,
        text=True,
        env=os.environ | environ,
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("DOCTOR FILE | head -c 1 > /dev/null; exit ${PIPESTATUS[0]}", 1),
        ("DOCTOR FILE --json | true; exit ${PIPESTATUS[0]}", 1),
        ("DOCTOR --help | true; exit ${PIPESTATUS[0]}", 0),
        ("DOCTOR --version | true; exit ${PIPESTATUS[0]}", 0),
        ("DOCTOR FILE >&-", 1),
        ("DOCTOR FILE >&- 2>&-", 1),
        ("DOCTOR --no-such >&- 2>&-", 2),
        ("DOCTOR FILE <&-", 1),
    ],
)
def test_whatever_the_output_is(affected: Path, command: str, code: int) -> None:
    """The verdict's own exit code, and no traceback, also where nobody reads what is said."""
    result = shell(command.replace("FILE", shlex.quote(str(affected))))
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr and "Exception" not in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("option", ["", "--json"])
def test_a_full_disk(affected: Path, option: str) -> None:
    result = shell(f"DOCTOR {shlex.quote(str(affected))} {option} > /dev/full")
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert "the report cannot be written" in result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1", "cp437"])
def test_an_output_that_cannot_say_it_all(affected: Path, encoding: str) -> None:
    odd = affected.with_name("\udcff.txt")  # a name that is no UTF-8
    shutil.copy(affected, odd)
    for path in (affected, odd):
        command = [sys.executable, str(DOCTOR), str(path)]
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        result = subprocess.run(command, capture_output=True, env=environment)
        assert result.returncode == 1 and b"AFFECTED" in result.stdout and not result.stderr


def test_version() -> None:
    result = shell("DOCTOR --version")
    assert result.returncode == 0 and len(result.stdout.splitlines()) == 1
    assert f"JSON schema {doctor.SCHEMA}" in result.stdout and "1.0.0 to " in result.stdout
    assert file_sha256(DOCTOR)[:16] in result.stdout


def test_colours_are_for_terminals(
    examine: Examine,
    patched: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def printed() -> str:
        monkeypatch.setattr(sys, "argv", ["doctor.py", str(patched)])
        assert doctor.main() == 0
        return capsys.readouterr().out

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b" not in printed()
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)
    assert "\x1b[1;32mPATCHED" in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in printed()
    monkeypatch.setenv("NO_COLOR", "")  # no-color.org: when not empty
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in printed()


def test_a_fault_of_the_doctor_is_no_verdict(
    examine: Examine, patched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("a\nfault")

    monkeypatch.setattr(doctor, "examine_wheel", fail)
    found = examine(patched)
    assert found["exit_code"] == 2 and "RuntimeError: a fault" in found["why"][0]


def test_modules_beside_it_are_not_imported(tmp_path: Path, affected: Path) -> None:
    """A worker's folder may well hold a `token.py` or a `json.py`."""
    shutil.copy(DOCTOR, tmp_path)
    for name in ("json.py", "token.py", "dataclasses.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')\n")
    command = [sys.executable, "doctor.py", str(affected)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (1, "")
    command = [sys.executable, "-", "--python", sys.executable]
    text = DOCTOR.read_text()
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, input=text)
    assert result.returncode == 2 and "no livekit-agents found" in result.stdout, result.stderr


@pytest.mark.parametrize("python", ["python3.9", "python3.10", "python3.13"])
def test_on_other_pythons(affected: Path, patched: Path, tmp_path: Path, python: str) -> None:
    found = shutil.which(python)
    if found is None or subprocess.run([found, "-V"], capture_output=True).returncode:
        pytest.skip(f"{python} is not installed")
    (affected.parent / "legacy.txt").write_text("livekit-agents==1.8.9\n")
    affected.write_text("# coding: utf-8\n-r legacy.txt\nlivekit-agents==1.5.11+procpool.2\n")
    site = install(pristine(tmp_path / "wheel", "1.0.0"), tmp_path / "site")
    states = []
    for target in (affected, site, patched):
        command = [found, str(DOCTOR), str(target), "--json"]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.stderr == ""
        states.append(json.loads(result.stdout)["state"])
    assert states == ["partly", "modified", "modified"]  # it knows the real releases only
