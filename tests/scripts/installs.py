"""Made-up installations and wheels of livekit-agents for the doctor, and how it is run on them.

The doctor is made to know the releases 1.0.0 to 1.0.9 with `POOL_TEXT` as their pool, series v1.0.0
at revisions 2 and 3, and 1.5.16 to 1.5.18 with `LATER_TEXT`, revision 1 (fixture `known_releases`).
"""

import base64
import hashlib
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import doctor
import pytest
from conftest import PATCH, POOL_TEXT, write_wheel
from doctor import POOL, Row, State, Sum, Table
from procpool.base.files import ROOT

DOCTOR = ROOT / "scripts" / "doctor.py"
LATER_TEXT = POOL_TEXT.replace("line 2\n", "line 2b\n")
SUPERVISED = "livekit/agents/ipc/supervised_proc.py"
POOL_PATCH = PATCH.replace("livekit/agents/pool.py", POOL)
PRISTINE = "livekit_agents-1.0.1.dist-info"
PATCHED = "livekit_agents-1.0.1+procpool.3.dist-info"
PATCHED_TEXT = POOL_TEXT.replace("line 2\n", "line two\n").replace("line 22", "line twenty-two")
OLD = tuple(f"1.0.{number}" for number in range(10))
LATER = ("1.5.16", "1.5.17", "1.5.18")


def _sum(texts: dict[str, str]) -> str:
    rows = (f"{hashlib.sha256(t.encode()).hexdigest()}  {n}\n" for n, t in sorted(texts.items()))
    return hashlib.sha256("".join(rows).encode()).hexdigest()


# The series of the old ones changes the pool, and, as far as the table goes, another file.
TABLE = Table(
    releases=(*OLD, *LATER),
    wheels={"1.0.9": "cp310-abi3-linux_x86_64"},
    rows=(
        Row(OLD, "v1.0.0", hashlib.sha256(POOL_TEXT.encode()).hexdigest()),
        Row(LATER, "v1.5.16", hashlib.sha256(LATER_TEXT.encode()).hexdigest()),
    ),
    sums=(
        Sum(OLD, 2, (POOL,), "2" * 64),
        Sum(OLD, 3, (POOL,), _sum({POOL: PATCHED_TEXT})),
        Sum(OLD, 3, (POOL, SUPERVISED), _sum({POOL: PATCHED_TEXT, SUPERVISED: "supervised\n"})),
        Sum(LATER, 1, (POOL,), "1" * 64),
    ),
)
Examine = Callable[..., dict[str, Any]]


def pristine(folder: Path, version: str = "1.0.1", text: str = POOL_TEXT) -> Path:
    folder.mkdir(exist_ok=True)
    members = {POOL: text.encode(), SUPERVISED: b"supervised\n", "livekit/agents/worker.py": b"w\n"}
    return write_wheel(folder, version, members)


def install(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def edit(site: Path, name: str, record: str | None = None) -> None:
    """Change a file, and its row of RECORD in the folder `record` too."""
    before = (site / name).read_bytes()
    after = before.replace(b"line 9", b"line nine") + b"# edited\n"
    (site / name).write_bytes(after)
    if record:
        path = site / record / "RECORD"
        rows = path.read_text().replace(b64(before), b64(after))
        assert rows != path.read_text()
        path.write_text(rows)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> dict[str, Any]:
    """Run the doctor with --json and without; check that both agree; return the JSON."""
    outputs, codes = [], []
    for option in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["doctor.py", *map(str, arguments), *option])
        codes.append(doctor.main())
        outputs.append(capsys.readouterr().out)
    found: dict[str, Any] = json.loads(outputs[1])
    assert codes == [found["exit_code"]] * 2 == [State[found["state"].upper()].exit_code] * 2
    lines = outputs[0].splitlines()
    assert [line[5:] for line in lines if line.startswith("why: ")] == found["why"]
    assert [line[6:] for line in lines if line.startswith("note: ")] == found["notes"]
    assert found["schema"] == doctor.SCHEMA
    if found["fix"]:
        assert lines[-1] == f"fix: {found['fix']}"
        assert lines[-2] == f"the fix writes: {', '.join(found['writes'])}"
    return found
