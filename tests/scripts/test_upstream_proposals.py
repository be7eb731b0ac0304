"""The comparison with other proposals: its table, and a run on a made-up repository."""

import re
import sys
from pathlib import Path

import pytest
from conftest import pool
from procpool.base.errors import UserError
from procpool.base.files import ROOT
from procpool.upstream import proposals as module
from procpool.upstream.gates import git
from procpool.upstream.proposals import (
    BEGIN,
    END,
    OURS,
    Behaviour,
    compare,
    last_line,
    load_proposals,
    script_of,
)

FOLDER = ROOT / "patches"
WHO = ("-c", "user.name=x", "-c", "user.email=x@example.invalid")
DAY = "2026-06-01T00:00:00+0000"
TABLE = """\
[[proposals]]
name = "#1"
ref = "one"
note = "open"

[[proposals]]
name = "#3"
ref = "newest release"
note = "merged"

[[proposals]]
name = "#2"
note = "elsewhere"
otherwise = "not its subject"
[proposals.cited]
"what does it say" = "nothing"

[[behaviours]]
question = "what does it say"
script = "proposals/say.py"

[[behaviours]]
question = "and else"
script = "proposals/else.py"
"""
SAY = """\
from pathlib import Path
import os
print("more")
print(Path(os.environ["PYTHONPATH"], "livekit/agents/pool.py").read_text().count("first"), "first")
"""


def test_each_behaviour_has_a_script() -> None:
    _, behaviours = load_proposals(FOLDER)
    for behaviour in behaviours:
        compile(script_of(behaviour, FOLDER), behaviour.script, "exec")


def test_the_table_has_the_rows_and_columns_that_are_listed() -> None:
    text = (ROOT / "PR_DESCRIPTION.md").read_text("utf-8")
    table = text.partition(f"{BEGIN}\n")[2].partition(f"{END}\n")[0].splitlines()
    proposals, behaviours = load_proposals(FOLDER)
    assert table[0] == f"| | {OURS} | " + " | ".join(p.name for p in proposals) + " |"
    rows = [re.split(r" ?\| ?", line)[1:-1] for line in table[2:] if line.startswith("|")]
    assert [row[0] for row in rows] == [behaviour.question for behaviour in behaviours]
    assert all(cell for row in rows for cell in row)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "#1"', 'title = "#1"', "proposals.toml is damaged: "),
        ("[[behaviours]]", "[[behaviors]]", "proposals.toml is damaged: 'behaviours'"),
        ('"what does it say" =', '"who" =', "#2 cites no behaviour: who"),
    ],
)
def test_a_table_that_is_wrong(tmp_path: Path, old: str, new: str, words: str) -> None:
    (tmp_path / "proposals.toml").write_text(TABLE.replace(old, new))
    with pytest.raises(UserError, match=re.escape(words)):
        load_proposals(tmp_path)


def test_a_behaviour_without_a_script(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent.py holds no script"):
        script_of(Behaviour("?", "proposals/absent.py"), tmp_path)


def test_what_is_measured(
    tmp_path: Path, lines: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "make_environment", lambda *_: Path(sys.executable))
    (lines / "proposals.toml").write_text(TABLE)
    (lines / "proposals").mkdir()
    (lines / "proposals" / "say.py").write_text(SAY)
    (lines / "proposals" / "else.py").write_text("raise SystemExit('no')\n")
    clone = tmp_path / "agents"
    git(tmp_path, "init", "--quiet", "--initial-branch=main", "agents")

    def write(root: Path, version: str, text: str) -> str:
        package = root / "livekit-agents" / "livekit" / "agents"
        package.mkdir(parents=True, exist_ok=True)
        (package / "pool.py").write_text(text)
        (package / "version.py").write_text(f'__version__ = "{version}"\n')
        git(root, "add", "--all")
        days = {"GIT_AUTHOR_DATE": DAY, "GIT_COMMITTER_DATE": DAY}
        git(root, *WHO, "commit", "--quiet", "--message", version, **days)
        return git(root, "rev-parse", "HEAD")[:9]

    def make_stand_in(root: Path, patches: Path) -> str:
        git(root, "init", "--quiet")
        write(root, "2.0.0", pool("2.0.0") + "first\n" * 3)
        return "2.0.0"

    monkeypatch.setattr(module, "make_stand_in", make_stand_in)
    one = write(clone, "1.9.0", pool("2.0.0") + "first\nfirst\n")
    git(clone, "tag", "one")
    main = write(clone, "1.9.1", pool("2.0.0"))
    table = compare(clone, "main", lines)
    assert table.startswith(
        "| | this series | #1 | #3 | #2 |\n| --- | --- | --- | --- | --- |\n"
        "| what does it say | 1 first | 2 first | 3 first | nothing |\n"
        "| and else | fails: no | fails: no | fails: no | not its subject |\n"
        f"\nMeasured: this series on 1.9.1 of 2026-06-01 ({main}),"
        f" #1 on 1.9.0 of 2026-06-01 ({one}), #3 on 2.0.0 of 2026-06-01 (its sdist)."
        " #1: open. #3: merged. #2: elsewhere. "
    )
    assert f"{OURS}: v2.0.0, 2 ideas" in capsys.readouterr().out


def test_a_script_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text("import time\nprint('this')\ntime.sleep(600)\n")
    monkeypatch.setattr(module, "_LIMIT", -1)  # over before it begins
    assert last_line(Path(sys.executable), tmp_path, script) == "no end within -1 s"
    monkeypatch.setattr(module, "_LIMIT", 5)
    assert last_line(Path(sys.executable), tmp_path, script) == "this"


def test_what_is_no_clone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent is not a directory: give a clone"):
        module.main([str(tmp_path / "absent")])
