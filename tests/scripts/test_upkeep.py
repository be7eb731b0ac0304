"""upkeep: what a new release asks for, and which hunk is in which file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATCH, POOL, POOL_TEXT, write_wheel
from procpool.base.errors import UserError
from procpool.base.files import file_sha256
from procpool.catalog.releases import Release
from procpool.catalog.series import Series
from procpool.upkeep import update_releases, upkeep
from procpool.upkeep.update_releases import render
from samples import package, release

MakeSeries = Callable[..., Series]
GONE = PATCH.replace(POOL, "livekit/agents/gone.py")


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the wheel of a new release, 1.0.9, whose line 22 is another; the index lists it."""
    text = POOL_TEXT.replace("line 22\n", "line 22 of 1.0.9\n")
    wheel = write_wheel(tmp_path, "1.0.9", {POOL: text.encode()})
    files = [package("1.0.9", kind) for kind in ("wheel", "sdist")]
    monkeypatch.setattr(upkeep, "index_url", lambda: "")
    monkeypatch.setattr(upkeep, "read_index", lambda project, url: files)
    monkeypatch.setattr(upkeep, "fetch", lambda release: wheel)
    return wheel


def test_a_hunk_that_fails_is_named_with_its_file(
    new: Path, make_series: MakeSeries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series = make_series(PATCH, GONE)
    (series.folder / "releases.toml").write_text(render([release()]))
    build = tmp_path / "build"
    arguments = ["--patches", str(series.folder), "--build", str(build)]
    assert upkeep.main(["v1.0.9", *arguments]) == 1
    first, hunk, gone, last = capsys.readouterr().out.splitlines()
    tree = build / "new-1.0.9"
    assert first.startswith("1.0.9: series v1.0.0 applies but for 2 places in 2 of 2 patches")
    assert f"change-1/v1.0.0.patch: hunk 2 of 2 for {POOL} does not apply" in hunk
    assert f"open {tree / POOL} near line 20, beside pool.py.0001-change-1.rej" in hunk
    assert gone.endswith("livekit/agents/gone.py is not in this release")
    assert last.startswith("next: mend these places")
    text = (tree / POOL).read_text()
    assert "line two\n" in text and "line 22 of 1.0.9\n" in text
    assert "line twenty-two" in (tree / f"{POOL}.0001-change-1.rej").read_text()
    # again, over what is there
    assert upkeep.main(["1.0.9", *arguments, "--series", "v1.0.0"]) == 1


def test_a_patch_that_upstream_has(
    new: Path, make_series: MakeSeries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = POOL_TEXT.replace("line 2\n", "line two\n").replace("line 22\n", "line twenty-two\n")
    write_wheel(tmp_path, "1.0.9", {POOL: text.encode()})
    series = make_series(PATCH)
    assert upkeep.show(release("1.0.9", file_sha256(new)), series, tmp_path / "build") == 1
    assert "upstream now has this change: leave the patch out" in capsys.readouterr().out


@pytest.mark.usefixtures("new")
def test_the_table_comes_first(
    make_series: MakeSeries,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    patches = make_series(PATCH).folder
    table = patches / "releases.toml"
    table.write_text(render([release()]))
    arguments = ["--patches", str(patches), "--build", str(tmp_path / "build")]
    codes = [1, 0]
    monkeypatch.setattr(update_releases, "main", lambda argv: codes.pop(0))
    assert upkeep.main(arguments) == 1
    assert "open " in capsys.readouterr().out
    table.write_text(render([release("1.0.9")]))
    assert upkeep.main(arguments) == 0
    assert capsys.readouterr().out.startswith("next: every release is covered; 'nox -s tables'")
    for version, message in (("newest", "not a release: 'newest'"), ("1.0.7", "lists no livekit")):
        with pytest.raises(UserError, match=message):
            upkeep.main([version, *arguments])


def test_what_applies_leaves_nothing(
    make_series: MakeSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = write_wheel(tmp_path, "1.0.9", {POOL: POOL_TEXT.encode()})

    def cached(release: Release) -> Path:
        return wheel

    monkeypatch.setattr(upkeep, "fetch", cached)
    assert upkeep.show(release("1.0.9"), make_series(PATCH), tmp_path / "build") == 0
