"""Which Python a release is tested on."""

import json
import subprocess

import pytest
from packaging.version import Version
from procpool.base import pythons
from procpool.base.errors import UserError
from procpool.base.pythons import choose_python, installed_pythons, pythons_for, uv
from procpool.suite.environment import missing_python
from samples import release

PYTHONS = {Version(v): f"/python{v}" for v in ("3.9.18", "3.10.13", "3.12.1", "3.13.0")}


def test_pythons_of_a_release() -> None:
    assert release().pythons == ["3.10", "3.11", "3.12", "3.13", "3.14"]
    newest = {Version("3.12.1"): "/python3.12.1"}
    assert missing_python(release(), "oldest", newest) == (
        "Python 3.10, the oldest that 1.0.1 supports, is not installed"
    )
    assert missing_python(release(), "3.12", newest) is None
    assert missing_python(release(), "3.13", PYTHONS) is None
    assert missing_python(release(), "newest", PYTHONS) == (
        "Python 3.14, the newest that 1.0.1 supports, is not installed"
    )


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        (">=3.9", ["3.9", "3.10", "3.11", "3.12", "3.13"]),  # written before there was a 3.14
        (">=3.9,<3.14", ["3.9", "3.10", "3.11", "3.12", "3.13"]),
        (">=3.10.1,<3.15", ["3.10", "3.11", "3.12", "3.13", "3.14"]),
    ],
)
def test_a_release_is_tested_on_what_it_says_it_supports(
    requires: str, expected: list[str]
) -> None:
    assert pythons_for(requires) == expected
    installed = {Version(v): v for v in ("3.13.0", "3.14.0")}
    assert choose_python(requires, "newest", installed) == f"{expected[-1]}.0"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("newest", "3.13.0"), ("oldest", "3.10.13"), ("3.12", "3.12.1"), ("3.10.13", "3.10.13")],
)
def test_choose_python(wanted: str, expected: str) -> None:
    assert choose_python(">=3.10,<3.15", wanted, PYTHONS) == f"/python{expected}"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("3.9", r"3\.9 is not supported.*nearest.*3\.10\.13"),
        ("3.11", r"3\.11 is not installed.*nearest.*3\.1[02]\."),
        ("3.14", r"3\.14 is not installed.*nearest.*3\.13\.0"),
        ("three", "not a Python version"),
    ],
)
def test_choose_python_names_the_nearest(wanted: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_python(">=3.10,<3.15", wanted, PYTHONS)
    with pytest.raises(UserError, match="install one that fits"):
        choose_python(">=3.14", "newest", PYTHONS)


def listed(version: str, **changes: str) -> dict[str, str]:
    return {"version": version, "path": f"/{version}", "implementation": "cpython"} | changes


def test_installed_pythons_are_final_cpythons_the_newest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        listed("3.12.1"),
        listed("3.13.0", variant="default"),
        listed("3.13.0", path="/later/on/PATH"),
        listed("3.13.1", variant="freethreaded"),
        listed("3.14.0b1"),
        listed("3.11.9", implementation="pypy"),
    ]

    def uv(*arguments: str) -> subprocess.CompletedProcess[str]:
        assert {"--only-installed", ">=3.9"} < set(arguments)
        return subprocess.CompletedProcess(arguments, 0, json.dumps(rows))

    monkeypatch.setattr(pythons, "uv", uv)
    assert list(installed_pythons().items()) == [
        (Version("3.13.0"), "/3.13.0"),
        (Version("3.12.1"), "/3.12.1"),
    ]


def test_uv_says_why_it_failed_without_its_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    environments: list[dict[str, str]] = []

    def fake(
        command: list[str], env: dict[str, str], **options: object
    ) -> subprocess.CompletedProcess[str]:
        environments.append(env)
        error = "warning: old\nUsing Python 3.12\n  x No solution\n  found\n"
        return subprocess.CompletedProcess(command, len(environments) - 1, "", error)

    monkeypatch.setattr("procpool.base.pythons.subprocess.run", fake)
    monkeypatch.setenv("VIRTUAL_ENV", "/theirs")
    assert uv("pip", "install", "x").returncode == 0
    assert "VIRTUAL_ENV" not in environments[0]
    assert environments[0]["UV_PYTHON_DOWNLOADS"] == "never"
    with pytest.raises(UserError, match=r"^uv pip install failed: x No solution found$"):
        uv("pip", "install", "x")
