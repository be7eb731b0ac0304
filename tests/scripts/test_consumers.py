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
from procpool.checks.projects import NEWER, Bench
from procpool.checks.recipes import read_recipes
from procpool.checks.starters import RELEASE

PATCHED = f"{RELEASE}+{get_release(RELEASE)[1].local_version}"
# `fork` needs the release itself.
NAMES = [name for name in CHECKS if name != "fork"]
MOVED_NOTHING = "installed with its plugins, no other"


@pytest.fixture
def installers(monkeypatch: pytest.MonkeyPatch) -> Installers:
    """Return made-up installers, which run README's recipes in place of the real ones."""
    made = Installers()
    monkeypatch.setattr("procpool.checks.projects.subprocess.run", made)
    monkeypatch.setattr(consumers, "index_url", lambda: "https://index.invalid/simple")
    monkeypatch.setattr(consumers, "build_strict_plugin", lambda folder: folder / "strict.whl")
    monkeypatch.setattr("procpool.checks.bots.shutil.which", lambda name: name)
    return made


@pytest.fixture
def bench(installers: Installers, tmp_path: Path) -> Bench:
    """Return a bench with README's recipes and an empty wheel."""
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / f"livekit_agents-{PATCHED}-py3-none-any.whl").touch()
    recipes = read_recipes((ROOT / "README.md").read_text("utf-8"))
    texts = {name: recipe.text for name, recipe in recipes.items()}
    return make_bench(tmp_path, texts, "http://localhost:8000", PATCHED)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_that_works(name: str, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    passed = run_check(name, bench)
    captured = capsys.readouterr()
    assert captured.err == "" and passed and captured.out


UPGRADED = {PROJECT: NEWER}
UNPATCHED = {PROJECT: RELEASE}
MOVED = {PROJECT: PATCHED, "numpy": "2.1"}


@pytest.mark.parametrize(
    ("name", "part", "fault", "message"),
    [
        ("new", "pip install --uploaded", UNPATCHED, f"installed is {RELEASE}, patched: False"),
        ("new", "uv pip check", (1, "numpy is too new"), "exit 1: numpy is too new"),
        ("pip", "pip install -c constraints.txt -r", MOVED, "other versions of numpy (2.0 to 2.1)"),
        ("pip", "pip install --upgrade", UPGRADED, f"installed is {NEWER}"),
        ("pip", f"-c constraints.txt {PROJECT}=={NEWER}", UPGRADED, "exit 0"),
        ("pip", f"-c constraints.txt {PROJECT}=={NEWER}", (1, "offline"), f"saying '{NEWER}'"),
        ("pip", "python vendor/doctor.py", (1, "PATCHED"), "does not say that 1.8.9 is fixed"),
        ("pip", "pip uninstall", (2, "no pip"), "exit 2: no pip"),
        ("pip-hashes", "pip download", (1, "1.5.11: offline"), "saying 'DO NOT MATCH'"),
        ("pip-hashes", "--require-hashes livekit-agents", (1, "no"), "saying 'Hashes are"),
        ("pip-hashes", "--find-links vendor -r", UNPATCHED, "versions of livekit-agents"),
        ("conda", "install -U -r condaenv.txt", MOVED, "other versions of numpy"),
        ("address-pip", "pip download", (1, "no such page"), "no such page"),
        ("uv", "uv lock --upgrade-package", UPGRADED, "exit 0"),
        ("uv", "uv lock --check", (1, "the lock is stale"), "the lock is stale"),
        ("uv", "uv add", UPGRADED, f"installed is {NEWER}"),
        ("uv-workspace", "uv sync --all-packages", {"numpy": "3"}, "versions of livekit-agents"),
        ("poetry", "poetry update", UPGRADED, "the doctor finds partly, not patched"),
        ("poetry", "poetry check --lock", (1, "stale"), "exit 1: stale"),
        ("poetry-group", "poetry sync --no-root", {PROJECT: PATCHED}, "1.5.11+procpool"),
        ("pdm", "pdm update --no-sync --update-reuse", MOVED, "other versions of numpy"),
        ("pdm", "pdm lock --check", (1, "stale"), "exit 1: stale"),
        ("pipenv", "pipenv upgrade", MOVED, "other versions of numpy"),
        ("pipenv", "vendor pipenv lock", UNPATCHED, "a new lock takes the wheel away"),
        ("renovate", "renovate --platform", (0, "no network"), "did not look the project up"),
        ("dependabot", "check-jsonschema", (1, "no such key"), "exit 1: no such key"),
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


def test_renovate_settings_that_leave_a_plugin(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.recipes["renovate"] = "{}"
    assert not run_check("renovate", bench)
    assert "with them" in capsys.readouterr().err


def test_without_npm_renovate_is_said_not_to_be_checked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("procpool.checks.bots.shutil.which", lambda name: None)
    assert run_check("renovate", bench)
    assert "NOT checked: npm is not on PATH" in capsys.readouterr().out


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
    assert {path.name for path in (project.folder / "vendor").iterdir()} == {
        "doctor.py",
        f"livekit_agents-{PATCHED}-py3-none-any.whl",
    }
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
    assert run_check("uv", Bench(Path(), {}, "", "", "", Path())) is False
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

    @contextlib.contextmanager
    def bucket(folder: Path) -> Iterator[int]:
        yield 9

    def build(folder: Path, patches: Path) -> None:
        (folder / "dist").mkdir()
        (folder / "dist" / f"livekit_agents-{PATCHED}-py3-none-any.whl").touch()

    monkeypatch.setattr(consumers, "served", serve)
    monkeypatch.setattr(consumers, "bucket", bucket)
    monkeypatch.setattr(consumers, "build_wheel", build)
    assert main(NAMES) == 0
    [(command, port)] = served
    assert command.endswith(f"--directory dist {port}\n") and port != 8000
    assert capsys.readouterr().err == ""
    installers.faults["uv lock --upgrade-package"] = UPGRADED
    assert main(["uv", "new"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: uv: ") and "new-uv" in captured.out
    monkeypatch.setattr(consumers, "TOOLS", ("no-such-tool",))
    monkeypatch.setattr("procpool.checks.consumers.shutil.which", lambda name: None)
    with pytest.raises(UserError, match="no-such-tool is not installed: run 'nox -s consumers'"):
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
        (["hatch"], "there is no check hatch"),
        (["--readme", str(readme)], "do not have the same recipes"),
        (["--readme", str(tmp_path / "no")], "No such file"),
    ):
        result = run("check-consumers", *arguments)
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
        assert message in result.stderr
