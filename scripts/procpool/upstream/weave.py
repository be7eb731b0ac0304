"""Weave patches of one file: what the file holds when only some of them are applied.

Patches that add to the end of one file each have the lines of the one before as context, so git
takes them in one order only. Here each line knows which patch brought it and which took it away, so
that any choice of patches can be read off, as long as what a patch needs is chosen with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from procpool.base.errors import UserError
from procpool.patching.patch import name_of, read_diff


@dataclass
class _Line:
    """A line, with its end, and the ideas that brought it and took it away."""

    text: str
    brought_by: str
    taken_by: str | None = None


@dataclass(frozen=True)
class Weave:
    """The lines of one file: all that any of the patches brought, in their order."""

    lines: tuple[_Line, ...]

    def text(self, ideas: Collection[str]) -> str:
        """Return what the file holds with the patches of these ideas."""
        return "".join(
            line.text
            for line in self.lines
            if line.brought_by in ideas and line.taken_by not in ideas
        )


def weave(patches: Sequence[Path], name: str) -> Weave:
    """Return the weave of `patches`, in the order in which git takes them.

    They may change the file `name` only, a path as in the diff, which the first of them adds.
    Raises `UserError` that names the patch and line that do not fit, or another file.
    """
    lines: list[_Line] = []
    for patch in patches:
        for file in read_diff(patch):
            if file.path != name:
                raise UserError(f"{name_of(patch)} changes {file.path}: keep it to {name}")
            present = [number for number, line in enumerate(lines) if line.taken_by is None]
            # from the last hunk to the first, so that the numbers of the earlier ones stay
            for hunk in reversed(list(file)):
                # counted from 1; a hunk of no old lines says after which it goes
                at = hunk.source_start - (1 if hunk.source_length else 0)
                for changed in hunk:
                    index = present[at] if at < len(present) else len(lines)
                    if changed.is_added:
                        lines.insert(index, _Line(changed.value, idea_of_tests(patch)))
                        present[at:] = [index, *(number + 1 for number in present[at:])]
                        at += 1
                        continue
                    if at >= len(present) or lines[index].text != changed.value:
                        raise UserError(f"{name_of(patch)} does not fit {name}, line {at + 1}")
                    if changed.is_removed:
                        lines[index].taken_by = idea_of_tests(patch)
                        del present[at]
                    else:
                        at += 1
    return Weave(tuple(lines))


def idea_of_tests(patch: Path) -> str:
    """Return the idea that the tests in `patch`, `upstream-tests/<idea>.patch`, are for."""
    return patch.stem
