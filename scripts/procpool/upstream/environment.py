"""Install the tools that a checkout of livekit/agents pins, and what its package needs.

An environment is kept below `.nox/.cache`, with mypy's cache in it, and is used again for all
checkouts that pin the same: installing and a first run of mypy take minutes on a busy machine.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

from filelock import FileLock
from procpool.base.files import ROOT
from procpool.base.pythons import choose_python, installed_pythons, uv
from procpool.catalog.releases import newest_release

ENVIRONMENTS = ROOT / ".nox" / ".cache" / "upstream"


def make_environment(checkout: Path, patches: Path, folder: Path = ENVIRONMENTS) -> Path:
    """Install what the checkout's `uv.lock` pins for livekit-agents and for the groups dev and
    typing, or reuse what is installed in `folder`; return the interpreter.

    Without a lock file, as in a stand-in, the package's requirements are taken as of the day of the
    newest release in the folder `patches`. livekit-agents itself is imported from the checkout.
    Raises `UserError`.
    """
    settings = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))
    package = tomllib.loads((checkout / "livekit-agents/pyproject.toml").read_text("utf-8"))
    groups = settings.get("dependency-groups", {})
    requires, lock = package["project"]["requires-python"], checkout / "uv.lock"
    if lock.is_file():
        # the pins hold for fewer Pythons than the package: for those of the examples too
        requires += f",{tomllib.loads(lock.read_text('utf-8'))['requires-python']}"
        # before dependency groups, uv had its own list, which counts as the group dev
        tools = [f"--only-group={group}" for group in ("dev", "typing") if group in groups]
        pins = _pins(checkout, "--package", "livekit-agents", "--no-dev")
        steps = [pins + _pins(checkout, *(tools or ["--only-dev"]))]
    else:
        as_of = newest_release(patches).dependencies_as_of
        dated = ["--exclude-newer", as_of, "--only-binary", ":all:"]
        steps = [[*dated, *package["project"]["dependencies"]], groups["dev"]]
    python = choose_python(requires, "newest", installed_pythons())
    key = hashlib.sha256(json.dumps([python, *steps]).encode()).hexdigest()[:16]
    path = folder / f"environment-{key}"
    interpreter, stamp = path / "bin" / "python", path / "procpool-complete"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{path.name}.lock"):
        if not (stamp.is_file() and interpreter.exists()):
            print("installing upstream's tools", flush=True)
            uv("venv", "--quiet", "--clear", "--python", python, str(path))
            for step in steps:
                uv("pip", "install", "--quiet", "--python", str(interpreter), *step)
            stamp.touch()
    return interpreter


def _pins(checkout: Path, *options: str) -> list[str]:
    """Return what a checkout's `uv.lock` pins for these, as requirements."""
    export = ["export", "--quiet", "--frozen", "--project", str(checkout), "--no-hashes"]
    export += ["--no-emit-workspace", "--no-header", "--no-annotate"]
    return uv(*export, *options).stdout.splitlines()
