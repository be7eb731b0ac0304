"""The documents and headers: what they name is there, and is the right one."""

import ast
import re
from pathlib import Path

import procpool
import pytest
from procpool import STEPS
from procpool.base.files import ROOT
from procpool.catalog.series import idea_of, load_all_series
from procpool.patching.patch import name_of, read_header

DOCUMENTS = [
    "README.md",
    "CHANGELOG.md",
    "PR_DESCRIPTION.md",
    ".github/CONTRIBUTING.md",
    "patches/README.md",
]
MODULES = Path(procpool.__file__).parent
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")


def sessions() -> set[str]:
    """Return the names of the sessions in noxfile.py."""
    found = set()
    for node in ast.parse((ROOT / "noxfile.py").read_text("utf-8")).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "nox.session":
                names = [k.value for k in decorator.keywords if k.arg == "name"]
                found.add(str(ast.literal_eval(names[0])) if names else node.name)
    return found


def named_sessions(text: str) -> set[str]:
    """Return the names after each `nox -s` in a document, whose parameters are left out."""
    word = r'"?[a-z][\w.()-]*"?'
    runs = re.findall(rf"nox -s\s+({word}(?: {word})*)", text)
    return {name.strip('".').partition("(")[0] for run in runs for name in run.split()}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_names_is_there(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert named_sessions(text) <= sessions()
    assert set(re.findall(r"python scripts ([a-z-]+)", text)) <= STEPS.keys()
    here = (ROOT / name).parent
    links = set(re.findall(r"\]\((?!https?:)([^)#]+)\)", text))
    assert {link for link in links if not (here / link).exists()} == set()
    paths = set(re.findall(r"`((?:patches|scripts|tests|benchmarks|\.github)/[\w./-]*)`", text))
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def test_every_session_is_explained() -> None:
    assert sessions() - named_sessions(CONTRIBUTING) == set()


def test_every_module_stands_in_the_layout() -> None:
    rows = dict(re.findall(r"^\| `([a-z]+)` \| (.*) \|$", CONTRIBUTING, re.MULTILINE))
    for folder in {path.parent for path in MODULES.glob("*/*.py")}:
        modules = {path.stem for path in folder.glob("*.py")}
        assert modules <= set(re.findall(r"`([a-z_0-9]+)`", rows[folder.name])), folder.name


def test_the_glossary_stands_at_the_top_of_the_patches() -> None:
    text = (ROOT / "patches" / "README.md").read_text("utf-8")
    top = text.partition("\n\n## Glossary\n\n")[2].partition("\n\n")[0]
    words = re.findall(r"^\| (\w+) \| ", top, re.MULTILINE)
    assert {"line", "series", "text", "revision", "control", "guard"} <= set(words)
    assert text.index("## Glossary") < 40


def test_the_texts_of_an_idea_answer_one_report() -> None:
    reports: dict[str, set[str]] = {}
    for series in load_all_series():
        for text in series.patches:
            header = read_header(text.read_text("utf-8"), name_of(text))
            assert header.field("Forwarded") and header.field("Last-Update"), name_of(text)
            reports.setdefault(idea_of(text), set()).add(header.field("Bug"))
    issues = "https://github.com/livekit/agents/issues"
    assert reports.pop("back-off") == reports.pop("pace-by-cost") == {f"{issues}/4857"}
    assert set.union(*reports.values()) == {f"{issues}/5868"}
