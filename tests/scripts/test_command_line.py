"""What the steps' command lines say: help, and one line for what the user can mend."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import run
from conftest import PATCH
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
    assert "9.9.9 is not supported" in result.stderr and "v1.0.0: 1.0.1" in result.stderr
    assert "To add one" in result.stderr
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
    assert "check the network" in result.stderr
    assert not out.exists() and list(cache.iterdir()) == []


@pytest.mark.parametrize("step", STEPS)
def test_help(step: str) -> None:
    result = run(step, "--help")
    assert result.returncode == 0 and "usage:" in result.stdout
