"""The reading of README's recipes."""

from datetime import datetime, timedelta

import pytest
from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.catalog.releases import get_release
from procpool.checks.consumers import RECIPES
from procpool.checks.recipes import Recipe, check_recipes, read_recipes
from procpool.checks.starters import AS_OF, RELEASE

README = """\
# A project

```sh
this is no recipe
```

<!-- recipe: one -->
```sh
first
second
```

<!-- recipe: two-b -->

```toml
[tool]
```
"""


def test_recipes_are_read_as_they_stand() -> None:
    assert read_recipes(README) == {
        "one": Recipe("one", "sh", "first\nsecond\n"),
        "two-b": Recipe("two-b", "toml", "[tool]\n"),
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("two-b", "one", "two recipes one"),
        ("second\n", "2\n3\n4\n5\n6\n7\n8\n9\n10\n", "recipe one has more than 9 lines"),
        ("<!-- recipe: one -->\n", "<!-- recipe: one -->\ntext\n", "no fenced block"),
        ("[tool]\n```", "[tool]\n", "no fenced block"),
        ("recipe: one", "recipe: One", "no fenced block"),
    ],
)
def test_a_marker_needs_one_short_block(old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_recipes(README.replace(old, new))


def test_every_recipe_is_proved_with_this_revision() -> None:
    recipes = {"a": Recipe("a", "sh", "pip install x==1.5.11+procpool.2")}
    check_recipes(recipes, {"a"}, "1.5.11+procpool.2")
    with pytest.raises(UserError, match=r"recipe a installs 1\.5\.11\+procpool\.2, but"):
        check_recipes(recipes, {"a"}, "1.5.11+procpool.3")
    for wanted in ({"a", "b"}, set[str]()):
        with pytest.raises(UserError, match=r"same recipes: [ab]$"):
            check_recipes(recipes, wanted, "1.5.11+procpool.2")


def test_readme_has_the_recipes_of_the_checks() -> None:
    release, series = get_release(RELEASE)
    recipes = read_recipes((ROOT / "README.md").read_text("utf-8"))
    check_recipes(recipes, RECIPES, f"{release.version}+{series.local_version}")
    # a day after the release's own is over
    day = datetime.fromisoformat(release.uploaded).date() + timedelta(days=2)
    assert f"{day}T00:00:00Z" == AS_OF
    assert all(AS_OF in recipes[name].text for name in ("new-pip", "new-uv"))
