"""Scratch folders: what a killed run left is swept, what a living one holds is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import SCRIPTS
from filelock import lock_descriptor
from procpool.base.errors import UserError
from procpool.base.scratch import alone, scratch_folder, sweep
from procpool.wheels.index import scratch_beside


def test_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    code = (
        f"import os, sys; sys.path.insert(0, {str(SCRIPTS)!r})\n"
        "from pathlib import Path\n"
        "from procpool.base.scratch import scratch_folder\n"
        f"with scratch_folder(Path({str(tmp_path)!r}), '.wheels-') as folder:\n"
        "    (folder / 'half').write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    [left] = tmp_path.iterdir()
    with scratch_folder(tmp_path, ".other-"):
        assert left.is_dir()
    with scratch_folder(tmp_path, ".wheels-") as first:
        assert not left.exists()
        with scratch_folder(tmp_path, ".wheels-") as second:
            assert first.is_dir() and second.is_dir() and first != second
    assert list(tmp_path.iterdir()) == []


def test_other_things_are_not_swept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / ".wheels-link").symlink_to(kept)
    (tmp_path / ".wheels-file").write_text("mine")
    sweep(tmp_path, ".wheels-")
    assert kept.is_dir() and len(list(tmp_path.iterdir())) == 3


def test_one_at_a_time(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with alone(tmp_path):
        assert not lock_descriptor(descriptor, blocking=False)
    assert lock_descriptor(descriptor, blocking=False)
    os.close(descriptor)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a file")
    for out in (file, file / "dist"):
        line = f"^{out}: .*; --out chooses another$"
        with pytest.raises(UserError, match=line), scratch_beside(out):
            raise AssertionError("it cannot be made")
