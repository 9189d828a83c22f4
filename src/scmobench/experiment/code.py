"""A digest of the code that made a run. Comments, docstrings and file names do not change it."""

import ast
import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scmobench.experiment.config import allowed, contents, digest, targets

PACKAGE = Path(__file__).resolve().parents[1]
# modules that change no score: they decide whether there is a run, or read, write and print
SILENT = {
    "data": "download",
    "experiment": "advice applicable arguments code config display records schema search settings "
    "sweep_progress tracking",
    "machine": "arithmetic files memory terminal",
    "models/scmognn": "fit_memory",
    "training": "forecast loggers",
}
WORDS = ("label", "citation", "bounds", "direction", "extra")  # of a metric's YAML: tables alone use them


def code_digest(start: str, task: str, settings: Iterable[Any] = (), package: Path = PACKAGE) -> str:
    """Twelve hex digits of the sha256 of the code that a run passes through, and of its metrics' settings.

    The code is that of ``start``, of every ``_target_`` in the settings and the metrics, and of all modules
    of the package that these import, except `SILENT`. Statements count as Python parses them. Comments,
    docstrings, layout, imports, error messages and the file's name do not count, so that rewording does not
    make runs outdated. The digest is the same in every version of Python.
    """
    metrics = _metrics(task)
    waiting = [start, *targets([*settings, metrics])]
    statements: set[str] = set()
    seen: set[Path] = set()
    while waiting:
        file = _file(waiting.pop(), package)
        if (
            file is None
            or file in seen
            or file.stem in SILENT.get(file.parent.relative_to(package).as_posix(), "").split()
        ):
            continue
        seen.add(file)
        own, imported = _read(file)
        statements |= own
        waiting += imported
    chosen = json.dumps(without_places(metrics), sort_keys=True, default=str)
    return hashlib.sha256("\n".join([*sorted(statements), chosen]).encode()).hexdigest()[:12]


def own_code(node: Any, modules: Sequence[str] = ()) -> dict[str, str]:
    """Digest of each of the user's own modules that a plain config names; of a package, all files count."""
    named = {target.split(".")[0] for target in targets(node)} & (allowed(modules) - {"scmobench"})
    return {name: digest([file.read_text("utf-8") for file in _own_files(name)]) for name in sorted(named)}


def _own_files(module: str) -> list[Path]:
    spec = find_spec(module)
    folders = spec.submodule_search_locations
    if folders is not None:
        return sorted(file for folder in folders for file in Path(folder).rglob("*.py"))
    return [Path(spec.origin)] if spec.has_location and str(spec.origin).endswith(".py") else []


def without_places(node: Any) -> Any:
    """A plain config with the class name alone for every ``_target_`` of this package."""
    if isinstance(node, list):
        return [without_places(child) for child in node]
    if not isinstance(node, dict):
        return node
    plain = {key: without_places(value) for key, value in node.items()}
    if str(plain.get("_target_", "")).startswith("scmobench."):
        plain["_target_"] = plain["_target_"].rpartition(".")[2]
    return plain


@functools.cache
def _metrics(task: str) -> dict[str, Any]:
    """Settings of a task's metrics, without the words that only tables show."""
    found = contents(f"metric/{task}")
    for node in found.values():
        node["metadata"] = {k: v for k, v in node.get("metadata", {}).items() if k not in WORDS}
    return found


def _file(name: str, package: Path) -> Path | None:
    """The source of a module, or of the module that a dotted name begins with."""
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
    """Digests of a file's statements, and the names that it imports; read once, as Python reads it."""
    statements, imported = set(), []
    for statement in ast.parse(file.read_bytes()).body:
        words: list[str] = []
        _spell(statement, words, imported)
        if words:
            statements.add(hashlib.sha256("\0".join(words).encode()).hexdigest())
    return frozenset(statements), tuple(imported)


def _spell(node: Any, words: list[str], imported: list[str]) -> None:
    """Add what a syntax tree does to ``words``, and the names that it imports to ``imported``."""
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
        words.append(kind)  # which error, not its message
        _spell(node.exc.func if isinstance(node.exc, ast.Call) else node.exc, words, imported)
    elif isinstance(node, ast.AST):
        words.append(kind)
        for field in node._fields:
            value = getattr(node, field, None)
            if kind == "JoinedStr":  # Python 3.12 ends some f-strings with empty texts
                value = [part for part in value if getattr(part, "value", None) != ""]
            if value is not None and value != []:  # other versions of Python lack empty fields
                words.append(field)
                _spell(value, words, imported)
        words.append(")")
    elif isinstance(node, list):
        for child in node:
            _spell(child, words, imported)
        words.append("]")
    else:
        words.append(repr(node))
