"""The package of the steps: imports only downwards, and each step in its place."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import procpool
import pytest
from procpool import STEPS

PACKAGE = Path(procpool.__file__).parent
# Folders of one floor do not know each other.
FLOORS = (
    {"base"},
    {"catalog"},
    {"patching"},
    {"wheels", "editing"},
    {"suite", "checks"},
    {"upkeep", "upstream"},
)
FLOOR = {folder: number for number, floor in enumerate(FLOORS) for folder in floor}


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            module = str(node.module)
            # `from procpool.checks import consumers` imports a module too
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_every_folder_has_a_floor() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/*.py")} == FLOOR.keys()


@pytest.mark.parametrize("folder", FLOOR)
def test_imports_go_downwards(folder: str) -> None:
    wrong = []
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        for name in imports(path):
            top, *rest = name.split(".")
            if top == "procpool" and rest and rest[0] in FLOOR:
                same = rest[0] == folder
                if not same and FLOOR[rest[0]] >= FLOOR[folder]:
                    wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
            elif top == "doctor" and path.relative_to(PACKAGE) == Path("catalog", "pins.py"):
                pass  # doctor.py must be one file, and there is one reader of lock files
            elif top in ("doctor", "conftest", "noxfile"):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {}
    for path in PACKAGE.glob("*/*.py"):
        name = f"procpool.{path.parent.name}.{path.stem}"
        graph[name] = {found.rsplit(".", 1)[0] for found in imports(path)}
    while leaves := {name for name, needs in graph.items() if not needs & graph.keys()}:
        for name in leaves:
            del graph[name]
    assert graph == {}


@pytest.mark.parametrize("step", STEPS)
def test_every_step_has_a_command_line(step: str) -> None:
    module = import_module(f"procpool.{STEPS[step]}")
    assert callable(module.main) and module.__doc__


def test_steps_stand_in_the_order_of_the_floors() -> None:
    floors = [FLOOR[module.split(".")[0]] for module in STEPS.values()]
    assert floors == sorted(floors)
