"""What the steps' command lines say: help, and one line for what the user can mend."""

import ast
import os
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import SCRIPTS, run
from conftest import PATCH
from packaging.requirements import Requirement
from procpool import STEPS
from procpool.catalog.series import Series
from procpool.upkeep.update_releases import render
from samples import release

MakeSeries = Callable[..., Series]


def test_unknown_release_is_one_line(make_series: MakeSeries, tmp_path: Path) -> None:
    patches = make_series(PATCH).folder
    (patches / "releases.toml").write_text(render([release()]))
    out = tmp_path / "dist"
    result = run("wheel", "9.9.9", "--patches", str(patches), "--out", str(out))
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert "9.9.9 is not supported; the nearest are 1.0.1" in result.stderr
    assert "nox -s upkeep" in result.stderr and len(result.stderr) < 200
    assert not out.exists()


def test_no_network_is_one_line(make_series: MakeSeries, tmp_path: Path) -> None:
    patches, cache, out = make_series(PATCH).folder, tmp_path / "cache", tmp_path / "dist"
    (patches / "releases.toml").write_text(render([release()]))
    settings = {
        "LIVEKIT_PROCPOOL_CACHE": str(cache),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_FIND_LINKS": "",
    }
    arguments = ("1.0.1", "--patches", str(patches), "--out", str(out))
    result = run("wheel", *arguments, **settings)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result.stderr
    assert "the index does not answer: check the network" in result.stderr
    assert not out.exists() and list(cache.iterdir()) == []


@pytest.mark.parametrize("step", STEPS)
def test_help(step: str) -> None:
    result = run(step, "--help")
    assert result.returncode == 0 and "usage:" in result.stdout


def test_an_old_python_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start = runpy.run_path(str(SCRIPTS / "__main__.py"), run_name="start")["main"]
    monkeypatch.setattr("sys.version_info", (3, 10, 13))
    assert start(["wheel"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: this is Python 3.10.13, and the steps need 3.11")
    assert error.count("\n") == 1


def test_an_old_python_can_read_the_first_module() -> None:
    text = (SCRIPTS / "__main__.py").read_text("utf-8")
    ast.parse(text, feature_version=(3, 9))
    names = [n for node in ast.parse(text).body if isinstance(node, ast.Import) for n in node.names]
    assert [name.name for name in names] == ["sys"]


def test_an_interrupt_while_modules_are_imported(tmp_path: Path) -> None:
    (tmp_path / "packaging").mkdir()
    # Not by a signal: what runs in a shell's background ignores that one.
    (tmp_path / "packaging" / "__init__.py").write_text("raise KeyboardInterrupt\n")
    result = run("wheel", "1.5.11", PYTHONPATH=str(tmp_path))
    assert (result.returncode, result.stderr) == (130, "error: interrupted\n")


def test_an_old_python_needs_nothing_to_be_told_by_the_noxfile() -> None:
    text = (SCRIPTS.parent / "noxfile.py").read_text("utf-8")
    ast.parse(text, feature_version=(3, 9))
    block = text.partition("# ///\n")[0].replace("# /// script\n", "").replace("# ", "")
    rows = [Requirement(row) for row in tomllib.loads(block.replace("#\n", ""))["dependencies"]]
    for python, wanted in (("3.9", ["nox"]), ("3.11", sorted({row.name for row in rows}))):
        asked = [
            row.name
            for row in rows
            if row.marker and row.marker.evaluate({"python_version": python})
        ]
        assert sorted(asked) == wanted
    assert all(row.marker for row in rows)
    check = text.index("if sys.version_info < (3, 11)")
    assert check < text.index("\nfrom procpool") and "nox.needs_version" not in text
