"""Raise the revision of every series whose text has changed, and record the new text's sha256.

A series' text is what its wheels carry of it: the file `series` and the patches that it names.
`patches/revisions.toml` holds a list for each series, the first revision's sha256 first: that of
the output of `sha256sum series $(cat series)` in its folder. What has been committed there stays.
So two texts never share a number, and a number rises for a new text alone. The change itself a
person describes in CHANGELOG.md, below the heading that this script writes there.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import re
import sys
import textwrap
import tomllib
from pathlib import Path

import tomlkit
from errors import UserError, one_line, run_main
from fetch import file_sha256
from packaging.version import Version
from patch_steps import today
from releases_table import PATCHES, Series, load_all_series, replace_file
from repository import git

# The sha256 of each revision's text by series, the first revision's first.
Record = dict[str, list[str]]

_HEADER = """\
The sha256 of the text of each revision of a series, the first revision's first. Written by
scripts/revisions.py, never by hand; run `nox -s revisions` when a series has changed. A line that
has been committed stays as it is."""
_SERIES = r"v\d[\w.]*\w"
_REVISION = re.compile(rf"[Rr]evision (\d+) of ({_SERIES}(?:(?:, | and ){_SERIES})*)")


def text_sha256(series: Series) -> str:
    """Return the sha256 of a series' text; raise `UserError` if a patch is missing."""
    paths = [series.path / "series", *series.patches()]
    rows = "".join(f"{file_sha256(path)}  {path.name}\n" for path in paths)
    return hashlib.sha256(rows.encode()).hexdigest()


def parse(text: str, origin: str) -> Record:
    """Read the text of a `revisions.toml`; raise `UserError`, which names `origin`, if wrong."""
    try:
        record = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{origin}: {error}") from None
    for name, digests in record.items():
        if not isinstance(digests, list) or not digests:
            raise UserError(f"{origin}: {name} is not a list of revisions")
        if not all(isinstance(d, str) and re.fullmatch("[0-9a-f]{64}", d) for d in digests):
            raise UserError(f"{origin}: {name} holds what is not a sha256")
    return record


def load(patches: Path) -> Record:
    """Return what `revisions.toml` in the folder `patches` holds; no file holds nothing."""
    path = patches / "revisions.toml"
    return parse(path.read_text("utf-8"), str(path)) if path.is_file() else {}


def committed(patches: Path) -> list[tuple[str, Record]]:
    """Return what was committed to `revisions.toml`, newest first, as (commit, record).

    As far as the history goes: a shallow clone has less of it, and a folder that is in no
    repository none. Side branches are left out: a number counts when it is merged.
    """

    def run(*arguments: str) -> str:
        # The folder may lie deep in a repository, and in CI belong to another user.
        options = ("-c", "safe.directory=*")
        return git(patches.resolve(), *options, *arguments, GIT_CEILING_DIRECTORIES="")

    try:
        run("rev-parse", "--verify", "HEAD")
    except UserError:
        return []
    log = ["log", "--first-parent", "--format=%H", "--diff-filter=AM", "--", "revisions.toml"]
    texts = [(commit, run("show", f"{commit}:./revisions.toml")) for commit in run(*log).split()]
    return [(c, parse(text, f"revisions.toml of commit {c[:12]}")) for c, text in texts]


def sections(changelog: str) -> dict[tuple[str, int], str]:
    """Return what a changelog says of each revision, by series and number.

    It is the list in the section that begins with "Revision N of SERIES, SERIES": empty if there
    is none yet.
    """
    found: dict[tuple[str, int], str] = {}
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        head, _, rows = section.partition("\n- ")
        for number, names in _REVISION.findall(one_line(head)):
            for name in re.findall(_SERIES, names):
                found[name, int(number)] = rows.strip()
    return found


def _disorder(series: Series, digests: list[str]) -> str | None:
    """Return what is wrong with the revision of a series, the recorded texts being `digests`."""
    digest, revision, count = text_sha256(series), series.revision, len(digests)
    if revision == count:
        return None if digests[-1] == digest else f"changed but its revision is still {revision}"
    if revision > count + 1:
        return f"skips from revision {count} to {revision}"
    if revision < count:
        return f"is at revision {revision}, though {count} are recorded"
    if digests and digests[-1] == digest:
        return f"is at revision {revision} with the text of revision {count}"
    return f"is at revision {revision}, which is not recorded"


def problems(
    series: list[Series], record: Record, history: list[tuple[str, Record]], changelog: str
) -> list[str]:
    """Return what is wrong with the revisions, one line each: none if all is well.

    `history` is what `committed` returns.
    """
    found = []
    described = sections(changelog)
    silent: dict[int, list[str]] = {}
    for one in series:
        digests = record.get(one.name, [])
        if disorder := _disorder(one, digests):
            found.append(f"series {one.name} {disorder}: run 'nox -s revisions'")
        if any(a == b for a, b in itertools.pairwise(digests)):
            found.append(f"revisions.toml: two revisions of {one.name} in a row have one text")
        if not described.get((one.name, one.revision)):
            silent.setdefault(one.revision, []).append(one.name)
    for number, names in silent.items():
        found.append(
            f"CHANGELOG.md does not say what revision {number} of {', '.join(names)} changes: list"
            " it there"
        )
    for name, number in described:
        if number > len(record.get(name, [])):
            found.append(f"CHANGELOG.md has revision {number} of {name}, which does not exist")
    for name in {name for _, old in history for name in old}:
        for commit, old in history:
            digests = old.get(name, [])
            if record.get(name, [])[: len(digests)] != digests:
                found.append(
                    f"revisions.toml: {name} lacks revisions that commit {commit[:12]} has: they"
                    " stay as they are; run 'nox -s revisions'"
                )
                break
    return found


def raised(series: list[Series], record: Record, history: list[tuple[str, Record]]) -> Record:
    """Return the record with the present text of every series as its last revision.

    What has been committed stays. A number that has not been may still change its text; where
    there is no history, none may.
    """
    fixed = history[0][1] if history else record
    new = record | fixed
    for one in series:
        digests, digest = fixed.get(one.name, []), text_sha256(one)
        new[one.name] = digests if digests and digests[-1] == digest else [*digests, digest]
    return dict(sorted(new.items(), key=lambda item: Version(item[0].removeprefix("v"))))


def render(record: Record) -> str:
    """Return the text of `revisions.toml`."""
    document = tomlkit.document()
    for line in _HEADER.splitlines():
        document.add(tomlkit.comment(line))
    for name, digests in record.items():
        document.add(name, tomlkit.item(digests).multiline(True))
    return tomlkit.dumps(document)


def with_heading(changelog: str, record: Record) -> str:
    """Return a changelog with a new section, still empty, for revisions that it does not name."""
    numbers: dict[int, list[str]] = {}
    for name, digests in record.items():
        if (name, len(digests)) not in sections(changelog):
            numbers.setdefault(len(digests), []).append(name)
    if not numbers:
        return changelog
    spans = (f"evision {number} of {', '.join(names)}" for number, names in sorted(numbers.items()))
    line = textwrap.fill(f"R{'; r'.join(spans)}.", 116, break_on_hyphens=False)
    before, mark, after = changelog.partition("\n## ")
    return f"{before.rstrip()}\n\n## {today()}\n\n{line}\n{mark}{after}"


def main() -> int:
    """Write the revisions, or check them; return 1 if something is wrong with them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a revision is not in order"
    )
    parser.add_argument(
        "--patches", type=Path, default=PATCHES, help="folder that holds the series"
    )
    options = parser.parse_args()
    patches: Path = options.patches
    path = patches.resolve().parent / "CHANGELOG.md"
    changelog = path.read_text("utf-8") if path.is_file() else "# Changes\n"
    series, record, history = load_all_series(patches), load(patches), committed(patches)
    if options.check:
        found = problems(series, record, history, changelog)
        for problem in found:
            print(f"error: {problem}", file=sys.stderr)
        if not found:
            print(f"{len(series)} revisions in order; commits looked back on: {len(history)}")
        return 1 if found else 0
    new = raised(series, record, history)
    for one in series:
        if one.revision != len(new[one.name]):
            replace_file(one.path / "revision", f"{len(new[one.name])}\n")
            print(f"{one.name}: revision {len(new[one.name])}")
    replace_file(patches / "revisions.toml", render(new))
    replace_file(path, with_heading(changelog, new))
    print(f"recorded in {patches / 'revisions.toml'}; say in {path} what has changed")
    return 0


if __name__ == "__main__":
    run_main(main)
