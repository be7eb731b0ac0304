"""pinned_versions: requirements and lock files as the tools write them."""

from pathlib import Path

import pytest
from procpool.base.errors import UserError
from procpool.catalog.pins import names_a_file, pinned_versions

HASH = "--hash=sha256:" + "0" * 64
UV = """\
version = 1

[[package]]
name = "aiohttp"
version = "3.13.0"

[[package]]
name = "livekit-agents"
version = "1.5.11"
source = { registry = "https://index.example/simple" }
dependencies = [{ name = "aiohttp" }]

[[package]]
name = "livekit-plugins-openai"
version = "1.5.12"
"""
PYLOCK = 'lock-version = "1.0"\n[[packages]]\nname = "livekit-agents"\nversion = "1.5.11"\n'


@pytest.mark.parametrize(
    "text",
    [
        "livekit-agents==1.5.11",
        "\ufefflivekit-agents==1.5.11\r\n",
        "LiveKit_Agents[openai, silero] == 1.5.11  # the worker",
        f"livekit-agents==1.5.11 \\\n    {HASH} \\\n    {HASH}\n    # via plugins",
        f"livekit-agents==1.5.11 ; python_version >= '3.10' {HASH}",
        "livekit-agents \\\n  ==1.5.11",
        "livekit-agents===1.5.11",
        "livekit-agents>=1.5,==1.5.11",
        "livekit-agents==1.5.11+procpool.1",
        "--no-binary :all:\n-e ./own\n./vendor/x-1-py3-none-any.whl\ngit+https://x.example/y\n"
        "# livekit-agents==1.0.0\nlivekit-agents-x==2\nlivekit==3\nlivekit-agents==1.5.11\n",
    ],
)
def test_requirements(tmp_path: Path, text: str) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(text, "utf-8", newline="")
    assert pinned_versions(path) == ["1.5.11"]


def test_markers_may_choose_between_versions(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(
        "livekit-agents==1.5.11; python_version >= '3.10'\n"
        "livekit-agents==1.3.1; python_version < '3.10'\nlivekit-agents==1.5.11\n"
    )
    assert pinned_versions(path) == ["1.5.11", "1.3.1"]


def test_included_files(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/base.txt").write_text("-r ../requirements.in\n--constraint=pins.txt\n")
    (tmp_path / "more/pins.txt").write_text("livekit-agents==1.5.11\n")
    path = tmp_path / "requirements.in"
    path.write_text("-r more/base.txt\n")
    assert pinned_versions(path) == ["1.5.11"]
    path.write_text("-r absent.txt\n")
    with pytest.raises(UserError, match=r"absent\.txt: there is no such file"):
        pinned_versions(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [("uv.lock", UV), ("poetry.lock", UV), ("pylock.toml", PYLOCK), ("pylock.prod.toml", PYLOCK)],
)
def test_lock_files(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert names_a_file(str(path)) and names_a_file(name)
    assert pinned_versions(path) == ["1.5.11"]
    path.write_text(text.replace('"1.5.11"', '"1.5.11+procpool.2"'))
    assert pinned_versions(path) == ["1.5.11"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("requirements.txt", "livekit-agents>=1.5", "does not pin livekit-agents: it says"),
        ("requirements.txt", "livekit-agents", "does not pin livekit-agents"),
        ("requirements.txt", "livekit-agents==1.5.*", "does not pin livekit-agents"),
        ("requirements.txt", "livekit-agents @ https://x.example/y.whl", "no wheel of"),
        ("requirements.txt", "livekit-agents===new", "which is no version"),
        ("requirements.txt", "livekit-agents==", "not understood"),
        ("requirements.txt", "aiohttp==3.13.0", "pins no version of livekit-agents"),
        ("uv.lock", "version = 1", "pins no version of livekit-agents"),
        ("uv.lock", '[[package]]\nname = "livekit-agents"', "locks no version"),
        ("uv.lock", "version = ", "uv.lock is not TOML: "),
        ("pyproject.toml", '[project]\nname = "x"\n', "is none of what is read"),
    ],
)
def test_unpinned_is_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        pinned_versions(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_version_is_not_a_file() -> None:
    assert not names_a_file("1.5.11") and not names_a_file("1.5.11+procpool.1")
    assert names_a_file("absent/uv.lock")
