"""Raise the revision of every series whose code has changed, and record the new code's sha256.

A series' code is what its patches make of the first release that it fits, which never changes: the
sha256 that is recorded is that of the output of `sha256sum` on the patched files, in the order of
their paths, before they are marked as changed. Words in a header, a patch that is split in two, or
a text that one more release shares change no code, and raise no number.

`patches/revisions.toml` holds a list for each series, the first revision's sha256 first; the number
of a revision is its place there. What has been committed stays. The change itself a person
describes in CHANGELOG.md, below the heading that this step writes there.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tomlkit
from packaging.version import Version
from procpool.base.command import step_parser
from procpool.base.errors import UserError, one_line
from procpool.base.files import replace_file
from procpool.base.git import git
from procpool.base.source_date import today
from procpool.catalog.releases import load_releases
from procpool.catalog.series import (
    Record,
    Series,
    idea_of,
    load_all_series,
    load_revisions,
    parse_revisions,
)
from procpool.patching.patch import patched_files
from procpool.patching.steps import pristine_files, read_steps

_HEADER = """\
The sha256 of the code of each revision of a series, the first revision's first; the place of a row
is the revision's number. Written by `nox -s revisions`, never by hand. A row that has been
committed stays as it is."""
_SERIES = r"v\d[\w.]*\w"
_REVISION = re.compile(rf"[Rr]evision (\d+) of ({_SERIES}(?:(?:, | and ){_SERIES})*)")


def code_sha256(series: Series, patches: Path) -> str:
    """Return the sha256 of a series' code.

    Raise `UserError` if the release that it is named after is not in the table, cannot be fetched,
    or is not what the patches apply to.
    """
    releases = load_releases(patches)
    if str(series.first) not in releases:
        raise UserError(f"series {series.name} is named after a release that is not supported")
    names = {name for text in series.patches for name in patched_files(text)}
    pristine = pristine_files(releases[str(series.first)], names)
    files = read_steps({idea_of(text): text for text in series.patches}, pristine)[-1].files
    rows = (f"{hashlib.sha256(code or b'').hexdigest()}  {name}\n" for name, code in files.items())
    return hashlib.sha256("".join(rows).encode()).hexdigest()


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
    return [(c, parse_revisions(text, f"revisions.toml of commit {c[:12]}")) for c, text in texts]


def _parts(changelog: str) -> Iterator[tuple[str, list[tuple[str, int]], str]]:
    """Yield of each section of a changelog its head, the revisions that this names, its list."""
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        head, _, rows = section.partition("\n- ")
        of = _REVISION.findall(one_line(head))
        named = [(name, int(number)) for number, names in of for name in re.findall(_SERIES, names)]
        yield one_line(head), named, rows.strip()


def sections(changelog: str) -> dict[tuple[str, int], str]:
    """Return what a changelog says of each revision, by series and number.

    It is the list in the section that begins with "Revision N of SERIES, SERIES": empty if there
    is none yet.
    """
    return {one: rows for _, named, rows in _parts(changelog) for one in named}


def problems(
    code: Mapping[str, str],
    record: Record,
    history: list[tuple[str, Record]],
    changelog: str,
) -> list[str]:
    """Return what is wrong with the revisions, one line each: none if all is well.

    `code` is the sha256 of each series' present code, `history` what `committed` returns.
    """
    found = []
    described = sections(changelog)
    silent: dict[int, list[str]] = {}
    for name, digest in code.items():
        digests = record.get(name, [])
        if not digests or digests[-1] != digest:
            found.append(f"the code of series {name} is not recorded: run 'nox -s revisions'")
        if any(a == b for a, b in itertools.pairwise(digests)):
            found.append(f"revisions.toml: two revisions of {name} in a row have one code")
        if digests and not described.get((name, len(digests))):
            silent.setdefault(len(digests), []).append(name)
    for number, names in silent.items():
        found.append(
            f"CHANGELOG.md does not say what revision {number} of {', '.join(names)} changes: list"
            " it there"
        )
    for head, named, rows in _parts(changelog):
        if named and not rows and not all(name in silent.get(number, []) for name, number in named):
            found.append(f"CHANGELOG.md has a section that lists no change: {head}")
    for name, number in described:
        if number > len(record.get(name, [])):
            found.append(f"CHANGELOG.md has revision {number} of {name}, which does not exist")
    for name in sorted({name for _, old in history for name in old}):
        for commit, old in history:
            digests = old.get(name, [])
            if record.get(name, [])[: len(digests)] != digests:
                found.append(
                    f"revisions.toml: {name} lacks revisions that commit {commit[:12]} has: they"
                    " stay as they are; run 'nox -s revisions'"
                )
                break
    return found


def raised(
    code: Mapping[str, str], record: Record, history: list[tuple[str, Record]]
) -> dict[str, list[str]]:
    """Return the record with the present code of every series as its last revision.

    What has been committed stays. A number that has not been may still change its code; where
    there is no history, none may.
    """
    fixed = history[0][1] if history else record
    new = dict(record) | fixed
    for name, digest in code.items():
        digests = fixed.get(name, [])
        new[name] = digests if digests and digests[-1] == digest else [*digests, digest]
    return dict(sorted(new.items(), key=lambda row: Version(row[0])))


def render(record: Record) -> str:
    """Return the text of `revisions.toml`."""
    document = tomlkit.document()
    for line in _HEADER.splitlines():
        document.add(tomlkit.comment(line))
    table = tomlkit.table()
    for name, digests in record.items():
        table.add(name, tomlkit.item(digests).multiline(True))
    document.add("series", table)
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


def main(argv: Sequence[str] | None = None) -> int:
    """Write the revisions, or check them; return 1 if something is wrong with them."""
    parser = step_parser(__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a revision is not in order"
    )
    options = parser.parse_args(argv)
    patches: Path = options.patches
    path = patches.resolve().parent / "CHANGELOG.md"
    changelog = path.read_text("utf-8") if path.is_file() else "# Changes\n"
    code = {one.name: code_sha256(one, patches) for one in load_all_series(patches)}
    record, history = load_revisions(patches), committed(patches)
    if options.check:
        found = problems(code, record, history, changelog)
        for problem in found:
            print(f"error: {problem}", file=sys.stderr)
        if not found:
            print(f"{len(code)} revisions in order; commits looked back on: {len(history)}")
        return 1 if found else 0
    new = raised(code, record, history)
    for name in code:
        if new[name] != record.get(name):
            print(f"{name}: revision {len(new[name])}")
    replace_file(patches / "revisions.toml", render(new))
    replace_file(path, with_heading(changelog, new))
    print(f"recorded in {patches / 'revisions.toml'}; say in {path} what has changed")
    return 0
