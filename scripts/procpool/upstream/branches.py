"""Commit the requests in a checkout: a commit for each idea, and after each the one with its tests.

The series is the newest that applies to the base; those of previews are passed over. What upstream
has in a release newer than the base comes first.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from procpool.base.errors import UserError
from procpool.base.files import PATCHES
from procpool.catalog.series import Series, idea_of, load_all_series
from procpool.patching.apply import apply_in_place, apply_patch, content, git_apply
from procpool.patching.fit import why_not
from procpool.patching.patch import Header, name_of, patched_files, read_header
from procpool.upstream.clones import AUTHOR, PACKAGE, commit
from procpool.upstream.gates import NEW_TESTS, git
from procpool.upstream.requests import (
    Request,
    added_tests,
    header_of,
    load_requests,
    texts_by_idea,
)
from procpool.upstream.weave import weave


def final_series(patches: Path = PATCHES) -> list[Series]:
    """Return the series of final releases, newest first."""
    return [series for series in reversed(load_all_series(patches)) if not series.preview]


def split_series(series: Series) -> tuple[list[Path], list[Path]]:
    """Return the patches of a series that upstream has in some release, and the others.

    The header says so: DEP-3, Applied-Upstream.
    """
    ours: list[Path] = []
    theirs: list[Path] = []
    for text in series.patches:
        header = read_header(text.read_text("utf-8"), name_of(text))
        (theirs if header.field("Applied-Upstream") else ours).append(text)
    return theirs, ours


@dataclass(frozen=True)
class Plan:
    """What is committed: first what upstream has, but not in this base, then the requests.

    `texts` maps the ideas of the requests to patch files, in the order of the series; `there` are
    the ideas that this base has, `ideas` all that upstream has not, in that order too.
    """

    first: list[Path]
    texts: dict[str, Path]
    there: set[str]
    ideas: list[str]
    requests: list[Request]


def make_plan(tree: Path, base: str, patches: Path, number: int | None) -> Plan:
    """Return what is committed on `base`, whose package is in `tree`, up to request `number`.

    Raises `UserError` that names the base, and the hunk that stopped the newest series.
    """
    reasons = []
    for series in final_series(patches):
        theirs, ours = split_series(series)
        ideas = [idea_of(text) for text in ours]
        wanted = choose(load_requests(patches, ideas), number)
        chosen = {idea for request in wanted for idea in request.ideas}
        texts = [text for text in ours if idea_of(text) in chosen]
        first = [p for p in theirs if git_apply(tree, p, "--reverse", "--check").returncode != 0]
        if (reason := why_not(tree, [*first, *texts])) is None:
            print(f"{len(texts)} patches of series {series.name}", flush=True)
            for patch in first:
                print(f"first, as upstream has it in a later release: {idea_of(patch)}", flush=True)
            there = {idea_of(text) for text in theirs if text not in first}
            return Plan(first, texts_by_idea(texts), there, ideas, wanted)
        reasons.append(f"series {series.name}: {reason}")
    raise UserError(f"base {base}: {reasons[0]}; the clone is as it was")


def choose(requests: Sequence[Request], number: int | None) -> list[Request]:
    """Return the requests up to that number, counted from 1, or all; those that bring anything.

    Raises `UserError` if there is no such request, or upstream has all of it.
    """
    wanted = [request for request in requests if number is None or request.number <= number]
    left = [request for request in wanted if request.ideas]
    if number is not None and not 1 <= number <= len(requests):
        raise UserError(f"--request {number}: give a number from 1 to {len(requests)}")
    if not left or (number is not None and left[-1].number != number):
        raise UserError(f"--request {number or 'all'}: upstream has all of it")
    return left


class NewTests:
    """The new tests in a checkout, to which those of one idea after the other are added."""

    def __init__(self, checkout: Path, plan: Plan, patches: Path) -> None:
        """Raises `UserError` if an idea of the plan has no tests."""
        self.path, self.patches = checkout / NEW_TESTS, patches
        tested = [
            idea for idea in plan.there if (patches / "upstream-tests" / f"{idea}.patch").exists()
        ]
        self.done = set(tested)
        # of all ideas: the tests of one stand among those of the others, of later requests too
        self.woven = weave([added_tests(i, patches) for i in [*tested, *plan.ideas]], NEW_TESTS)

    def add(self, idea: str) -> None:
        """Add the tests of an idea; raise `UserError` if they don't fit what upstream has made of
        the others.
        """
        have = self.path.read_text("utf-8") if self.path.exists() else ""
        fits = have == self.woven.text(self.done)
        self.done.add(idea)
        if fits:
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text(self.woven.text(self.done), "utf-8")
        else:
            apply_patch(self.path.parents[1], added_tests(idea, self.patches))


def message(header: Header) -> str:
    """Return the message of the commit of a patch."""
    return f"{header.subject}\n\n{header.body}".rstrip("\n") + "\n"


def build(checkout: Path, plan: Plan, patches: Path, who: Mapping[str, str] | None) -> list[str]:
    """Commit a plan in a checkout; return the commit below the requests, and that of each.

    `who` is whose the commits are, for git's environment; None: those that the patches name. The
    requests need not have the order of the series: what their patches make of the package must be
    the same. Raises `UserError` if it is not, or a patch does not apply.
    """
    package = checkout / PACKAGE
    tests = NewTests(checkout, plan, patches)
    files = {name for text in plan.texts.values() for name in patched_files(text)}
    in_order = checkout.with_name("in-order")
    shutil.copytree(package / "livekit", in_order / "livekit")
    apply_in_place(in_order, [*plan.first, *plan.texts.values()])

    def add(patch: Path, below: str) -> str:
        header = header_of(patch)
        paths = [f"{below}{name}" for name in patched_files(patch)]
        mine = AUTHOR.fullmatch(header.author)
        named = {"GIT_AUTHOR_NAME": mine[1], "GIT_AUTHOR_EMAIL": mine[2]} if mine else {}
        commit(checkout, paths, message(header), header.date, who or named)
        return git(checkout, "rev-parse", "HEAD")

    tip = git(checkout, "rev-parse", "HEAD")
    for patch in plan.first:
        apply_patch(package, patch)
        tip = add(patch, f"{PACKAGE}/")
    tips = [tip]
    for request in plan.requests:
        for idea in request.ideas:
            apply_patch(package, plan.texts[idea])
            add(plan.texts[idea], f"{PACKAGE}/")
            tests.add(idea)
            tip = add(added_tests(idea, patches), "")
        tips.append(tip)
    for name in files:
        if content(package / name) != content(in_order / name):
            raise UserError(
                f"{name} is another file when the requests are applied in their order:"
                " see the order of the ideas in requests.toml"
            )
    shutil.rmtree(in_order)
    return tips
