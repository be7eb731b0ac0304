"""Check the texts of the patches: each where it is needed, none that another could stand in for.

On every distinct text of the files that a series patches, each of its patches must apply, the old
text of every hunk standing exactly once in its file, and leave code in which pyflakes finds no more
than before: no name that is not defined there, no import that is not used. A text is one too
many if another one of its idea applies wherever it is used, and leaves the same files.
"""

from __future__ import annotations

import ast
import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version
from procpool.base.command import step_parser
from procpool.base.errors import UserError
from procpool.catalog.releases import load_releases
from procpool.catalog.series import idea_of, load_all_series
from procpool.patching.patch import name_of, patched_files, split, unnumbered
from procpool.patching.steps import Files, does, pristine_files, read_steps
from pyflakes.checker import Checker


@dataclass(frozen=True)
class Use:
    """One text on one release: the files before and after it, those that differ from pristine."""

    text: Path
    before: Files
    after: Files
    pristine: Files


def uses(patches: Path) -> Iterator[Use]:
    """Yield every use of a text, once for each distinct text of the files that its series patches.

    Raise `UserError` that names the release, the patch and the hunk where one does not apply.
    """
    releases = load_releases(patches).values()
    for series in load_all_series(patches):
        seen: list[Files] = []
        own = [release for release in releases if release.series == series.name]
        if not own or own[0].version != str(series.first):
            raise UserError(f"series {series.name} is not named after the first release it fits")
        names = {name for text in series.patches for name in patched_files(text)}
        for release in own:
            pristine = pristine_files(release, names)
            if pristine in seen:
                continue
            seen.append(pristine)
            try:
                steps = read_steps({idea_of(text): text for text in series.patches}, pristine)
            except UserError as error:
                raise UserError(f"on {release.version}, series {series.name}: {error}") from None
            print(f"{release.version}: series {series.name} applies, {len(steps)} patches")
            states = [{}, *(step.files for step in steps)]
            for text, (before, after) in zip(
                series.patches, itertools.pairwise(states), strict=True
            ):
                yield Use(text, before, after, pristine)


def _flaws_of(code: bytes) -> set[str]:
    """Return what pyflakes has to say of a module, without the places."""
    try:
        messages = Checker(ast.parse(code)).messages
    except SyntaxError as error:
        return {error.msg}
    return {message.message % message.message_args for message in messages}


def flaws(found: Sequence[Use]) -> Iterator[str]:
    """Yield a line for each flaw that pyflakes finds in what a text leaves, and not before it.

    A text applies by what stands around its lines; what they name may be missing all the same.
    """
    read = functools.cache(_flaws_of)
    said: set[tuple[Path, str]] = set()
    for use in found:
        for name, code in use.after.items():
            before = use.before.get(name, use.pristine.get(name))
            if code is None or code == before:
                continue
            for flaw in sorted(read(code) - (read(before) if before else set())):
                if (use.text, flaw) not in said:
                    said.add((use.text, flaw))
                    yield f"{name_of(use.text)} leaves a flaw in {name}: {flaw}"


def could_serve_more(found: Sequence[Use]) -> Iterator[str]:
    """Yield a line for each text that does what a later one of its idea is used for.

    So each release has the oldest text that fits it, and no text stands where another would do.
    """
    texts = sorted({use.text for use in found}, key=lambda text: Version(text.stem))
    said: set[tuple[Path, Path]] = set()
    for use in found:
        for older in texts[: texts.index(use.text)]:
            if idea_of(older) != idea_of(use.text) or (older, use.text) in said:
                continue
            if does(older.read_text("utf-8"), use.before, use.after, use.pristine):
                said.add((older, use.text))
                yield f"{name_of(older)} could stand where {name_of(use.text)} is used"


def shared(found: Sequence[Use]) -> Iterator[str]:
    """Yield a line for each change that stands in the texts of two ideas."""
    diffs: dict[str, Path] = {}
    for text in sorted({use.text for use in found}):
        diff = unnumbered(split(text.read_text("utf-8"))[1])
        if (other := diffs.setdefault(diff, text)) != text:
            yield f"{name_of(text)} is the change of {name_of(other)}"


def unused(patches: Path, found: Sequence[Use]) -> Iterator[str]:
    """Yield a line for each patch in the folders of the ideas that no series names."""
    ideas = {idea_of(use.text) for use in found}
    for path in sorted(path for idea in ideas for path in (patches / idea).iterdir()):
        if path not in {use.text for use in found}:
            yield f"{name_of(path)} is in no series: delete it"


def main(argv: Sequence[str] | None = None) -> int:
    """Check all texts; raise `UserError` that names those that are wrong."""
    parser = step_parser(__doc__)
    options = parser.parse_args(argv)
    found = list(uses(options.patches))
    if problems := [
        *flaws(found),
        *unused(options.patches, found),
        *shared(found),
        *could_serve_more(found),
    ]:
        raise UserError("; ".join(problems))
    texts = {use.text for use in found}
    print(f"{len(texts)} texts, {len(found)} uses: each applies, and is the oldest that fits")
    return 0
