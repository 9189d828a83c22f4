"""Which code made a run: a digest of what its sources do, whatever they say and wherever they stand."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from scmobench.experiment.config import conf_dir, without_places

PACKAGE = Path(__file__).resolve().parents[1]
# modules without a part in a score: what they decide is in the configuration, in words and files, or whether
# there is a run at all
SILENT = ("arithmetic", "code", "config", "download", "files", "forecast", "limits", "loggers", "memory")
SILENT += ("meter", "progress", "records", "schema", "settings")
WORDS = ("label", "citation", "bounds", "direction", "extra")  # of a metric's YAML: what tables say of it


def code_digest(start: str, task: str, settings: Iterable[Any] = (), package: Path = PACKAGE) -> str:
    """Twelve digits of the sha256 of what a run passes through: its modules, and the task's metrics.

    The modules are ``start``, those of every ``_target_`` in the settings and of the metrics, and what these
    import of the package, but `SILENT`. Of a module its statements count as Python understands them:
    comments, docstrings, layout, imports and what an error says do not, nor does the file they are in. So
    other words repeat no run. The digest is the same in every version of Python.

    Parameters
    ----------
    start : a module of the package, by its full name.
    task : whose metrics count.
    settings : plain configurations.
    package : folder of the package's sources.
    """
    metrics = _metrics(conf_dir() / "metric" / task)
    waiting = [start, *_targets([*settings, metrics])]
    statements: set[str] = set()
    seen: set[Path] = set()
    while waiting:
        file = _file(waiting.pop(), package)
        if file is None or file in seen or file.stem in SILENT:
            continue
        seen.add(file)
        own, imported = _read(file)
        statements |= own
        waiting += imported
    chosen = json.dumps(without_places(metrics), sort_keys=True, default=str)
    return hashlib.sha256("\n".join([*sorted(statements), chosen]).encode()).hexdigest()[:12]


def _metrics(folder: Path) -> dict[str, Any]:
    found = {path.stem: _yaml(path) for path in sorted(folder.glob("*.yaml"))}
    told = {name: node.get("metadata", {}) for name, node in found.items()}
    about = {name: {k: v for k, v in words.items() if k not in WORDS} for name, words in told.items()}
    return {name: node | {"metadata": about[name]} for name, node in found.items()}


@functools.cache
def _yaml(path: Path) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(path))


def _targets(node: Any) -> list[str]:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    here = [str(node["_target_"])] if isinstance(node, dict) and "_target_" in node else []
    return here + [target for child in children for target in _targets(child)]


def _file(name: str, package: Path) -> Path | None:
    """The source of a module, or of the module that a dotted name of something in it begins with."""
    parts = name.split(".")
    if parts[0] != "scmobench":
        return None
    for end in range(len(parts), 0, -1):
        place = package.joinpath(*parts[1:end])
        for file in (place / "__init__.py", place.parent / f"{place.name}.py"):
            if file.is_file():
                return file
    return None


@functools.cache
def _read(file: Path) -> tuple[frozenset[str], tuple[str, ...]]:
    """Digests of a file's statements, and what it imports; read once, as Python does with its modules."""
    statements, imported = set(), []
    for statement in ast.parse(file.read_bytes()).body:
        words: list[str] = []
        _spell(statement, words, imported)
        if words:
            statements.add(hashlib.sha256("\0".join(words).encode()).hexdigest())
    return frozenset(statements), tuple(imported)


def _spell(node: Any, words: list[str], imported: list[str]) -> None:
    """Add what a syntax tree does to ``words``, what it imports of the package to ``imported``."""
    kind = type(node).__name__
    if kind == "Import":
        imported += [alias.name for alias in node.names]
    elif kind == "ImportFrom":
        imported += [f"{node.module}.{alias.name}" for alias in node.names]
    elif kind == "Expr" and isinstance(node.value, ast.Constant):
        pass  # a docstring
    elif kind == "If" and getattr(node.test, "id", "") == "TYPE_CHECKING":
        pass
    elif kind == "Raise":
        words.append(kind)  # which error, not what it says
        _spell(node.exc.func if isinstance(node.exc, ast.Call) else node.exc, words, imported)
    elif isinstance(node, ast.AST):
        words.append(kind)
        for field in node._fields:
            value = getattr(node, field, None)
            if kind == "JoinedStr":  # Python 3.12 ends some f-strings with empty texts
                value = [part for part in value if getattr(part, "value", None) != ""]
            if value is not None and value != []:  # fields that a version of Python lacks are empty elsewhere
                words.append(field)
                _spell(value, words, imported)
        words.append(")")
    elif isinstance(node, list):
        for child in node:
            _spell(child, words, imported)
        words.append("]")
    else:
        words.append(repr(node))
