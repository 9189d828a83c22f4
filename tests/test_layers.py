"""Imports point down only (the layers of the package), checked on the syntax tree."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src" / "scmobench"
LAYER = {
    "types": 0,
    "settings": 0,
    "arithmetic": 0,
    "files": 0,
    "schema": 0,
    "meter": 0,
    "data": 1,
    "metrics": 1,
    "tasks": 2,
    "graph": 2,
    "nn": 2,
    "models": 3,
}
LAYER |= {
    "overrides": 4,
    "evaluate": 4,
    "records": 4,
    "kept": 4,
    "config": 4,
    "code": 4,
    "loader": 4,
    "choices": 4,
}
TOP = 5
NEVER = {
    "models": {"metrics", "tasks", "records", "evaluate"},
    "nn": {"types", "data", "metrics", "tasks", "graph", "models"},
    "metrics": {"data"},
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
    level = LAYER.get(here, TOP)
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "scmobench" and len(parts) > 1 and parts[1] != here:
            assert LAYER.get(parts[1], TOP) <= level, f"{here} (layer {level}) imports {name}"
            assert parts[1] not in NEVER.get(here, set()), f"{here} must never import {name}"
        if parts[0] in ("hydra", "omegaconf"):
            assert level >= 4, f"{here} imports {name}: Hydra stays at layer 4 and above"


def test_only_build_makes_what_yaml_names() -> None:
    assert not [p.name for p in FILES if "hydra.utils" in imported(p)]
    importers = {p.name for p in FILES if "import_module" in p.read_text()}
    assert importers == {"config.py", "extras.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 75, f"{path.name}: {node.name} is too long"
