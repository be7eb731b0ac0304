"""The check with quilt and git am, on the made-up series of `lines`; a made-up quilt."""

import os
from pathlib import Path

import pytest
from procpool.base.errors import UserError
from procpool.checks.quilt import main

# Applies the series as quilt does, from the same variables; anything else may come after it.
QUILT = """\
#!/bin/sh
set -e
test "$*" = "--quiltrc - push -a --fuzz=0"
test -z "$QUILT_PUSH_ARGS"
while read -r name; do git apply "$QUILT_PATCHES/$name"; done < "$QUILT_PATCHES/$QUILT_SERIES"
"""


@pytest.fixture
def quilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the first quilt on PATH."""
    path = tmp_path / "bin" / "quilt"
    path.parent.mkdir()
    path.write_text(QUILT)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("QUILT_PUSH_ARGS", "the user's")
    return path


def check(patches: Path, *series: str) -> int:
    return main([*series, "--patches", str(patches)])


def test_each_distinct_text_is_checked_once(
    quilt: Path, lines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = lines / "releases.toml"
    text = table.read_text()
    [_, oldest, later, _] = text.split("[[releases]]")
    assert check(lines) == 0
    every = [
        "1.0.0: quilt and git am take series v1.0.0",
        "1.0.1: quilt and git am take series v1.0.0",
        "2.0.0: quilt and git am take series v2.0.0",
    ]
    assert capsys.readouterr().out.splitlines() == every
    table.write_text(text.replace(later, oldest.replace('"1.0.0"', '"1.0.1"')))
    assert check(lines) == 0
    assert capsys.readouterr().out.splitlines() == [every[0], every[2]]
    assert check(lines, "v2.0.0") == 0
    assert capsys.readouterr().out.splitlines() == every[2:]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("echo other >> livekit/agents/pool.py", "quilt leaves another text than git apply"),
        ("rm livekit/agents/pool.py", "quilt leaves another text than git apply"),
        ("echo Hunk 1 FAILED >&2; exit 1", "quilt --quiltrc failed: Hunk 1 FAILED"),
    ],
)
def test_what_quilt_does_otherwise(quilt: Path, lines: Path, more: str, message: str) -> None:
    quilt.write_text(f"{QUILT}{more}\n")
    with pytest.raises(UserError, match=rf"^2\.0\.0, series v2\.0\.0: {message}$"):
        check(lines, "v2.0.0")


def test_git_am_needs_an_address(quilt: Path, lines: Path) -> None:
    text = lines / "first" / "v1.0.0.patch"
    text.write_text(text.read_text().replace("From: A <a@example.invalid>", "From: "))
    with pytest.raises(UserError, match=r"^1\.0\.0, series v1\.0\.0: git am failed: "):
        check(lines)


def test_what_cannot_be_checked(quilt: Path, lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no release has the series v9\.9\.9"):
        check(lines, "v9.9.9")
    monkeypatch.setenv("PATH", str(lines))
    with pytest.raises(UserError, match="quilt is not installed: on Debian"):
        check(lines)
