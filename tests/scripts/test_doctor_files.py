"""The doctor on lock files and requirements files."""

import shutil
import subprocess
from pathlib import Path

import pytest
from installs import Examine, pristine
from procpool.base.files import file_sha256

pytestmark = pytest.mark.usefixtures("known_releases")


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
    (tmp_path / "pyproject.toml").write_text("[project]\n")
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
        "livekit-agents[images]!=1.0.2",
        "livekit-agents (>=1.0.1) ; python_version > '3'",
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
        toml = text and name.endswith((".lock", ".toml"))
        words = "is not TOML" if toml else "no livekit-agents found"
        found = examine(tmp_path / name)
        assert words in found["why"][0] and found["exit_code"] == 2
    (tmp_path / "uv.lock").write_bytes(b"\xff\xfe")
    assert examine(tmp_path / "uv.lock")["exit_code"] == 2


def test_the_worst_of_several_pins_counts(tmp_path: Path, examine: Examine) -> None:
    path = tmp_path / "uv.lock"
    entries = [UV.format(version=v) for v in ("1.0.1+procpool.3", "1.0.1")]
    path.write_text("".join(entries).replace("version = 1\n", ""))
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
