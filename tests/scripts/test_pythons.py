"""Which Python a release is tested on."""

import pytest
from packaging.version import Version
from procpool.base.errors import UserError
from procpool.base.pythons import choose_python
from procpool.suite.environment import missing_python
from samples import release

PYTHONS = {Version(v): f"/python{v}" for v in ("3.9.18", "3.10.13", "3.12.1", "3.13.0")}


def test_pythons_of_a_release() -> None:
    assert release().pythons == ["3.10", "3.11", "3.12", "3.13"]
    newest = {Version("3.12.1"): "/python3.12.1"}
    assert missing_python(release(), "oldest", newest) == (
        "Python 3.10, the oldest that 1.0.1 supports, is not installed"
    )
    assert missing_python(release(), "3.12", newest) is None
    assert missing_python(release(), "newest", PYTHONS) is None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("newest", "3.13.0"), ("oldest", "3.10.13"), ("3.12", "3.12.1"), ("3.10.13", "3.10.13")],
)
def test_choose_python(wanted: str, expected: str) -> None:
    assert choose_python(">=3.10,<3.15", wanted, PYTHONS) == f"/python{expected}"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("3.9", r"3\.9 is not supported.*nearest.*3\.10\.13"),
        ("3.11", r"3\.11 is not installed.*nearest.*3\.1[02]\."),
        ("3.14", r"3\.14 is not installed.*nearest.*3\.13\.0"),
        ("three", "not a Python version"),
    ],
)
def test_choose_python_names_the_nearest(wanted: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_python(">=3.10,<3.15", wanted, PYTHONS)
    with pytest.raises(UserError, match="install one that fits"):
        choose_python(">=3.14", "newest", PYTHONS)
