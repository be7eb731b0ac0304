"""Carry a change of one series to another, by three-way merges of the patched files.

The files after each patch are merged: the base is what the old patch left here, one side what the
new patch leaves here, the other what the old patch left there. So a later patch that stands on
changed lines comes out on top of them.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from procpool.base.git import git_environment
from procpool.patching.patch import Header, read_header
from procpool.patching.steps import Files, Step, differing


class DoesNotApply(Exception):
    """A change does not apply to another series. Its text names the patch, file and hunk."""


@dataclass(frozen=True)
class _Place:
    """A place in the other series: the patch there, if it has one, and the patch here."""

    old: Step | None = None
    new: Step | None = None
    there: Step | None = None


def merge(base: bytes, ours: bytes, theirs: bytes) -> bytes:
    """Merge two changes of `base` with `git merge-file`; raise `DoesNotApply` if they overlap."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch).resolve()
        for name, content in (("base", base), ("ours", ours), ("theirs", theirs)):
            (root / name).write_bytes(content)
        command = ["git", "merge-file", "--stdout", "--quiet", "ours", "base", "theirs"]
        result = subprocess.run(command, cwd=root, env=git_environment(root), capture_output=True)
    if result.returncode == 0:
        return result.stdout
    if result.returncode > 127:
        raise DoesNotApply("it is not text")
    lines = result.stdout.split(b"\n")
    first = next(i for i, line in enumerate(lines, 1) if line.startswith(b"<<<<<<< "))
    hunks = "a hunk" if result.returncode == 1 else f"{result.returncode} hunks, the first"
    raise DoesNotApply(f"{hunks} at line {first}")


def merge_files(
    base: Files, ours: Files, theirs: Files, here: Files, there: Files
) -> dict[str, bytes | None]:
    """Merge the files of three steps, `here` and `there` being the pristine releases.

    `base` and `theirs` are of the release here, `ours` of the one there. Raises `DoesNotApply`
    that names the file.
    """
    merged = dict(ours)
    for name in {**base, **theirs}:
        before, after = base.get(name, here.get(name)), theirs.get(name, here.get(name))
        own = ours.get(name, there.get(name))
        if before == after or own == after:
            continue
        if own == before:
            merged[name] = after
        elif before is None or after is None or own is None:
            raise DoesNotApply(f"file {name} is not in both releases")
        else:
            try:
                merged[name] = merge(before, own, after)
            except DoesNotApply as error:
                raise DoesNotApply(f"file {name}, {error}") from None
    return differing(merged, there)


def _merge_header(base: Header, ours: Header, theirs: Header) -> Header:
    """Merge the words above a patch; those there stay where those here are not new."""
    if base.undated() == theirs.undated():
        return ours
    texts = (header.undated().text().encode() for header in (base, ours, theirs))
    try:
        return read_header(merge(*texts).decode(), "the merged header")
    except DoesNotApply as error:
        raise DoesNotApply(f"its header, {error}") from None


def _places(old: list[Step], new: list[Step], there: list[Step]) -> Iterator[_Place]:
    """Return the patches of the new series there, in order, with those that are dropped.

    A patch that only that series has follows the one that it follows now.
    """
    olds, news = ({step.idea: step for step in steps} for steps in (old, new))
    order = [step.idea for step in new]
    for number, step in enumerate(old):
        if step.idea not in news:  # dropped: at the place of the one before it
            order.insert(order.index(old[number - 1].idea) + 1 if number else 0, step.idea)
    theirs = {step.idea: step for step in there}
    own: dict[str, list[Step]] = {}
    anchor = ""
    for step in there:
        if step.idea in olds:
            anchor = step.idea
        elif step.idea in news:
            raise DoesNotApply(f"it has a patch {step.idea} of its own")
        else:
            own.setdefault(anchor, []).append(step)
    yield from (_Place(there=step) for step in own.get("", []))
    for name in order:
        yield _Place(olds.get(name), news.get(name), theirs.get(name))
        yield from (_Place(there=step) for step in own.get(name, []))


def carry(
    old: list[Step], new: list[Step], there: list[Step], here: Files, pristine: Files
) -> list[Step]:
    """Return the steps `there` with the change that leads from `old` to `new` here.

    `here` and `pristine` are the pristine releases of the two. Raises `DoesNotApply`.
    """
    common = [s.idea for s in there if s.idea in {step.idea for step in old}]
    if common != [s.idea for s in old if s.idea in common]:
        raise DoesNotApply("it has the patches in another order")
    steps: list[Step] = []
    base: Files = {}
    ours: Files = {}
    theirs: Files = {}
    for place in _places(old, new, there):
        if place.old and place.there is None:
            continue
        base = place.old.files if place.old else base
        theirs = place.new.files if place.new else theirs
        ours = place.there.files if place.there else ours
        step = place.there if place.there and (place.new or not place.old) else place.new
        if step is None:
            continue  # dropped
        header = step.header
        try:
            if place.old and place.new and place.there:
                header = _merge_header(place.old.header, header, place.new.header)
            files = merge_files(base, ours, theirs, here, pristine)
        except DoesNotApply as error:
            raise DoesNotApply(f"patch {step.idea}, {error}") from None
        before = steps[-1].files if steps else {}
        if files == before:
            raise DoesNotApply(f"patch {step.idea}: nothing would be left of it")
        steps.append(replace(step, header=header, files=files))
    return steps
