"""Throw-away projects, and what judges one after a recipe."""

import io
import json
import os
import socket
import sys
import tomllib
from pathlib import Path

import pytest
from procpool.base.errors import UserError
from procpool.checks import projects
from procpool.checks.projects import (
    Project,
    build_strict_plugin,
    free_port,
    locked_versions,
    merge_toml,
    only_moved,
    run_dockerfile,
    served,
)
from procpool.patching.apply import CHANGE_MARK
from procpool.wheels.wheel import wheel_requirements


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose commands run in an empty folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    return Project("name", folder, dict(os.environ), "http://me:secret@index/simple")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.lock", '[[package]]\nname = "a-b"\nversion = "1+x.1"\n[[package]]\nname = "own"\n'),
        ("poetry.lock", '[[package]]\nname = "a-b"\nversion = "1+x.1"\n'),
        ("Pipfile.lock", '{"_meta": {}, "default": {"a-b": {"version": "==1+x.1"}, "own": {}}}'),
        ("requirements.txt", "# via b==2\na-b==1+x.1 \\\n    --hash=sha256:0\nc @ file:///c.whl\n"),
    ],
)
def test_locked_versions(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert locked_versions(tmp_path / name) == {"a-b": "1+x.1"}


def test_only_the_patched_wheel_may_move(project: Project) -> None:
    before, patched = {"livekit-agents": "1.5.11", "numpy": "2.0"}, "1.5.11+procpool.1"
    only_moved(project, "lock", before, before | {"livekit-agents": patched}, patched)
    for after, rows in (
        (before, r"livekit-agents \(1\.5\.11\+procpool\.1 to 1\.5\.11\)"),
        ({"livekit-agents": patched, "numpy": "2.1"}, r"numpy \(2\.0 to 2\.1\)"),
        ({"livekit-agents": patched}, r"numpy \(2\.0 to none\)"),
        (before | {"livekit-agents": patched, "pillow": "1"}, r"pillow \(none to 1\)"),
    ):
        with pytest.raises(UserError, match=f"^name: lock: other versions of {rows}$"):
            only_moved(project, "lock", before, after, patched)


def test_a_package_with_two_versions_is_read_whole(tmp_path: Path) -> None:
    rows = '[[package]]\nname = "a"\nversion = "2"\n[[package]]\nname = "a"\nversion = "1"\n'
    (tmp_path / "uv.lock").write_text(rows)
    assert locked_versions(tmp_path / "uv.lock") == {"a": "1, 2"}


def test_tables_merge(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text('[tool.uv]\nx = ["a"] # why\n[tool.uv.sources]\ntools = { workspace = true }\n')
    merge_toml(path, '[tool.uv]\nx = ["b"]\n[tool.uv.sources]\nc = { path = "d" }\n[[e]]\nf = 1\n')
    merge_toml(path, "[[e]]\nf = 2\n")
    text = path.read_text()
    assert tomllib.loads(text) == {
        "tool": {
            "uv": {"x": ["a", "b"], "sources": {"tools": {"workspace": True}, "c": {"path": "d"}}}
        },
        "e": [{"f": 1}, {"f": 2}],
    }
    assert "# why" in text
    with pytest.raises(UserError, match=r"the recipe replaces tool\.uv\.y of pyproject\.toml"):
        path.write_text("[tool.uv]\ny = 1\n")
        merge_toml(path, "[tool.uv]\ny = 2\n")


class Connection:
    """A made-up connection that asks for one path."""

    def __init__(self, path: str) -> None:
        self.request = io.BytesIO(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        self.answer = b""

    def makefile(self, mode: str, *rest: object) -> io.BytesIO:
        return self.request

    def sendall(self, data: bytes) -> None:
        self.answer += data


def test_a_bucket_has_no_index_documents(tmp_path: Path) -> None:
    handler = projects.bucket_handler(tmp_path)
    (tmp_path / "index.html").write_text("page")
    for path, code in (("/", b"403"), ("/index.html", b"200"), ("/none", b"404")):
        connection = Connection(path)
        handler(connection, ("127.0.0.1", 1), None)
        assert connection.answer.split()[1] == code


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
    monkeypatch.setattr(projects, "_COMMAND_SECONDS", 0.2)
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


def test_a_server_serves_until_the_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "server.log"

    def connect(address: tuple[str, int], seconds: float) -> socket.socket:
        assert address == ("127.0.0.1", 9)
        if not log.read_text().endswith("\n"):
            raise OSError("it does not listen yet")
        return socket.socket()

    monkeypatch.setattr("procpool.checks.projects.socket.create_connection", connect)
    code = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    with served(f'{sys.executable} -c "{code}"', tmp_path, 9):
        server = int(log.read_text())
        os.kill(server, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        assert server.getsockname()[1] > 0


def test_the_made_up_plugin_wants_one_release(tmp_path: Path) -> None:
    assert wheel_requirements(build_strict_plugin(tmp_path)) == ["livekit-agents==1.5.11"]


@pytest.mark.parametrize("marked", [True, False])
def test_the_probe_says_which_release_is_there(project: Project, marked: bool) -> None:
    ipc = project.folder / "livekit" / "agents" / "ipc"
    ipc.mkdir(parents=True)
    (ipc.parent / "__init__.py").write_text("__version__ = '1.5.11'\n")
    (ipc / "proc_pool.py").write_text(f"pool = 1\n{CHANGE_MARK if marked else '# Modified'}, 1\n")
    code = "import sys; sys.argv[1:] = ['json']\n" + projects._PROBE
    project.environment["PYTHONPATH"] = str(project.folder)
    said = project.output([sys.executable, "-c", code])
    assert json.loads(said) == ["1.5.11", marked]
