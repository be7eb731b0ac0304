"""The check of the texts: each applies, none is one too many. On the made-up series of `lines`."""

from pathlib import Path

import pytest
from procpool.base.errors import UserError
from procpool.checks import texts
from procpool.checks.texts import main


def check(patches: Path) -> int:
    return main(["--patches", str(patches)])


def test_texts_that_are_as_they_should_be(lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(lines) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1.0.0: series v1.0.0 applies, 3 patches",
        "1.0.1: series v1.0.0 applies, 3 patches",
        "2.0.0: series v2.0.0 applies, 2 patches",
        "3 texts, 8 uses: each applies, and is the oldest that fits",
    ]


def test_a_text_is_tried_once_where_releases_have_the_same_files(
    lines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = lines / "releases.toml"
    text = table.read_text()
    [_, oldest, later, _] = text.split("[[releases]]")
    table.write_text(text.replace(later, oldest.replace('"1.0.0"', '"1.0.1"')))
    assert check(lines) == 0
    assert "1.0.1: " not in capsys.readouterr().out


def test_a_text_where_another_would_do(lines: Path) -> None:
    old = (lines / "first" / "v1.0.0.patch").read_text()
    (lines / "first" / "v2.0.0.patch").write_text(old.replace("Why.", "Why, in other words."))
    (lines / "v2.0.0" / "series").write_text("first/v2.0.0.patch\nsecond/v1.0.0.patch\n")
    with pytest.raises(UserError) as raised:
        check(lines)
    assert str(raised.value) == (
        "first/v2.0.0.patch is the change of first/v1.0.0.patch; first/v1.0.0.patch could stand"
        " where first/v2.0.0.patch is used"
    )


def test_two_texts_that_differ_are_both_needed(lines: Path) -> None:
    old = (lines / "first" / "v1.0.0.patch").read_text()
    (lines / "first" / "v2.0.0.patch").write_text(old.replace("+first", "+first of 2.0.0"))
    (lines / "v2.0.0" / "series").write_text("first/v2.0.0.patch\nsecond/v1.0.0.patch\n")
    assert check(lines) == 0


def test_a_text_that_two_ideas_share(lines: Path) -> None:
    (lines / "other").mkdir()
    old = (lines / "first" / "v1.0.0.patch").read_text()
    (lines / "other" / "v2.0.0.patch").write_text(old.replace("x: first", "x: other"))
    (lines / "v2.0.0" / "series").write_text("other/v2.0.0.patch\nsecond/v1.0.0.patch\n")
    with pytest.raises(UserError, match=r"^other/v2\.0\.0\.patch is the change of first/v1\.0\.0"):
        check(lines)


def test_a_text_that_no_series_names(lines: Path) -> None:
    (lines / "first" / "v1.0.1.patch").write_text("anything")
    with pytest.raises(UserError, match=r"^first/v1\.0\.1\.patch is in no series: delete it$"):
        check(lines)


def test_a_text_that_names_what_is_not_there(lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the made-up files are no Python
    real = texts._flaws_of
    monkeypatch.setattr(
        texts, "_flaws_of", lambda code: real(b"first()" if b"first of 2" in code else b"import os")
    )
    old = (lines / "first" / "v1.0.0.patch").read_text()
    (lines / "first" / "v2.0.0.patch").write_text(old.replace("+first", "+first of 2.0.0"))
    (lines / "v2.0.0" / "series").write_text("first/v2.0.0.patch\nsecond/v1.0.0.patch\n")
    with pytest.raises(UserError) as raised:
        check(lines)
    flaw = "leaves a flaw in livekit/agents/pool.py: undefined name 'first'"
    assert str(raised.value) == f"first/v2.0.0.patch {flaw}"


def test_code_that_is_no_python_has_that_flaw() -> None:
    assert texts._flaws_of(b"line 1\n") == {"invalid syntax"}
    assert texts._flaws_of(b"import os\n") == {"'os' imported but unused"}


def test_a_text_that_does_not_apply(lines: Path) -> None:
    text = lines / "second" / "v1.0.0.patch"
    text.write_text(text.read_text().replace("\n-line 15\n", "\n-line 16\n"))
    with pytest.raises(UserError, match=r"^on 1\.0\.0, series v1\.0\.0: .*second/v1\.0\.0\.patch"):
        check(lines)


@pytest.mark.parametrize("first", ["1.0.0", "2.0.0"])
def test_a_series_is_named_after_the_first_release_it_fits(lines: Path, first: str) -> None:
    table = lines / "releases.toml"
    head, *rows = table.read_text().split("[[releases]]")
    table.write_text("[[releases]]".join([head, *(row for row in rows if f'"{first}"' not in row)]))
    with pytest.raises(UserError, match=f"^series v{first} is not named after the first release"):
        check(lines)
