"""The fixes that the doctor prints are run, with the real uv and pip, offline; it looks again."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from doctor import POOL
from doctor import probe as real_probe
from installs import DOCTOR, POOL_PATCH, PRISTINE, Examine, install, pristine
from procpool.base.files import file_sha256
from procpool.catalog.series import Series
from procpool.wheels.build import build_wheel
from uv import find_uv_bin

pytestmark = pytest.mark.usefixtures("known_releases", "offline")
PYTHON = f">={sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let uv and pip use what is in `tmp_path / "index"`, nothing else, and no settings."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    values = {
        "PATH": f"{Path(find_uv_bin()).parent}{os.pathsep}{os.environ['PATH']}",
        "UV_OFFLINE": "1",
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(tmp_path / "index"),
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def wheels(tmp_path: Path, make_series: Callable[..., Series]) -> Path:
    """Return a folder of patched wheels of 1.0.1 and 1.0.2, whose pristine ones are in `index`.

    A plugin that wants any livekit-agents is there too.
    """
    series = make_series(POOL_PATCH)
    for version in ("1.0.1", "1.0.2"):
        wheel = pristine(tmp_path / "index", version)
        build_wheel(wheel, series, tmp_path / "wheels", file_sha256(wheel))
    metadata = b"Metadata-Version: 2.1\nName: plug\nVersion: 1.0\nRequires-Dist: livekit-agents\n"
    with zipfile.ZipFile(tmp_path / "index" / "plug-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("plug.py", "")
        archive.writestr("plug-1.0.dist-info/METADATA", metadata)
        archive.writestr(
            "plug-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("plug-1.0.dist-info/RECORD", "")
    return tmp_path / "wheels"


def sh(command: str, folder: Path, code: int = 0) -> str:
    result = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    assert result.returncode == code, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout + result.stderr


def names(folder: Path) -> set[str]:
    """Return the files below a folder, without those of environments and of Python's own."""
    found = (path for path in folder.rglob("*") if path.is_file())
    left_out = {".venv", "__pycache__"}
    return {str(p.relative_to(folder)) for p in found if not left_out & {*p.parts}}


def project(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_toml", ".toml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


HEAD = f'[project]\nname = "app"\nversion = "1"\nrequires-python = "{PYTHON}"\n'
WORKSPACE = '[tool.uv.workspace]\nmembers = ["member"]\n'
BY_MARKER = (
    "\"livekit-agents==1.0.1; sys_platform == 'win32'\","
    " \"livekit-agents==1.0.2; sys_platform != 'win32'\""
)
UV_PROJECTS = {
    "a dependency": {"pyproject_toml": f'{HEAD}dependencies = ["livekit-agents==1.0.1"]\n'},
    "no line end": {"pyproject_toml": f'{HEAD}dependencies = ["livekit-agents==1.0.1"]'},
    "a workspace without a project": {
        "pyproject_toml": WORKSPACE,
        "member__pyproject_toml": f'{HEAD}dependencies = ["livekit-agents==1.0.1"]\n',
    },
    "a workspace with sources": {
        "pyproject_toml": f"{WORKSPACE}\n[ tool . uv.sources ]  # ours\n"
        "other = { workspace = true }\n",
        "member__pyproject_toml": f'{HEAD}dependencies = ["plug", "livekit_agents~=1.0,<1.0.2"]\n',
    },
    "two versions by markers": {"pyproject_toml": f"{HEAD}dependencies = [{BY_MARKER}]\n"},
    "two versions by markers, of a plugin too": {
        "pyproject_toml": f'{HEAD}dependencies = ["plug", {BY_MARKER}]\n'
    },
    "a group": {"pyproject_toml": f'{HEAD}[dependency-groups]\ndev = ["livekit-agents==1.0.1"]\n'},
    "an extra": {
        "pyproject_toml": f'{HEAD}[project.optional-dependencies]\nx = ["livekit-agents==1.0.1"]\n'
    },
    "a plugin's": {"pyproject_toml": f'{HEAD}dependencies = ["plug"]\n'},
    "other constraints": {
        "pyproject_toml": f'{HEAD}dependencies = ["plug"]\n[tool.uv]\nconstraint-dependencies = [\n'
        '    "livekit-agents<1.0.2",  # for now\n    "aiohttp>3",\n]\n'
    },
    "an override": {
        "pyproject_toml": f'{HEAD}dependencies = ["plug"]\n[tool.uv]\n'
        'override-dependencies = ["livekit-agents==1.0.1"]\n'
    },
}


@pytest.mark.parametrize("case", UV_PROJECTS)
def test_uv_projects(tmp_path: Path, examine: Examine, wheels: Path, case: str) -> None:
    folder = project(tmp_path / "app", **UV_PROJECTS[case])
    sh("uv lock", folder)
    before = {name: (folder / name).read_text() for name in names(folder)}
    found = examine(folder / "uv.lock", "--wheels", wheels)
    assert found["state"] == "affected"
    assert found["writes"] == [str(folder / "pyproject.toml"), str(folder / "uv.lock")]
    sh(found["fix"], folder)
    after = examine(folder / "uv.lock", "--wheels", wheels)
    assert (after["state"], after["fix"]) == ("patched", None), after
    sh("uv lock --check", folder)
    # what was not said is as before, and what the project asks for stands as it stood
    assert names(folder) == before.keys()
    for name in before:
        if str(folder / name) not in found["writes"]:
            assert (folder / name).read_text() == before[name]
    text = (folder / "pyproject.toml").read_text()
    for line in before["pyproject.toml"].splitlines():
        if (
            "livekit-agents<1.0.2" not in line
            and "override" not in line
            and "constraint" not in line
        ):
            assert line in text or line.strip() in ('"aiohttp>3",', "]"), line
    assert ("aiohttp>3" in before["pyproject.toml"]) == ("aiohttp>3" in text)


@pytest.mark.parametrize(
    "settings",
    [
        '[tool.uv.sources]\nlivekit-agents = { git = "https://git.example.invalid/agents" }\n',
        'tool.uv.constraint-dependencies = "no list"\n',
    ],
)
def test_a_uv_project_that_is_no_plain_one(
    tmp_path: Path, examine: Examine, wheels: Path, settings: str
) -> None:
    """No command is better than a wrong one; what to do is said."""
    folder = project(tmp_path / "app", **UV_PROJECTS["a dependency"])
    sh("uv lock", folder)
    text = (folder / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(
        settings + text if "=" in settings[:60] else text + settings
    )
    found = examine(folder / "uv.lock", "--wheels", wheels)
    assert found["state"] == "affected"
    if found["fix"] is None:
        assert "1.0.1+procpool.3" in found["notes"][0]
    else:
        raise AssertionError(found["fix"])


def test_a_script_and_its_lock(tmp_path: Path, examine: Examine, wheels: Path) -> None:
    script = tmp_path / "agent.py"
    body = 'print("an agent")\n'
    block = (
        f'# /// script\n# requires-python = "{PYTHON}"\n# dependencies = ["livekit-agents<1.0.2"]\n'
    )
    script.write_text(f"#!/usr/bin/env python3\n{block}# ///\n{body}")
    sh("uv lock --script agent.py", tmp_path)
    found = examine(tmp_path / "agent.py.lock", "--wheels", wheels)
    assert found["state"] == "affected"
    sh(found["fix"], tmp_path)
    assert examine(tmp_path / "agent.py.lock")["state"] == "patched"
    sh("uv lock --check --script agent.py", tmp_path)
    assert script.read_text().startswith(f"#!/usr/bin/env python3\n{block}")
    assert script.read_text().endswith(f"# ///\n{body}")


PYLOCK = """\
lock-version = "1.0"
created-by = "pip"

[[packages]]
name = "aiohttp"
version = "3.0"

[[packages]]
name = "livekit-agents"
version = "1.0.1"
marker = "python_version >= '3.9'"
dependencies = [{ name = "aiohttp" }]

[[packages.wheels]]
name = "livekit_agents-1.0.1-py3-none-any.whl"
url = "https://index.example.invalid/livekit_agents-1.0.1-py3-none-any.whl"

[packages.wheels.hashes]
sha256 = "00"

[tool.x]
name = "livekit-agents"
"""


def test_a_pylock_without_a_project(tmp_path: Path, examine: Examine, wheels: Path) -> None:
    path = tmp_path / "app" / "pylock.toml"
    path.parent.mkdir()
    path.write_text(PYLOCK)
    found = examine(path, "--wheels", wheels)
    assert (found["state"], found["writes"]) == ("affected", [str(path)])
    sh(found["fix"], tmp_path)
    assert examine(path)["state"] == "patched"
    text = path.read_text()
    [wheel] = wheels.glob("*1.0.1+*")
    assert f'sha256 = "{file_sha256(wheel)}"' in text and "python_version >= '3.9'" in text
    assert text.endswith('[tool.x]\nname = "livekit-agents"\n') and names(path.parent) == {
        path.name
    }
    # an installer takes it
    path.write_text(text.replace('[[packages]]\nname = "aiohttp"\nversion = "3.0"\n\n', ""))
    path.write_text(path.read_text().replace('dependencies = [{ name = "aiohttp" }]\n', ""))
    sh("uv venv -q .venv && uv pip sync -q --python .venv/bin/python pylock.toml", path.parent)
    assert examine("--python", path.parent / ".venv" / "bin" / "python")["state"] == "patched"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_requirements_and_what_they_include(
    tmp_path: Path, examine: Examine, wheels: Path, encoding: str, end: str
) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    inner, outer = folder / "more pins.txt", folder / "requirements.txt"
    rows = ["# ß", "livekit-agents [a] == 1.0.1 ; python_version>'3'  # ours", "aiohttp==3"]
    inner.write_bytes(end.join(rows).encode(encoding))
    outer.write_bytes(
        f'-r "more pins.txt"{end}livekit_agents==1.0.2; os_name=="x"'.encode(encoding)
    )
    found = examine(outer, "--wheels", wheels)
    assert (found["state"], found["writes"]) == ("affected", [str(outer), str(inner)])
    sh(found["fix"], tmp_path)
    assert examine(outer, "--wheels", wheels)["state"] == "patched"
    assert names(folder) == {inner.name, outer.name}
    changed = inner.read_bytes().decode(encoding)
    assert changed == end.join(
        ["# ß", "livekit-agents[a]==1.0.1+procpool.3 ; python_version>'3'  # ours", "aiohttp==3"]
    )
    assert outer.read_bytes().decode(encoding).split(end)[1:] == [
        'livekit_agents==1.0.2+procpool.3 ; os_name=="x"',
        f"--find-links {wheels}",
        "",
    ]


def test_requirements_that_name_a_wheel(tmp_path: Path, examine: Examine, wheels: Path) -> None:
    path = tmp_path / "requirements.txt"
    name = "index/livekit_agents-1.0.1-py3-none-any.whl"
    path.write_text(f"# by pip-compile, autogenerated by x\n./{name}[a,b] ; os_name == 'posix'\n")
    found = examine(path, "--wheels", wheels)
    assert found["state"] == "affected" and "is compiled" in found["notes"][0]
    sh(found["fix"], tmp_path)
    assert examine(path)["state"] == "patched"
    assert path.read_text().splitlines()[1:] == [
        "livekit-agents[a,b]==1.0.1+procpool.3 ; os_name == 'posix'",
        f"--find-links {wheels}",
    ]
    path.write_text(f"livekit-agents==1.0.1\nlivekit-agents @ git+https://x.invalid/{name}\n")
    found = examine(path, "--wheels", wheels)
    assert (found["state"], found["fix"]) == ("affected", None)
    assert "requirements.txt, line 2" in found["notes"][0]


def test_a_file_that_changed_meanwhile_is_left_alone(
    tmp_path: Path, examine: Examine, wheels: Path
) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("livekit-agents==1.0.1\n")
    fix = examine(path, "--wheels", wheels)["fix"]
    path.write_text("livekit-agents==1.0.2\n")
    said = sh(fix, tmp_path, code=2)
    assert "has changed" in said and "Traceback" not in said
    assert path.read_text() == "livekit-agents==1.0.2\n"
    path.write_text("livekit-agents==1.0.1 --hash=sha256:00\n")
    fix = examine(path, "--wheels", tmp_path / "nowhere")["fix"]
    said = sh(fix, tmp_path, code=2)
    assert "nothing was changed" in said and "Traceback" not in said and "procpool" in said
    assert [p.name for p in tmp_path.iterdir() if "require" in p.name.lower()] == [path.name]


def test_the_files_that_no_command_mends(tmp_path: Path, examine: Examine, wheels: Path) -> None:
    pipfile = {"_meta": {}, "default": {"livekit-agents": {"version": "==1.0.1"}}}
    for name, text in {
        "Pipfile.lock": json.dumps(pipfile),
        "pdm.lock": '[[package]]\nname = "livekit-agents"\nversion = "1.0.1"\n',
        "environment.yml": "dependencies:\n- pip:\n  - livekit-agents==1.0.1\n",
    }.items():
        (tmp_path / name).write_text(text)
        found = examine(tmp_path / name, "--wheels", wheels)
        assert (found["state"], found["fix"], found["writes"]) == ("affected", None, [])
        assert "1.0.1+procpool.3" in found["notes"][0] and name in found["notes"][0]


POETRY = "[tool.poetry.dependencies]\n"
POETRY_LOCK = f"""\
[[package]]
name = "livekit-agents"
version = "1.0.1"
description = ""
optional = false
python-versions = "*"
groups = ["main"]
files = []

[extras]

[metadata]
lock-version = "2.1"
python-versions = "{PYTHON}"
content-hash = "00"
"""


def poetry_fix(folder: Path, examine: Examine, wheels: Path, project: str) -> str | None:
    (folder / "pyproject.toml").write_text(project)
    (folder / "poetry.lock").write_text(POETRY_LOCK)
    fix: str | None = examine(folder / "poetry.lock", "--wheels", wheels)["fix"]
    return fix and fix.replace(f"poetry -C {folder} add --lock ", "")


def test_the_fix_of_poetry_keeps_group_and_extras(
    tmp_path: Path, examine: Examine, wheels: Path
) -> None:
    wheel = wheels / "livekit_agents-1.0.1+procpool.3-py3-none-any.whl"
    for text, fix in {
        '[project]\ndependencies = ["livekit-agents[a,b] (==1.0.1)"]': f"'{wheel}[a,b]'",
        '[project.optional-dependencies]\nx = ["Livekit.agents"]': f"--optional x {wheel}",
        '[dependency-groups]\ndev = ["livekit-agents[a]"]': f"--group dev '{wheel}[a]'",
        '[tool.poetry.group.w.dependencies]\nlivekit-agents = "*"': f"--group w {wheel}",
        f'{POETRY}livekit-agents = {{ version = "*", extras = ["a"] }}': f"'{wheel}[a]'",
        '[project]\ndependencies = ["plug"]': str(wheel),
        "[project]\ndependencies = [\"livekit-agents; os_name == 'x'\"]": None,
        f'{POETRY}livekit-agents = {{ git = "x" }}': None,
        f'[dependency-groups]\nd = ["livekit-agents"]\n{POETRY}livekit-agents = "*"': None,
    }.items():
        assert poetry_fix(tmp_path, examine, wheels, text) == fix


@pytest.mark.skipif(shutil.which("poetry") is None, reason="poetry is not installed")
def test_the_fix_of_poetry_is_run(
    tmp_path: Path, examine: Examine, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POETRY_CACHE_DIR", str(tmp_path / "poetry"))
    text = f'{HEAD}dependencies = ["livekit-agents"]\n[tool.poetry]\npackage-mode = false\n'
    assert poetry_fix(tmp_path, examine, wheels, text)
    sh(examine(tmp_path / "poetry.lock", "--wheels", wheels)["fix"], tmp_path)
    found = examine(tmp_path / "poetry.lock", "--wheels", wheels)
    assert (found["state"], found["fix"]) == ("patched", None)


# -- installations ---------------------------------------------------------------------------------


def environment(folder: Path, *options: str) -> Path:
    """Make an environment; return its interpreter."""
    folder.parent.mkdir(exist_ok=True)
    sh(f"uv venv -q {' '.join(options)} {folder}", folder.parent)
    return folder / "bin" / "python"


def test_an_environment_beside_a_lock_file(tmp_path: Path, examine: Examine, wheels: Path) -> None:
    """The fix goes into the project: the next sync keeps it."""
    folder = project(tmp_path / "app", **UV_PROJECTS["a group"])
    sh("uv sync -q", folder)
    python = folder / ".venv" / "bin" / "python"
    found = examine("--python", python, "--wheels", wheels)
    assert found["state"] == "affected" and "uv.lock beside it pins 1.0.1" in found["notes"][0]
    assert {str(folder / "pyproject.toml"), str(folder / "uv.lock")} < {*found["writes"]}
    sh(found["fix"], folder)
    after = examine("--python", python, "--wheels", wheels)
    assert (after["state"], after["fix"]) == ("patched", None)
    sh("uv sync -q --locked", folder)
    assert examine("--python", python)["state"] == "patched"
    # patched by hand in the environment only: the lock file is what is left to mend
    shutil.copy(tmp_path / "index" / "plug-1.0-py3-none-any.whl", tmp_path)
    (folder / "uv.lock").unlink()
    (folder / "pyproject.toml").write_text(UV_PROJECTS["a group"]["pyproject_toml"])
    sh("uv lock -q", folder)
    found = examine("--python", python, "--wheels", wheels)
    assert found["state"] == "patched" and "uv lock --project" in found["fix"]


def test_environments_of_other_tools(tmp_path: Path, examine: Examine, wheels: Path) -> None:
    """Pipenv's say where their project is; what another tool installed is said."""
    python = environment(tmp_path / "somewhere" / "venv")
    sh(f"uv pip install -q --python {python} livekit-agents==1.0.1", tmp_path)
    [site] = (tmp_path / "somewhere" / "venv").glob("lib/*/site-packages")
    (site / PRISTINE / "INSTALLER").write_text("Poetry 2.5.1\n")
    found = examine("--python", python, "--wheels", wheels)
    assert found["fix"] and "Poetry 2.5.1 installed it" in found["notes"][0]
    (tmp_path / "app").mkdir()
    pins = {"default": {"livekit-agents": {"version": "==1.0.1"}}}
    (tmp_path / "app" / "Pipfile.lock").write_text(json.dumps(pins))
    (tmp_path / "somewhere" / "venv" / ".project").write_text(str(tmp_path / "app"))
    found = examine("--python", python, "--wheels", wheels)
    assert found["fix"] is None and "Pipfile.lock beside it pins 1.0.1" in found["notes"][0]
    assert "let Pipenv take livekit-agents 1.0.1+procpool.3" in found["notes"][1]


def copies(tmp_path: Path, kind: str) -> tuple[Path, Path]:
    """Put a livekit-agents of `kind` where PYTHONPATH shall lead; return what it is, and where."""
    wheel = tmp_path / "index" / "livekit_agents-1.0.1-py3-none-any.whl"
    root = install(wheel, tmp_path / "layer")
    other = root / "livekit" / "rtc"
    other.mkdir()
    (other / "__init__.py").write_text("")
    if kind == "vendored":
        shutil.rmtree(root / PRISTINE)
    if kind == "zip":
        root = Path(shutil.make_archive(str(tmp_path / "vend"), "zip", root))
    return root, other


@pytest.mark.parametrize("kind", ["target", "vendored", "zip"])
def test_a_copy_on_the_path(
    tmp_path: Path, examine: Examine, wheels: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """What hides a patched environment is judged, and mended where it lies."""
    python = environment(tmp_path / "venv")
    sh(f"uv pip install -q --no-deps --python {python} {next(wheels.glob('*1.0.1+*'))}", tmp_path)
    root, other = copies(tmp_path, kind)
    monkeypatch.setenv("PYTHONPATH", str(root))
    found = examine("--python", python, "--wheels", wheels)
    assert (found["state"], found["where"], found["writes"]) == ("affected", str(root), [str(root)])
    assert "another copy" in found["why"][-1]
    sh(found["fix"], tmp_path)
    after = examine("--python", python, "--wheels", wheels)
    assert (after["state"], after["where"]) == ("patched", str(root))
    assert sh(f"{python} -c 'import livekit.rtc'", tmp_path) == ""
    assert examine(root)["state"] == "patched" and (other / "__init__.py").is_file()


@pytest.mark.parametrize("below", ["python", "python/lib/python3.11/site-packages"])
def test_a_layer(tmp_path: Path, examine: Examine, wheels: Path, below: str) -> None:
    """A layer for Lambda, as a folder and as a zip file."""
    layer = tmp_path / "layer"
    (layer / below).mkdir(parents=True)
    install(tmp_path / "index" / "livekit_agents-1.0.1-py3-none-any.whl", layer / below)
    packed = Path(shutil.make_archive(str(tmp_path / "layer"), "zip", layer))
    for target, where in ((layer, layer / below), (packed, packed / below)):
        found = examine(target, "--wheels", wheels)
        assert (found["state"], found["where"]) == ("affected", str(where))
        sh(found["fix"], tmp_path)
        found = examine(target, "--wheels", wheels)
        assert (found["state"], found["where"], found["stale"]) == ("patched", str(where), [])
    with zipfile.ZipFile(packed) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"python"}


def test_a_project_s_folder_is_no_place(tmp_path: Path, examine: Examine) -> None:
    (tmp_path / "uv.lock").touch()
    (tmp_path / ".venv").mkdir()
    assert f"give {tmp_path / 'uv.lock'} or {tmp_path / '.venv'}" in examine(tmp_path)["why"][0]


def test_beside_the_script_and_in_the_current_folder(
    tmp_path: Path, examine: Examine, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = environment(tmp_path / "venv")
    sh(f"uv pip install -q --no-deps --python {python} {next(wheels.glob('*1.0.1+*'))}", tmp_path)
    root, _ = copies(tmp_path, "vendored")
    (root / "agent.py").touch()
    arguments = ("--python", python, "--wheels", wheels)
    assert examine(*arguments)["state"] == "patched"
    found = examine(*arguments, "--script", root / "agent.py")
    assert (found["state"], found["where"]) == ("affected", str(root))
    assert any("beside" in line and "agent.py" in line for line in found["why"])
    monkeypatch.chdir(root)
    assert any("current folder" in line for line in examine(*arguments)["why"])
    (tmp_path / "elsewhere.py").touch()
    found = examine(*arguments, "--script", tmp_path / "elsewhere.py")
    assert found["state"] == "patched"
    sh(examine(*arguments, "--script", root / "agent.py")["fix"], tmp_path)
    assert examine(*arguments, "--script", root / "agent.py")["state"] == "patched"
    assert "does not exist" in examine("--script", tmp_path / "none.py")["why"][0]


def test_hard_links_of_a_cache_are_not_written_through(
    tmp_path: Path, examine: Examine, wheels: Path
) -> None:
    site = install(tmp_path / "index" / "livekit_agents-1.0.1-py3-none-any.whl", tmp_path / "site")
    cached = tmp_path / "cached.py"
    os.link(site / POOL, cached)
    before = cached.read_bytes()
    sh(examine(site, "--wheels", wheels)["fix"], tmp_path)
    assert examine(site)["state"] == "patched" and cached.read_bytes() == before


def test_a_fix_whose_wheel_is_missing_removes_nothing(
    tmp_path: Path, examine: Examine, wheels: Path
) -> None:
    site = install(tmp_path / "index" / "livekit_agents-1.0.1-py3-none-any.whl", tmp_path / "site")
    before = names(site)
    found = examine(site, "--wheels", tmp_path / "nowhere")
    assert "is not there" in found["notes"][-1]
    sh(found["fix"], tmp_path, code=1)
    assert names(site) == before


def test_an_externally_managed_python(
    tmp_path: Path, examine: Examine, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PEP 668: said, and the fix has the option without which pip and uv refuse."""
    python = environment(tmp_path / "venv")
    sh(f"uv pip install -q --python {python} livekit-agents==1.0.1", tmp_path)

    def marked(python: str, folder: Path) -> dict[str, object]:
        return {**real_probe(python, folder), "managed": True}

    monkeypatch.setattr("doctor.probe", marked)
    found = examine("--python", python, "--wheels", wheels)
    assert "--break-system-packages" in found["fix"] and "PEP 668" in found["notes"][0]
    sh(found["fix"], tmp_path)
    assert examine("--python", python)["state"] == "patched"


def test_a_release_with_tags_of_its_own(tmp_path: Path, examine: Examine) -> None:
    site = install(pristine(tmp_path / "wheel", "1.0.9"), tmp_path / "site")
    name = "livekit_agents-1.0.9+procpool.3-cp310-abi3-linux_x86_64.whl"
    assert name in examine(site, "--wheels", tmp_path)["fix"]


def test_the_doctor_itself_is_what_edits(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\nthree")
    check = file_sha256(path)[:16]
    edits = json.dumps({"1-1": "ONE\n", "2+": "more\nlines\n", "3+": "end\n"})
    command = [sys.executable, str(DOCTOR), "--edit", str(path), check, edits]
    subprocess.run(command, check=True)
    assert path.read_text() == "ONE\ntwo\nmore\nlines\nthree\nend\n"
    for wrong in ([], [check], [check, "no json"], ["0" * 16, "{}"]):
        result = subprocess.run([*command[:4], *wrong], capture_output=True, text=True)
        assert result.returncode == 2 and "Traceback" not in result.stderr
        assert len(result.stderr.splitlines()) == 1
