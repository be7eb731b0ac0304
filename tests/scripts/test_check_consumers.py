"""The reading of README's recipes, and what judges a project after one; no network."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run
from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.catalog.releases import get_release
from procpool.checks import consumers as check_consumers
from procpool.checks.consumers import (
    CHECKS,
    RECIPES,
    Bench,
    Project,
    Recipe,
    build_strict_plugin,
    check_recipes,
    locked_versions,
    only_moved,
    read_recipes,
    run_check,
    run_dockerfile,
    served,
)
from procpool.wheels.wheel import wheel_requirements

README = """\
# A project

```sh
this is no recipe
```

<!-- recipe: one -->
```sh
first
second
```

<!-- recipe: two-b -->

```toml
[tool]
```
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose commands run in an empty folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    return Project("name", folder, dict(os.environ), "http://me:secret@index/simple")


def test_recipes_are_read_as_they_stand() -> None:
    assert read_recipes(README) == {
        "one": Recipe("one", "sh", "first\nsecond\n"),
        "two-b": Recipe("two-b", "toml", "[tool]\n"),
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("two-b", "one", "two recipes one"),
        ("second\n", "2\n3\n4\n5\n6\n", "recipe one has more than 5 lines"),
        ("<!-- recipe: one -->\n", "<!-- recipe: one -->\ntext\n", "no fenced block"),
        ("[tool]\n```", "[tool]\n", "no fenced block"),
        ("recipe: one", "recipe: One", "no fenced block"),
    ],
)
def test_a_marker_needs_one_short_block(old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_recipes(README.replace(old, new))


def test_every_recipe_is_proved_with_this_revision() -> None:
    recipes = {"a": Recipe("a", "sh", "pip install x==1.5.11+procpool.2")}
    check_recipes(recipes, {"a"}, "1.5.11+procpool.2")
    with pytest.raises(UserError, match=r"recipe a installs 1\.5\.11\+procpool\.2, but"):
        check_recipes(recipes, {"a"}, "1.5.11+procpool.3")
    for wanted in ({"a", "b"}, set[str]()):
        with pytest.raises(UserError, match=r"same recipes: [ab]$"):
            check_recipes(recipes, wanted, "1.5.11+procpool.2")


def test_readme_has_the_recipes_of_the_checks() -> None:
    release, series = get_release(check_consumers.RELEASE)
    recipes = read_recipes((ROOT / "README.md").read_text("utf-8"))
    check_recipes(recipes, RECIPES, f"{release.version}+{series.local_version}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.lock", '[[package]]\nname = "a-b"\nversion = "1+x.1"\n[[package]]\nname = "own"\n'),
        ("poetry.lock", '[[package]]\nname = "a-b"\nversion = "1+x.1"\n'),
        ("requirements.txt", "# via b==2\na-b==1+x.1 \\\n    --hash=sha256:0\nc @ file:///c.whl\n"),
    ],
)
def test_locked_versions(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert locked_versions(tmp_path / name) == {"a-b": "1+x.1"}


def test_only_the_patched_wheel_may_move(project: Project) -> None:
    before = {"livekit-agents": "1.5.11", "numpy": "2.0"}
    lock = project.folder / "requirements.txt"
    lock.write_text("livekit-agents==1.5.11+procpool.1\nnumpy==2.0\n")
    only_moved(project, before, lock.name, "1.5.11+procpool.1")
    for text, names in (
        ("livekit-agents==1.5.11\nnumpy==2.0\n", "livekit-agents"),
        ("livekit-agents==1.5.11+procpool.1\nnumpy==2.1\n", "numpy"),
        ("livekit-agents==1.5.11+procpool.1\n", "numpy"),
        ("livekit-agents==1.5.11+procpool.1\nnumpy==2.0\npillow==1\n", "pillow"),
    ):
        lock.write_text(text)
        with pytest.raises(UserError, match=f"other versions of {names}$"):
            only_moved(project, before, lock.name, "1.5.11+procpool.1")


def test_the_doctor_decides(project: Project) -> None:
    (project.folder / "requirements.txt").write_text("livekit-agents==1.8.9\n")
    project.diagnose("partly", "requirements.txt")
    with pytest.raises(UserError, match="name: the doctor finds partly, not patched: upstream's"):
        project.diagnose("patched", "requirements.txt")


def test_commands_fail_in_one_line(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert project.sh("echo out; echo err >&2") == "out\nerr\n"
    with pytest.raises(UserError, match=r"^name: false echo on: exit 1: $"):
        project.sh("false\necho on")
    with pytest.raises(UserError, match=r"exit 3: last words$"):
        project.sh("echo last\necho words\nexit 3", codes=(0, 1))
    monkeypatch.setattr(check_consumers, "_COMMAND_SECONDS", 0.2)
    with pytest.raises(UserError, match="name: sleep 20: no end after"):
        project.sh("sleep 20")


def test_an_address_with_a_password_is_not_shown(project: Project) -> None:
    with pytest.raises(UserError, match=r"exit 1: no route to the index/x$") as raised:
        project.sh("echo no route to http://me:secret@index/simple/x; false")
    assert "secret" not in str(raised.value)


def test_only_the_expected_failure_is_a_refusal(project: Project) -> None:
    project.refuses("echo 1.8.9 conflicts; exit 1", "1.8.9", "conflicts")
    with pytest.raises(UserError, match=r"failed without saying '1\.8\.9': no network$"):
        project.refuses("echo no network; exit 1", "1.8.9")
    with pytest.raises(UserError, match="exit 0"):
        project.refuses("echo 1.8.9", "1.8.9")


def test_a_dockerfile_is_done_by_hand(project: Project, tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "vendor").mkdir(parents=True)
    (context / "vendor" / "inner").write_text("inner")
    (context / "file").write_text("file")
    run_dockerfile("COPY file vendor/ ./\nRUN cat file \\\n  inner > both\n", context, project)
    assert (project.folder / "both").read_text() == "fileinner"
    with pytest.raises(UserError, match="exit 1"):
        run_dockerfile("RUN false\n", context, project)
    with pytest.raises(UserError, match="has ENV"):
        run_dockerfile("ENV A=b\n", context, project)


def test_a_server_that_does_not_serve(tmp_path: Path) -> None:
    command = f"{sys.executable} -c \"raise SystemExit('in use')\""
    with pytest.raises(UserError, match=r"does not serve: in use$"), served(command, tmp_path, 9):
        raise AssertionError("it does not listen")


def test_the_made_up_plugin_wants_one_release(tmp_path: Path) -> None:
    assert wheel_requirements(build_strict_plugin(tmp_path)) == ["livekit-agents==1.5.11"]


def test_a_check_prints_what_it_proved_until_it_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(bench: Bench) -> Iterator[str]:
        yield "this holds"
        raise UserError("this\ndoes not")

    monkeypatch.setitem(CHECKS, "uv", (check, set()))
    assert run_check("uv", Bench(Path(), {}, "", "", "", [])) is False
    captured = capsys.readouterr()
    assert captured.out == "this holds (0 s)\n" and captured.err == "error: this does not\n"


def test_wrong_arguments_are_one_line(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(README)
    for arguments, message in (
        (["conda"], "there is no check conda"),
        (["--readme", str(readme)], "do not have the same recipes"),
        (["--readme", str(tmp_path / "no")], "No such file"),
    ):
        result = run("check-consumers", *arguments)
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
        assert message in result.stderr
