"""Imports point down only (the layers of the package), checked on the syntax tree."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src" / "scmobench"
FLOORS = (
    {"types", "compiled", "machine"},
    {"nn", "training"},
    {"metrics", "data"},
    {"tasks", "graph"},
    {"models"},
    {"experiment"},
    {"leaderboard"},
    {"figures"},
    {"cli", "api", "__init__", "__main__"},
)
FLOOR = {wing: level for level, wings in enumerate(FLOORS) for wing in wings}
HYDRA = FLOOR["experiment"]
TOP = FLOORS[-1]
NEVER = {
    "models": {"metrics", "tasks"},
    "nn": {"types", "training"},
    "training": {"types", "nn"},
    "metrics": {"data", "nn", "training", "machine"},
    "leaderboard": {"models", "data", "tasks"},
}
FILES = sorted(SRC.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of what a file imports, lazy imports included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.module == "scmobench":
                found |= {f"scmobench.{alias.name}" for alias in node.names}
            else:
                found.add(node.module or "")
    return found


def room(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_point_down(path: Path) -> None:
    here = room(path)
    level = FLOOR[here]
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "scmobench" and len(parts) > 1 and parts[1] != here:
            there = FLOOR.get(parts[1], 0)  # `__version__` is no wing
            assert there <= level, f"{here} (floor {level}) imports {name} (floor {there})"
            assert there < level or {here, parts[1]} <= TOP, f"{here} imports {name} of its own floor"
            assert parts[1] not in NEVER.get(here, set()), f"{here} must never import {name}"
        if parts[0] in ("hydra", "omegaconf"):
            assert level >= HYDRA, f"{here} imports {name}: Hydra stays in experiment/ and above"


def test_only_build_makes_what_yaml_names() -> None:
    assert not [p.name for p in FILES if "hydra.utils" in imported(p)]
    importers = {p.name for p in FILES if "import_module" in p.read_text()}
    assert importers == {"__init__.py", "config.py", "placed_cells.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 50, f"{path.name}: {node.name} is too long"
