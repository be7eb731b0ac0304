"""What the checks of README's recipes prove, and that they see what is wrong."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run
from installers import Fault, Installers
from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.catalog.releases import PROJECT, get_release
from procpool.checks import consumers
from procpool.checks.consumers import CHECKS, build_wheel, main, make_bench, run_check
from procpool.checks.projects import RELEASE, Bench
from procpool.checks.recipes import read_recipes

NAMES = list(CHECKS)
PATCHED = f"{RELEASE}+{get_release(RELEASE)[1].local_version}"


@pytest.fixture
def installers(monkeypatch: pytest.MonkeyPatch) -> Installers:
    """Return made-up installers, which run README's recipes in place of the real ones."""
    made = Installers()
    monkeypatch.setattr("procpool.checks.projects.subprocess.run", made)
    monkeypatch.setattr(consumers, "index_url", lambda: "https://index.invalid/simple")
    monkeypatch.setattr(consumers, "build_strict_plugin", lambda folder: folder / "strict.whl")
    return made


@pytest.fixture
def bench(installers: Installers, tmp_path: Path) -> Bench:
    """Return a bench with README's recipes and an empty wheel."""
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / f"livekit_agents-{PATCHED}-py3-none-any.whl").touch()
    recipes = read_recipes((ROOT / "README.md").read_text("utf-8"))
    texts = {name: recipe.text for name, recipe in recipes.items()}
    return make_bench(tmp_path, texts, "http://localhost:8000/simple/", PATCHED)


@pytest.mark.parametrize(
    ("name", "proved"),
    [
        ("new", ["new-pip: {} is installed", "new-uv: {} is installed"]),
        (
            "pip",
            ["pip: {} is installed", "1.8.9 is refused", "1.8.9 gets in", "way back leads to"],
        ),
        (
            "pip-hashes",
            ["{} is installed", "without a hash is refused", "dockerfile:", "way back leads to"],
        ),
        ("uv", ["{} is locked and installed", "1.8.9 is refused", "way back leads to"]),
        (
            "poetry",
            ["{} is locked and installed", "1.8.9 is refused", "1.8.9 gets in", "way back leads"],
        ),
    ],
)
def test_a_recipe_that_works(
    name: str, proved: list[str], bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_check(name, bench)
    captured = capsys.readouterr()
    assert captured.err == "" and len(captured.out.splitlines()) == len(proved)
    for line, words in zip(captured.out.splitlines(), proved, strict=True):
        assert words.format(PATCHED) in line


UPGRADED = {PROJECT: "1.8.9"}
UNPATCHED = {PROJECT: RELEASE}
MOVED = {PROJECT: PATCHED, "numpy": "2.1"}


@pytest.mark.parametrize(
    ("name", "part", "fault", "message"),
    [
        ("new", "pip install --uploaded", UNPATCHED, f"installed is {RELEASE}, patched: False"),
        ("new", "uv pip check", (1, "numpy is too new"), "exit 1: numpy is too new"),
        ("pip", "--extra-index-url", MOVED, "frozen.txt has other versions of numpy"),
        ("pip", "pip install --upgrade", UPGRADED, "installed is 1.8.9"),
        ("pip", "-c constraints.txt livekit-agents==1.8.9", UPGRADED, "exit 0"),
        ("pip", "-c constraints.txt livekit-agents==1.8.9", (1, "offline"), "saying '1.8.9'"),
        ("pip", "python doctor.py", (1, "PATCHED"), "does not say that 1.8.9 is fixed in part"),
        ("pip", "pip uninstall", (2, "no pip"), "exit 2: no pip"),
        ("pip-hashes", "pip download", (1, "1.5.11: offline"), "saying 'DO NOT MATCH'"),
        ("pip-hashes", "--require-hashes livekit-agents", (1, "no"), "saying 'Hashes are"),
        ("pip-hashes", "--find-links", UNPATCHED, "dockerfile: python doctor.py: exit 1"),
        ("pip-hashes", "--require-hashes -r", {PROJECT: PATCHED}, f"not {RELEASE}"),
        ("uv", "--upgrade-package livekit-agents==", UPGRADED, "exit 0"),
        ("uv", "uv add", UPGRADED, "installed is 1.8.9"),
        ("poetry", "poetry update", UPGRADED, "installed is 1.8.9"),
        ("poetry", "poetry add --lock", (1, "offline"), "saying 'version solving failed'"),
        ("poetry", "poetry remove", MOVED, "exit 1: version solving failed"),
        ("poetry", "poetry sync", {PROJECT: PATCHED}, f"not {RELEASE}"),
    ],
)
def test_a_recipe_that_does_not(
    name: str,
    part: str,
    fault: Fault,
    message: str,
    bench: Bench,
    installers: Installers,
    capsys: pytest.CaptureFixture[str],
) -> None:
    installers.faults[part] = fault
    assert not run_check(name, bench)
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


def test_the_doctor_must_agree_with_the_lock_file(
    bench: Bench, installers: Installers, capsys: pytest.CaptureFixture[str]
) -> None:
    installers.faults["doctor.py --json poetry.lock"] = (2, '{"state": "unknown", "why": ["odd"]}')
    assert not run_check("poetry", bench)
    assert "the doctor finds unknown, not patched: odd" in capsys.readouterr().err


def test_a_project_has_its_own_settings(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE_NEWER", "VIRTUAL_ENV", "KEPT"):
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("NO_PROXY", "there")
    project = bench.project("mine")
    assert project.environment.keys().isdisjoint({"PIP_CONSTRAINT", "UV_OVERRIDE", "VIRTUAL_ENV"})
    assert "UV_EXCLUDE_NEWER" not in project.environment
    assert project.environment["KEPT"] == "theirs"
    assert project.environment["NO_PROXY"] == "there,localhost"
    assert (project.folder / "doctor.py").is_file() and (project.folder / "dist").is_symlink()
    activated = bench.project("other", activated=True)
    assert activated.environment["VIRTUAL_ENV"] == str(activated.folder / ".venv")
    assert activated.python == str(activated.folder / ".venv" / "bin" / "python")


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


def test_all_checks_run_against_the_served_wheel(
    installers: Installers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    served = []

    @contextlib.contextmanager
    def serve(command: str, folder: Path, port: int) -> Iterator[None]:
        served.append((command, port))
        yield

    def build(folder: Path, patches: Path) -> None:
        (folder / "dist").mkdir()

    monkeypatch.setattr(consumers, "served", serve)
    monkeypatch.setattr(consumers, "build_wheel", build)
    for tool in ("uv", "poetry"):
        (tmp_path / tool).touch()
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert main([]) == 0
    [(command, port)] = served
    assert command.endswith(f"--directory dist {port}\n") and port != 8000
    assert len(capsys.readouterr().out.splitlines()) == 17
    installers.faults["uv sync --upgrade-package"] = UPGRADED
    assert main(["uv", "new"]) == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 3 and captured.err.startswith("error: uv: ")
    (tmp_path / "poetry").unlink()
    with pytest.raises(UserError, match="poetry is not installed beside this Python"):
        main([])


def test_a_wheel_that_cannot_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def fake(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, len(commands) - 1)

    monkeypatch.setattr("procpool.checks.consumers.subprocess.run", fake)
    build_wheel(tmp_path, ROOT / "patches")
    patches, out = str(ROOT / "patches"), str(tmp_path / "dist")
    assert commands[0][2:] == ["wheel", RELEASE, "--patches", patches, "--out", out]
    with pytest.raises(UserError, match=f"the wheel of {RELEASE} cannot be built"):
        build_wheel(tmp_path, ROOT / "patches")


def test_wrong_arguments_are_one_line(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# No recipe\n")
    for arguments, message in (
        (["conda"], "there is no check conda"),
        (["--readme", str(readme)], "do not have the same recipes"),
        (["--readme", str(tmp_path / "no")], "No such file"),
    ):
        result = run("check-consumers", *arguments)
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
        assert message in result.stderr
