"""The doctor's command line: exit codes, JSON, and where it may run."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doctor import POOL, State, version_key
from installs import DOCTOR, Examine, install, pristine
from procpool.base.files import ROOT

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
