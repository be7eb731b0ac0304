"""Scratch folders that a killed run cannot leave for good, and one writer at a time.

A run holds a lock on its scratch folder, which ends with it however it ends. The next run that
makes one beside it removes those whose lock is free. Locks are flock(2), as `filelock` takes it, on
the folders themselves: no lock file is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import lock_descriptor


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock on an existing folder; wait for it as long as another process does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock_descriptor(descriptor)
        yield
    finally:
        os.close(descriptor)


def sweep(parent: Path, prefix: str) -> None:
    """Remove the scratch folders in `parent` that no living process holds.

    It waits for one that is being made: that is not held yet.
    """
    with alone(parent):
        _sweep(parent, prefix)


def _sweep(parent: Path, prefix: str) -> None:
    """Do what `sweep` does; the caller is alone in `parent`."""
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # another user's, or gone by now
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if lock_descriptor(descriptor, blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a scratch folder in `parent`, and remove it in the end.

    First remove those of the same `prefix` that a killed run has left. Raise `OSError` if `parent`
    cannot be written.
    """
    with alone(parent):
        _sweep(parent, prefix)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).resolve()
        descriptor = os.open(folder, os.O_RDONLY)
        lock_descriptor(descriptor)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)
