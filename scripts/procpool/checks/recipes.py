"""README's recipes: what stands there to be copied, read as it stands.

A recipe is a fenced block of README.md behind a comment such as `<!-- recipe: uv -->`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from procpool.base.errors import UserError

_MARKER = "<!-- recipe:"
_RECIPE = re.compile(r"^<!-- recipe: ([a-z-]+) -->\n\n?```(\w*)\n(.*?)^```$", re.M | re.S)
_MOST_LINES = 9


@dataclass(frozen=True)
class Recipe:
    """A fenced block of README.md: its name, its language (such as sh, or empty), its text."""

    name: str
    language: str
    text: str


def read_recipes(text: str) -> dict[str, Recipe]:
    """Return the recipes of a Markdown text by name.

    Raise `UserError` for a marker without a block, a name that comes twice, or a long recipe.
    """
    recipes: dict[str, Recipe] = {}
    for found in _RECIPE.finditer(text):
        recipe = Recipe(*found.groups())
        if recipe.name in recipes:
            raise UserError(f"there are two recipes {recipe.name}: rename one")
        if len(recipe.text.splitlines()) - recipe.text.count("\n\n") > _MOST_LINES:
            raise UserError(f"recipe {recipe.name} has more than {_MOST_LINES} lines: shorten it")
        recipes[recipe.name] = recipe
    if text.count(_MARKER) != len(recipes):
        raise UserError(f"a '{_MARKER} NAME -->' has no fenced block after it: add one")
    return recipes


def check_recipes(recipes: dict[str, Recipe], wanted: set[str], patched: str) -> None:
    """Raise `UserError` unless the recipes are the `wanted` ones, and name the version `patched`.

    So no recipe stays unproved, and none keeps an older revision of the patches.
    """
    if odd := sorted(wanted ^ set(recipes)):
        raise UserError(f"README.md and the checks do not have the same recipes: {', '.join(odd)}")
    for recipe in recipes.values():
        for found in re.findall(r"[\d.]+\+procpool\.\d+", recipe.text):
            if found != patched:
                raise UserError(
                    f"recipe {recipe.name} installs {found}, but 'nox -s wheel' builds {patched}:"
                    " change README.md"
                )
