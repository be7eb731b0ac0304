"""Writing between two lines of a file."""

from pathlib import Path

import pytest
from procpool.base.errors import UserError
from procpool.base.files import between


def test_what_stands_between_two_lines_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before\n# begin\nold\n# end\nafter\n")
    fresh = "before\n# begin\nnew\n# end\nafter\n"
    assert between(path, "# begin", "# end", "new\n") == fresh
    path.write_text("# begin\n")
    with pytest.raises(UserError, match="once each"):
        between(path, "# begin", "# end", "new\n")
