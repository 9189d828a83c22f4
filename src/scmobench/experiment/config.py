"""Configuration: how it is composed, and the one place where what it names is built."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from scmobench.experiment.loader import conf_dir, refuse_hidden
from scmobench.experiment.overrides import as_text
from scmobench.experiment.settings import CALLED, check_types, shown
from scmobench.types import SUBTASKS

PER_SUBTASK = frozenset((*SUBTASKS, "default"))


def compose(overrides: Sequence[str] = (), folder: str | Path | None = None) -> DictConfig:
    """The configuration that `scmobench run` would see with these overrides, and ``--config-dir folder``."""
    overrides = as_text(overrides)
    if folder:
        refuse_hidden(folder)
        quoted = str(Path(folder).resolve()).replace("\\", "\\\\").replace("'", "\\'")
        overrides = [*overrides, f"hydra.searchpath=['file://{quoted}']"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra_compose("config", overrides=overrides)


def names(group: str) -> list[str]:
    """Options of a config group, e.g. every dataset."""
    return sorted(f.stem for f in (conf_dir() / group).glob("*.yaml"))


def not_installed(model: Mapping[str, Any]) -> str:
    """The first package of a model's ``requires`` (package: extra) that is not here; empty if none."""
    for package, extra in (model.get("requires") or {}).items():
        if find_spec(package) is None:
            return f"{model['name']} needs {package}: in the checkout, pip install -e '.[{extra}]'"
    return ""


def build(node: DictConfig | dict[str, Any], kind: Any = object, *, modules: Sequence[str] = ()) -> Any:
    """Make the object that a config node describes by its ``_target_``, after all of it was checked.

    Parameters
    ----------
    node : a mapping with ``_target_``, a class of this package or of one of ``modules``.
    kind : what the object must be: a class, a union of classes, or a function of the package of this name.
    modules : names of other top-level modules that the user allows (config key ``modules``).

    Raises
    ------
    ValueError : see `check`.
    """
    plain = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
    check(plain, kind, modules=modules)
    return _made(plain)


def check(node: Any, kind: Any = object, *, modules: Sequence[str] = ()) -> None:
    """Check what `build` would make of a plain config; only allowed modules are imported, nothing is called.

    Raises
    ------
    ValueError : no ``_target_``, or one that is not defined in the allowed modules or is of another kind
        than its place takes, or no such module; a setting of another type than its target asks for.
    """
    if not isinstance(node, dict) or not node.get("_target_"):
        found = f"keys {sorted(map(str, node))}" if isinstance(node, dict) else shown(node)
        raise ValueError(f"expected a config with `_target_`, found {found}")
    check_types(node, partial(located, allowed=_allowed(modules)), kind)


def located(target: str, allowed: set[str]) -> Any:
    """The class or function that ``_target_`` names, defined (not just found) in one of some modules.

    Raises
    ------
    ValueError : outside of them, or nothing to be imported.
    """
    module, _, name = str(target).rpartition(".")
    outside = f"; to allow it add its top-level module: modules=[{str(target).split('.')[0]}]"
    if module.split(".")[0] not in allowed:
        raise ValueError(f"target {shown(target)} is outside {sorted(allowed)}{outside}")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ValueError(
            f"expected `_target_` to name a class that can be imported, found {target}: {error}"
        ) from error
    home = str(getattr(found, "__module__", "")).split(".")[0]
    if not (inspect.isclass(found) or inspect.isfunction(found)) or home not in allowed:
        raise ValueError(
            f"expected `_target_` to name a class or function of {sorted(allowed)}, found {target}: "
            "what they import is no part of them"
        )
    return found


def _made(node: Any) -> Any:
    if isinstance(node, list):
        return [_made(child) for child in node]
    if not isinstance(node, dict):
        return node
    settings = {key: _made(value) for key, value in node.items() if key not in CALLED}
    if "_target_" not in node:
        return settings
    module, _, name = node["_target_"].rpartition(".")
    target = getattr(import_module(module), name)
    return partial(target, **settings) if node.get("_partial_") else target(**settings)


def own_code(node: Any, modules: Sequence[str] = ()) -> dict[str, str]:
    """Digest of the source of every module of the user's own that a plain config names as ``_target_``.

    Of a package all its files count. Empty for what is built of this package alone.

    Raises
    ------
    ValueError : an allowed module that does not exist.
    """
    named = _targets(node) & (_allowed(modules) - {"scmobench"})
    return {name: digest([file.read_text() for file in _files(name)]) for name in sorted(named)}


def without_places(node: Any) -> Any:
    """A plain config with each ``_target_`` of this package by its class name, wherever the class lies."""
    if isinstance(node, list):
        return [without_places(child) for child in node]
    if not isinstance(node, dict):
        return node
    plain = {key: without_places(value) for key, value in node.items()}
    if str(plain.get("_target_", "")).startswith("scmobench."):
        plain["_target_"] = plain["_target_"].rpartition(".")[2]
    return plain


def _allowed(modules: Sequence[str]) -> set[str]:
    modules = [modules] if isinstance(modules, str) else list(modules)
    for name in modules:
        if find_spec(str(name).split(".")[0]) is None:
            raise ValueError(
                f"expected `modules` to name Python modules that can be imported, found no {name!r}; "
                "check its spelling, and run where its file lies or install it"
            )
    return {"scmobench", *modules}


def _targets(node: Any) -> set[str]:
    """Top-level modules of all ``_target_`` in a plain config."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    here = {str(node["_target_"]).split(".")[0]} if isinstance(node, dict) and "_target_" in node else set()
    return here.union(*map(_targets, children))


def _files(module: str) -> list[Path]:
    spec = find_spec(module)
    folders = spec.submodule_search_locations
    if folders is not None:
        return sorted(file for folder in folders for file in Path(folder).rglob("*.py"))
    return [Path(spec.origin)] if spec.has_location and str(spec.origin).endswith(".py") else []


def for_subtask(node: Any, subtask: str, name: str = "a setting") -> Any:
    """Replace every mapping keyed by subtasks (and ``default``) with its value for this one.

    ``hidden: {GEX2ADT: 256, default: 48}`` becomes ``hidden: 256`` for GEX2ADT. ``name`` is for messages.

    Raises
    ------
    ValueError : such a mapping has neither the subtask nor ``default``.
    """
    if isinstance(node, dict):
        if node and set(node) <= PER_SUBTASK:
            if subtask not in node and "default" not in node:
                raise ValueError(
                    f"expected {name} to name {subtask} or `default`, found values for {sorted(node)} alone"
                )
            return for_subtask(node.get(subtask, node.get("default")), subtask, name)
        return {key: for_subtask(value, subtask, str(key)) for key, value in node.items()}
    if isinstance(node, list):
        return [for_subtask(value, subtask, name) for value in node]
    return node


def digest(node: Any) -> str:
    """First 12 hex digits of the sha256 of a plain configuration, keys sorted."""
    return hashlib.sha256(json.dumps(node, sort_keys=True, default=str).encode()).hexdigest()[:12]
