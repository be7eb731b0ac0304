"""The pull requests: which ideas each brings, what each costs, and the text of each.

`patches/requests.toml` is the one table of them, `patches/requests/NAME.md` the prose of each. Of
PR_DESCRIPTION.md a request takes the list items that start with a mark, `<!-- IDEA -->`, of one of
its own ideas. The rest of a text is computed: what each commit says, its lines, what was measured.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.catalog.series import idea_of
from procpool.patching.patch import Header, name_of, read_diff, read_header

# The longest title, in characters: what GitHub shows of a subject without cutting it.
TITLE_LENGTH = 72
# What the prose of a request holds, beside its title and reproduction.
_SECTIONS = ("What breaks", "What to look at first", "Left out, and why")
# The fields of a header that only this project needs.
_OWN_FIELDS = ("Forwarded", "Last-Update")
_SCRIPT = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DESCRIPTION = ROOT / "PR_DESCRIPTION.md"


@dataclass(frozen=True)
class Request:
    """A pull request: a row of the table, and its prose.

    `number` counts from 1 to `of`. `before` and `after` are regular expressions for the last line
    that `script` prints without and with it. `sections` maps headings to texts in Markdown.
    """

    number: int
    of: int
    name: str
    ideas: tuple[str, ...]
    before: str
    after: str
    max_lines: int | None
    title: str
    script: str
    sections: Mapping[str, str] = field(repr=False)

    @property
    def branch(self) -> str:
        """The branch that it comes as."""
        return f"fix/{self.name}"

    def __str__(self) -> str:
        return f"request {self.number} of {self.of}"


@dataclass(frozen=True)
class Lines:
    """How many lines a diff adds and removes."""

    added: int = 0
    removed: int = 0

    def __add__(self, other: Lines) -> Lines:
        return Lines(self.added + other.added, self.removed + other.removed)

    def __str__(self) -> str:
        return f"+{self.added} −{self.removed}"  # noqa: RUF001

    @property
    def changed(self) -> int:
        """Both together."""
        return self.added + self.removed


def lines_of(patches: Iterable[Path]) -> Lines:
    """Return how many lines these patch files add and remove; `UserError` if one is damaged."""
    files = [file for patch in patches for file in read_diff(patch)]
    return Lines(sum(file.added for file in files), sum(file.removed for file in files))


def added_tests(idea: str, patches: Path) -> Path:
    """Return the patch that adds the tests of an idea; raise `UserError` if there is none."""
    tests = patches / "upstream-tests" / f"{idea}.patch"
    if not tests.is_file():
        raise UserError(f"{idea} has no tests for upstream: {tests} is missing")
    return tests


def header_of(patch: Path) -> Header:
    """Return the header of a patch file without the fields that only this project needs."""
    return read_header(patch.read_text("utf-8"), name_of(patch)).without_fields(*_OWN_FIELDS)


def reproduction(text: str) -> str:
    """Return the one Python script in a Markdown text, empty if there is none."""
    found = _SCRIPT.search(text)
    return found[1] if found else ""


def _read_prose(path: Path) -> tuple[str, str, dict[str, str]]:
    """Return title, script and sections of a request's prose.

    A request without a script of its own has that of PR_DESCRIPTION.md. Raises `UserError` that
    names the file and what it lacks.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: requests.toml names the request {path.stem}")
    text = path.read_text("utf-8")
    title = text.partition("\n")[0].removeprefix("# ")
    if not re.fullmatch(r"(fix|feat|perf)\([a-z]+\): \S.*", title) or len(title) > TITLE_LENGTH:
        raise UserError(
            f"{path}: the title is {title!r}: make it 'fix(ipc): …', of at most {TITLE_LENGTH}"
            " characters"
        )
    script = reproduction(text) or reproduction(_DESCRIPTION.read_text("utf-8"))
    parts = re.split(r"^## (.*)\n", _SCRIPT.sub("", text), flags=re.MULTILINE)[1:]
    sections = {
        heading: body.strip() for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }
    for heading in _SECTIONS:
        if not sections.get(heading):
            raise UserError(f"{path} has no section '## {heading}': write it")
    return title, script, sections


def load_requests(patches: Path, ideas: Sequence[str]) -> list[Request]:
    """Return the requests in order, each with those of `ideas` that it brings.

    `ideas` are those of a series that upstream does not have; requests of which nothing is left
    keep their number, and have no ideas. Raises `UserError` if the table is damaged, or an idea is
    in none of the requests or in two.
    """
    table = patches / "requests.toml"
    try:
        rows = tomllib.loads(table.read_text("utf-8"))["requests"]
        listed = [idea for row in rows for idea in row["ideas"]]
        for idea in dict.fromkeys([*ideas, *listed]):
            if (count := listed.count(idea)) != 1:
                raise UserError(f"{table}: {idea} is in {count} requests: put it into one")
        found = []
        for number, row in enumerate(rows, 1):
            title, script, sections = _read_prose(patches / "requests" / f"{row['name']}.md")
            brought = tuple(idea for idea in row["ideas"] if idea in ideas)
            rule = (row["before"], row["after"], row.get("max_lines"))
            found.append(
                Request(number, len(rows), row["name"], brought, *rule, title, script, sections)
            )
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise UserError(f"{table} is damaged: {error}") from None
    return found


def items_of(section: str, ideas: Iterable[str]) -> str:
    """Return the list items of a section of PR_DESCRIPTION.md that are marked with these ideas."""
    text = _DESCRIPTION.read_text("utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    items = re.split(r"^(?=- )", text, flags=re.MULTILINE)[1:]
    marks = {f"- <!-- {idea} --> " for idea in ideas}
    kept = [item for item in items if item.startswith(tuple(marks))]
    return "".join(re.sub(r"<!-- [a-z-]+ --> ?", "", item).rstrip() + "\n" for item in kept)


def cost(request: Request, texts: Mapping[str, Path], patches: Path) -> tuple[Lines, Lines]:
    """Return the lines of a request: those of its code, and those of its tests.

    `texts` maps ideas to patch files. Raises `UserError` for an idea without tests.
    """
    code = lines_of(texts[idea] for idea in request.ideas)
    return code, lines_of(added_tests(idea, patches) for idea in request.ideas)


def over_limit(request: Request, texts: Mapping[str, Path], patches: Path) -> str:
    """Return how a request is longer than its `max_lines`, empty if it is not or there is none."""
    code, tests = cost(request, texts, patches)
    if request.max_lines is None or (lines := code.changed + tests.changed) <= request.max_lines:
        return ""
    return (
        f"{request} has {lines} changed lines, {code.changed} of code and {tests.changed} of tests:"
        f" {lines - request.max_lines} more than requests.toml allows"
    )


def table_of(requests: Iterable[Request], texts: Mapping[str, Path], patches: Path) -> str:
    """Return the table of the requests in Markdown: what each brings, and its lines."""
    rows = ["| | request | ideas | code | tests |", "| --- | --- | --- | --- | --- |"]
    for request in requests:
        code, tests = cost(request, texts, patches)
        ideas = ", ".join(f"`{idea}`" for idea in request.ideas)
        rows.append(f"| {request.number} | {request.title} | {ideas} | {code} | {tests} |")
    return "\n".join(rows) + "\n"


def _commit(idea: str, texts: Mapping[str, Path], patches: Path) -> str:
    """Return what the commits of an idea are about, as a list item in Markdown. Their messages say
    why, and GitHub shows those."""
    files = ", ".join(f"`{Path(file.path).name}`" for file in read_diff(texts[idea]))
    lines, tests = lines_of([texts[idea]]), lines_of([added_tests(idea, patches)])
    return f"- {header_of(texts[idea]).subject} ({files} {lines}, its test {tests})"


def unwrapped(text: str) -> str:
    """Return Markdown with each paragraph and each list item in one line.

    In a pull request GitHub shows the end of a line as one, other than in a file. Code stays.
    """
    lines: list[str] = []
    code = False
    for line in text.split("\n"):
        fence = line.startswith("```")
        begins = code or fence or not line or line.startswith(("#", "- ", "|", "<"))
        if begins or not lines or not lines[-1] or lines[-1].startswith(("```", "#")):
            lines.append(line)
        else:
            lines[-1] += f" {line.strip()}"
        code ^= fence
    return "\n".join(lines)


def text_of(
    request: Request,
    texts: Mapping[str, Path],
    patches: Path,
    *,
    below: Request | None,
    base: str,
    remarks: Mapping[str, str],
) -> str:
    """Return the text of a pull request in Markdown.

    `texts` maps ideas to patch files; `below` is the request that it is stacked on, `base` says
    which commit all was run on, and `remarks` maps each gate that ran to what it found.
    """
    bugs = sorted({header_of(texts[idea]).field("Bug") for idea in request.ideas})
    issues = " and ".join(
        re.sub(r"https://github.com/(.+)/issues/(\d+)", r"\1#\2", bug) for bug in bugs
    )
    about = f"Request {request.number} of {request.of} for {issues}."
    about += (
        f" It is stacked on request {below.number} (`{below.branch}`), whose commits come first"
        " here until that is merged. It needs nothing of the requests after it."
        if below
        else " It needs nothing of the others, which are stacked on it."
    )
    code, tests = cost(request, texts, patches)
    files = {str(file.path) for idea in request.ideas for file in read_diff(texts[idea])}
    parts = [
        about,
        "## What breaks",
        request.sections["What breaks"],
        f"To see it, run this without and with the change:\n\n```python\n{request.script}```",
        f"On {base}: {remarks['reproduction']}." if "reproduction" in remarks else "",
        "## The change",
        "Commit by commit, each with its test; the messages say why.\n\n"
        + "\n".join(_commit(idea, texts, patches) for idea in request.ideas),
        "## What it guarantees",
        items_of("Guarantees", request.ideas).strip(),
        "## Risk and compatibility",
        items_of("Risk and compatibility", request.ideas).strip(),
        "## What it costs",
        f"{code} lines of code in {len(files)} {'file' if len(files) == 1 else 'files'}, {tests}"
        f" lines of tests: {code.changed + tests.changed} changed lines.",
        *(
            part
            for heading in _SECTIONS[1:]
            for part in (f"## {heading}", request.sections[heading])
        ),
        "## How it was tested",
        f"On {base}, each check as upstream's makefile runs it:\n\n"
        + "\n".join(f"- {name}: {remark}" for name, remark in remarks.items() if remark),
    ]
    # a heading whose text is empty is left out
    kept = [
        part
        for number, part in enumerate(parts)
        if part and not (part.startswith("## ") and not parts[number + 1 : number + 2][0])
    ]
    return unwrapped("\n\n".join(kept)) + "\n"


def texts_by_idea(patches: Iterable[Path]) -> dict[str, Path]:
    """Return the texts of a series by their ideas."""
    return {idea_of(text): text for text in patches}
