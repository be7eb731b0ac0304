"""One set of files that pin versions, which the doctor and the wheel step read alike.

What is not understood and could name livekit-agents is "?": the doctor never says patched then, and
the wheel step refuses. pip's and packaging's own parsers say the same wherever they have a say.
"""

import codecs
import contextlib
import sys
from pathlib import Path

import doctor
import pytest
from doctor import could_name_it, decode, is_marker, parse_requirement, read_pins, version_key
from installs import Examine
from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version
from pip._internal.network.session import PipSession
from pip._internal.req.req_file import parse_requirements
from procpool.base.errors import UserError
from procpool.catalog.pins import pinned_versions

GOOD = "1.0.1+procpool.3"
OURS = f"livekit-agents=={GOOD}\n"
Case = tuple[dict[str, "str | bytes"], list[str]]


def requirements(text: "str | bytes", *pins: str, **others: "str | bytes") -> Case:
    files = {name.replace("_", "."): each for name, each in others.items()}
    return {"requirements.txt": text, **files}, list(pins)


def named(name: str, text: "str | bytes", *pins: str) -> Case:
    return {name: text}, list(pins)


UNPATCHED = "livekit-agents==1.0.1\n"
UV_ROW = '[[package]]\nname = "livekit-agents"\nversion = "1.0.1"\n'
PYLOCK_ROW = UV_ROW.replace("age]", "ages]")
BY_WHEEL = (
    '[[packages]]\nname = "livekit-agents"\n'
    'wheels = [{ url = "https://x.invalid/livekit_agents-1.0.1-py3-none-any.whl" }]\n'
)
FOREIGN = "https://x.invalid/y-1-py3-none-any.whl"
CASES: dict[str, Case] = {
    # what is included
    "included": requirements(f"-r legacy.txt\n{OURS}", "1.0.1", GOOD, legacy_txt=UNPATCHED),
    "constraint": requirements(f"-c legacy.txt\n{OURS}", "1.0.1", GOOD, legacy_txt=UNPATCHED),
    "at once": requirements("-rlegacy.txt\n", "1.0.1", legacy_txt=UNPATCHED),
    "long": requirements("--requirement legacy.txt\n", "1.0.1", legacy_txt=UNPATCHED),
    "equals": requirements("--constraint=legacy.txt\n", "1.0.1", legacy_txt=UNPATCHED),
    "shortened": requirements("--requirem legacy.txt\n", "1.0.1", legacy_txt=UNPATCHED),
    "short for two": requirements(f"--req legacy.txt\n{OURS}", "?", GOOD, legacy_txt=""),
    "quoted": requirements('-r "legacy.txt"\n', "1.0.1", legacy_txt=UNPATCHED),
    "with a comment": requirements("-r legacy.txt  # old\n", "1.0.1", legacy_txt=UNPATCHED),
    "in a circle": requirements(f"-r requirements.txt\n{UNPATCHED}", "1.0.1"),
    "not there": requirements(f"-r legacy.txt\n{OURS}", "?", GOOD),
    "elsewhere": requirements(f"-r https://x.example.invalid/a.txt\n{OURS}", "?", GOOD),
    "by a variable": requirements(f"-r ${{NOT_SET_HERE}}/a.txt\n{OURS}", "?", GOOD),
    "of another kind": requirements(f"-r pyproject.toml\n{OURS}", "?", GOOD, pyproject_toml="x=1"),
    "an included lock": requirements("-r pylock.toml\n", "1.0.1", pylock_toml=PYLOCK_ROW),
    "twice on a line": requirements(
        f"-r a.txt -r legacy.txt\n{OURS}", "1.0.1", GOOD, a_txt="", legacy_txt=UNPATCHED
    ),
    # how it is encoded
    "a mark": requirements(codecs.BOM_UTF8 + UNPATCHED.encode() + OURS.encode(), "1.0.1", GOOD),
    "UTF-16": requirements(UNPATCHED.encode("utf-16"), "1.0.1"),
    "UTF-16, big end": requirements(codecs.BOM_UTF16_BE + UNPATCHED.encode("utf-16-be"), "1.0.1"),
    "UTF-32": requirements(UNPATCHED.encode("utf-32"), "1.0.1"),
    "coding": requirements(b"# coding: latin-1\n# \xe4\n" + UNPATCHED.encode(), "1.0.1"),
    "UTF-7": requirements(b"# coding: utf-7\nlivekit+AC0-agents==1.0.1\n", "1.0.1"),
    "a mark in the middle": requirements(f"{OURS}\ufefflivekit-agents==1.0.1\n", GOOD, "?"),
    "ends of lines": requirements(f"aiohttp==3\r\n{UNPATCHED.strip()}\r", "1.0.1"),
    "other ends of lines": requirements("aiohttp==3\x0clivekit-agents==1.0.1\u2028x==1", "1.0.1"),
    # how lines are joined
    "a comment is not continued": requirements(f"# old \\\n{UNPATCHED}{OURS}", "1.0.1", GOOD),
    "nor is an indented one": requirements(f"   # old \\\n{UNPATCHED}{OURS}", "1.0.1", GOOD),
    "continued": requirements("livekit-\\\nagents==\\\n1.0.1", "1.0.1"),
    "continued at the end": requirements("livekit-agents==1.0.1 \\", "1.0.1"),
    "a comment that swallows": requirements(f"x==1 # old \\\n{UNPATCHED}{OURS}", "?", GOOD),
    "hashes": requirements(
        f"livekit-agents==1.0.1 \\\n  --hash=sha256:{0:064} \\\n  # via x\n{OURS}", "1.0.1", GOOD
    ),
    # requirements
    "spaces": requirements("  LiveKit.Agents [ a , b ]  ==  1.0.1  ;  os_name == 'x'", "1.0.1"),
    "brackets": requirements("livekit_agents (==1.0.1)", "1.0.1"),
    "arbitrary": requirements("livekit-agents===1.0.1", "1.0.1"),
    "several": requirements("livekit-agents>=1.0,==1.0.1,!=1.0.2", "1.0.1"),
    "zeros": requirements("livekit-agents==v1.0.1.0", "v1.0.1.0"),
    "other spelling of ours": requirements(
        "livekit-agents==1.0.1+PROCPOOL-03", "1.0.1+PROCPOOL-03"
    ),
    "against itself": requirements("livekit-agents==1.0.1+procpool.3,<1.0", "?"),
    "a range": requirements("livekit-agents>=1.0", "?"),
    "a range that a constraint pins": requirements(
        "livekit-agents[a]~=1.0\n-c pins.txt\n", GOOD, pins_txt=OURS
    ),
    "a range that one condition pins": requirements(
        f"livekit-agents~=1.0\n{OURS.strip()} ; os_name == 'x'\n", "?", GOOD
    ),
    "a star": requirements("livekit-agents==1.0.*", "?"),
    "no version": requirements("livekit-agents", "?"),
    "a wrong version": requirements(f"livekit-agents==1.0.x\n{OURS}", "?", GOOD),
    "a wrong marker": requirements(f"livekit-agents==1.0.1 ; when == 'x'\n{OURS}", "?", GOOD),
    "no line of pip": requirements(f"RUN pip install livekit-agents==1.0.1\n{OURS}", "?", GOOD),
    "an unknown option": requirements(f"--with livekit-agents==1.0.1\n{OURS}", "?", GOOD),
    "after an option": requirements(f"--pre livekit-agents==1.0.1\n{OURS}", "?", GOOD),
    "a variable": requirements(f"livekit-agents==${{NOT_SET_HERE}}\n{OURS}", "?", GOOD),
    "any name": requirements(f"${{NOT_SET_HERE}}==1.0.1\n{OURS}", "?", GOOD),
    "a variable of another": requirements(f"aiohttp==${{NOT_SET_HERE}}\n{OURS}", GOOD),
    "other lines": requirements(
        "--no-binary :all:\n-i https://livekit.invalid\n--trusted-host livekit.x\n-e ./own\n"
        f"git+https://x.example.invalid/y\n./x-1-py3-none-any.whl\nlivekit-agents-x==2\n{OURS}",
        GOOD,
    ),
    # where it comes from
    "a wheel": requirements("./w/livekit_agents-1.0.1-py3-none-any.whl", "1.0.1"),
    "a wheel's address": requirements(
        f"https://x.example.invalid/livekit_agents-{GOOD.replace('+', '%2B')}-1-py3-none-any.whl",
        GOOD,
    ),
    "a named wheel": requirements(
        "livekit-agents[a] @ file:///w/livekit_agents-1.0.1-py3-none-any.whl ; os_name=='x'",
        "1.0.1",
    ),
    "an sdist": requirements("w/livekit_agents-1.0.1.tar.gz", "1.0.1"),
    "another's wheel": requirements(f"livekit-agents @ {FOREIGN}\n{OURS}", "?", GOOD),
    "a repository": requirements(f"git+https://github.com/livekit/agents@x\n{OURS}", "?", GOOD),
    "a fork": requirements(f"git+https://git.example.invalid/me/agents.git\n{OURS}", "?", GOOD),
    "a repository that looks like a wheel": requirements(
        "git+https://x.invalid/livekit_agents-1.0.1-py3-none-any.whl", "?"
    ),
    "an egg": requirements(f"-e git+https://x.invalid/y#egg=livekit_agents&z\n{OURS}", "?", GOOD),
    "a named repository": requirements(
        f"livekit-agents @ git+ssh://x.invalid/y\n{OURS}", "?", GOOD
    ),
    "an editable folder": requirements(f"-e ../livekit-agents\n{OURS}", "?", GOOD),
    # other kinds
    "freeze": named("freeze", f"aiohttp==3.0\n{UNPATCHED}", "1.0.1"),
    "requirements.lock": named("requirements.lock", f"# by rye\n-e file:.\n{UNPATCHED}", "1.0.1"),
    "a lock without a name": named("x.lock", UV_ROW, "1.0.1"),
    "uv.lock": named("uv.lock", f"version = 1\n{UV_ROW}", "1.0.1"),
    "a newer uv.lock": named("uv.lock", f"version = 2\n{UV_ROW}", "!"),
    "a script's": named("agent.py.lock", f"version = 1\n{UV_ROW}", "1.0.1"),
    "pdm.lock": named("pdm.lock", f'[metadata]\nlock_version = "4.5.0"\n{UV_ROW}', "1.0.1"),
    "poetry.lock": named("poetry.lock", f'{UV_ROW}[metadata]\nlock-version = "2.1"\n', "1.0.1"),
    "a newer poetry.lock": named("poetry.lock", f'{UV_ROW}[metadata]\nlock-version = "3.0"\n', "!"),
    "quoted keys": named(
        "pylock.toml",
        '[[ packages ]]\n  "name" = "livekit-agents"\n  \'version\' = "1.0.1"\n',
        "1.0.1",
    ),
    "an inline array": named(
        "pylock.toml", 'packages = [{ name = "Livekit_Agents", version = "1.0.1" }]', "1.0.1"
    ),
    "dotted, escaped, in lines": named(
        "pylock.x.toml",
        '[["packages"]]\nname = "livekit\\u002dagents"\nversion = """\\\n 1.0.1"""\nx.version="2"',
        "1.0.1",
    ),
    "a string that looks like an entry": named(
        "uv.lock", f'x = """\n{UV_ROW}"""\n{UV_ROW.replace("1.0.1", GOOD)}', GOOD
    ),
    "a mark before TOML": named("uv.lock", codecs.BOM_UTF8 + UV_ROW.encode(), "1.0.1"),
    "two": named("uv.lock", UV_ROW + UV_ROW.replace("1.0.1", GOOD), "1.0.1", GOOD),
    "no list": named("uv.lock", 'package = "livekit-agents"', "!"),
    "no table": named("uv.lock", 'package = ["livekit-agents"]', "!"),
    "no name": named("uv.lock", "[[package]]\nname = 1\n", "!"),
    "no TOML": named("uv.lock", f"{UV_ROW}{UV_ROW.strip()}x", "!"),
    "a number": named("uv.lock", UV_ROW.replace('"1.0.1"', "1.0"), "?"),
    "a folder": named("uv.lock", f'{UV_ROW}source = {{ editable = "../agents" }}\n', "?"),
    "git": named("uv.lock", f'{UV_ROW}source = {{ git = "https://x.invalid/y" }}\n', "?"),
    "poetry's git": named(
        "poetry.lock", f'{UV_ROW}[package.source]\ntype = "git"\nurl = "x"\n', "?"
    ),
    "poetry's index": named(
        "poetry.lock", f'{UV_ROW}[package.source]\ntype = "legacy"\nurl = "https://x"\n', "1.0.1"
    ),
    "another wheel": named(
        "uv.lock",
        UV_ROW.replace("1.0.1", GOOD)
        + 'source = { path = "livekit_agents-1.0.1-py3-none-any.whl" }',
        "?",
    ),
    "vcs": named("pylock.toml", f'{PYLOCK_ROW}vcs = {{ type = "git" }}', "?"),
    "no version but a wheel": named("pylock.toml", BY_WHEEL, "1.0.1"),
    "wheels of another version": named("pylock.toml", f'{BY_WHEEL}version = "{GOOD}"\n', "?"),
    "Pipfile.lock": named(
        "Pipfile.lock",
        '{"_meta": {}, "default": {"livekit-agents": {"version": "==1.0.1"}}}',
        "1.0.1",
    ),
    "a category": named(
        "Pipfile.lock",
        f'{{"default": {{"Livekit.Agents": {{"version": "=={GOOD}"}}}},'
        ' "docs": {"livekit-agents": {"version": "==1.0.1", "markers": "os_name == \'x\'"}}}',
        GOOD,
        "1.0.1",
    ),
    "Pipenv's git": named(
        "Pipfile.lock", '{"default": {"livekit-agents": {"git": "https://x", "ref": "1"}}}', "?"
    ),
    "Pipenv's star": named("Pipfile.lock", '{"default": {"livekit-agents": "*"}}', "?"),
    "no Pipfile.lock": named("Pipfile.lock", '["livekit-agents"]', "!"),
    "half a Pipfile.lock": named("Pipfile.lock", '{"default": {"livekit-agents"', "!"),
    "environment.yml": named(
        "environment.yml",
        "---\nname: x  # a name\nchannels: [conda-forge]\ndependencies:\n- python=3.11\n- pip\n"
        "- pip:\n  - livekit-agents[a]==1.0.1  # old\n",
        "1.0.1",
    ),
    "quoted YAML": named(
        "env.yaml", "dependencies:\n  - pip:\n      - 'livekit-agents==1.0.1'\n", "1.0.1"
    ),
    "conda's own": named(
        "environment.yml", "dependencies:\n - conda-forge::livekit-agents=1.0.1=py_0\n", "1.0.1"
    ),
    "conda's range": named("environment.yml", "dependencies:\n - livekit-agents=1.0\n", "?"),
    "flow YAML": named(
        "environment.yml", "dependencies: [pip, {pip: [livekit-agents==1.0.1]}]", "!"
    ),
    "an anchor": named("environment.yml", "dependencies:\n- &a livekit-agents\n", "!"),
    "a folded line": named(
        "environment.yml", "dependencies:\n- pip:\n  - >\n    livekit-agents\n", "!"
    ),
    "an alias": named(
        "environment.yml", "x: &x livekit-agents==1\ndependencies:\n- pip:\n  - *x\n", "!"
    ),
    "JSON": named("x.json", '{"livekit-agents": "1.0.1"}', "!"),
    "Pipfile": named("Pipfile", '[packages]\nlivekit-agents = "==1.0.1"\n', "!"),
    "conda-lock.yml": named("conda-lock.yml", "package:\n- name: livekit-agents\n", "!"),
}
SET = {name: case for name, case in CASES.items() if "!" not in case[1]}


def write(folder: Path, case: Case) -> Path:
    files, _ = case
    for name, data in files.items():
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder / next(iter(files))


@pytest.mark.usefixtures("known_releases")
@pytest.mark.parametrize("name", CASES)
def test_both_read_the_same(tmp_path: Path, examine: Examine, name: str) -> None:
    path, pins = write(tmp_path, CASES[name]), CASES[name][1]
    found = examine(path)
    states = {"unpatched": 1, "unknown": 2, "patched": 0}
    kinds = {
        "unknown" if pin in "?!" else "patched" if "procpool" in pin.lower() else "unpatched"
        for pin in pins
    }
    assert found["exit_code"] == next(code for kind, code in states.items() if kind in kinds), found
    if "!" not in pins:
        assert sorted(str(pin.version or "?") for pin in read_pins(path)) == sorted(pins)
    if kinds & {"unknown"}:
        with pytest.raises(UserError) as caught:
            pinned_versions(path)
        text = str(caught.value)
        assert str(tmp_path) in text and "\n" not in text
    else:
        assert {Version(version) for version in pinned_versions(path)} == {Version("1.0.1")}


REQUIREMENTS = {n: c for n, c in SET.items() if "requirements.txt" in c[0]}
# What pip refuses, or what it reads otherwise and is left open for that.
PIP_REFUSES = {
    "in a circle",
    "not there",
    "elsewhere",
    "by a variable",
    "of another kind",
    "an included lock",
    "a mark in the middle",
    "an unknown option",
    "short for two",
}
PIP_DIFFERS = {"a comment that swallows", "after an option", "twice on a line"}


@pytest.mark.parametrize("name", [n for n in REQUIREMENTS if n not in PIP_REFUSES | PIP_DIFFERS])
def test_pip_reads_the_same_lines(tmp_path: Path, name: str) -> None:
    """What pip takes for livekit-agents, and can tell the version of, is what the doctor finds."""
    path = write(tmp_path, REQUIREMENTS[name])
    theirs = []
    for row in parse_requirements(str(path), PipSession()):
        with contextlib.suppress(InvalidRequirement):
            requirement = Requirement(row.requirement)
            if requirement.name.lower().replace("_", "-").replace(".", "-") == "livekit-agents":
                theirs += [s.version for s in requirement.specifier if s.operator in ("==", "===")]
    ours = [pin for pin in read_pins(path) if pin.version and "/" not in pin.text]
    keys = {version_key(version) for version in theirs if version_key(version)}
    assert {version_key(pin.version or "") for pin in ours} <= keys
    # what the doctor leaves open is what is no plain pin
    assert len(keys - {version_key(pin.version or "") for pin in ours}) <= len(
        read_pins(path)
    ) - len(ours)


TEXTS = [
    "a",
    "a==1",
    "a == 1 , <2",
    "a[b]",
    "a[b,c]>1;os_name=='x'",
    "a @ https://x",
    "a@https://x ; os_name=='x'",
    "a (>=1)",
    "a(>=1,<2) ; extra == 'x'",
    "a[",
    "a==",
    "a=1",
    "a 1",
    "a==1 b",
    "a @",
    "-a",
    "a-",
    "a.b_c==1",
    "a===weird",
    "a~=1.0",
    "a==1.*",
    "a>=1.*",
    "a==1+local",
    "a>=1+local",
    "a;",
    "a; os_name",
    "a,b",
    "a[b]c",
    "a; os_name == 'x' and (python_version < '3' or 'x' in sys_platform)",
    "a; 'x' not in os_name",
    "a==1,",
    "a[]",
    "a[b,]",
    "a; nonsense == 'x'",
    "a ; python_version == '3",
    "ä==1",
    "a!=1!2.0",
    "a<1.dev0",
]


@pytest.mark.parametrize("text", TEXTS)
def test_requirements_are_parsed_as_packaging_does(text: str) -> None:
    ours = parse_requirement(text)
    try:
        theirs = Requirement(text)
    except InvalidRequirement:
        assert ours is None
        return
    assert ours and (ours.name, set(ours.extras)) == (theirs.name, theirs.extras)
    specifiers = {(s.operator, s.version) for s in theirs.specifier}
    assert {(o, v) for o, v in ours.specifiers} == specifiers and (ours.url or None) == theirs.url
    assert bool(ours.marker) == bool(theirs.marker)


@pytest.mark.parametrize(
    "text",
    [
        "os_name == 'x'",
        "os_name=='x'and extra=='y'",
        "(os_name == 'x')",
        "os_name",
        "'x'",
        "== 'x'",
        "",
        "os_name == x",
        "os_name == 'x' or",
        "(os_name == 'x'",
        "os.name == 'x'",
        "os_name not in 'x'",
        "os_name is 'x'",
        "python_version >= \"3\" and not os_name == 'x'",
    ],
)
def test_markers_are_parsed_as_packaging_does(text: str) -> None:
    try:
        Marker(text)
        valid = True
    except InvalidMarker:
        valid = False
    assert is_marker(text) == valid


VERSIONS = [
    "1",
    "1.0",
    "v1.0",
    "1.0.1",
    "1.0rc1",
    "1.0-rc.1",
    "1.0a",
    "1.0.alpha-2",
    "1.0.post1",
    "1.0-1",
    "1.0.dev0",
    "1.0a1.dev2",
    "1.0.post1.dev3",
    "2!1.0",
    "1.0+x",
    "1.0+X.1_b",
    "1.0+",
    "1..0",
    "x",
    "1.0.x",
    "",
    "1.0 1",
    "1.0c1",
    "1.0pre",
    "1.0rev2",
]


def test_versions_are_ordered_as_packaging_does() -> None:
    valid = []
    for text in VERSIONS:
        try:
            Version(text)
        except InvalidVersion:
            assert version_key(text) is None
        else:
            assert version_key(text) is not None
            valid.append(text)
    for one in valid:
        for other in valid:
            ours = (version_key(one) or ()) < (version_key(other) or ())
            theirs = Version(Version(one).public) < Version(Version(other).public)
            assert ours == theirs, (one, other)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe\x00", "not a text file in utf-16"),
        (b"# coding: no-such\n", "encoded in no-such, which is unknown"),
        (b"# coding: ascii\nlivekit-agents==1 # \xe4", "not a text file in ascii"),
        ("livekit-agents==1.0.1\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
    ],
)
def test_what_cannot_be_decoded_names_the_file(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "requirements.txt"
    path.write_bytes(data)
    with pytest.raises(doctor.Unknown, match=words) as caught:
        read_pins(path)
    assert str(path) in str(caught.value)


def test_the_locale_is_the_last_that_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "cp1252")
    assert decode(b"# \xe4\nlivekit", Path("x")) == ("# ä\nlivekit", "cp1252")


def test_without_a_toml_parser_it_is_unknown(
    tmp_path: Path, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uv.lock").write_text(UV_ROW)
    for name in ("tomllib", "tomli", "pip._vendor.tomli"):
        monkeypatch.setitem(sys.modules, name, None)
    found = examine(tmp_path / "uv.lock")
    assert found["exit_code"] == 2 and "Python 3.11+" in found["why"][0]


def test_a_release_in_another_spelling_is_found() -> None:
    from procpool.catalog.releases import get_release

    assert get_release("1.5.11.0")[0].version == "1.5.11"


def test_what_could_name_it() -> None:
    assert could_name_it("live%6bit") and could_name_it("x ${Y}") and not could_name_it("aiohttp")
