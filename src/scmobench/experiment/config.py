"""Configuration: how it is composed, and the one place where its targets become objects."""

import hashlib
import inspect
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from scmobench.experiment.arguments import as_text, quoted
from scmobench.experiment.loader import conf_dir, refuse_hidden
from scmobench.experiment.ranges import check_ranges
from scmobench.experiment.settings import CALLED, check_types, shown
from scmobench.types import SUBTASKS

COMPOSING = threading.Lock()  # Hydra keeps what it composes for the whole process
PER_SUBTASK = frozenset((*SUBTASKS, "default"))
from_size = re.compile(r"from_(\d+)_(cells|features_on_cpu)").fullmatch  # a value for so many and more


def compose(overrides: Sequence[str] = (), folder: str | Path | None = None) -> DictConfig:
    """The configuration that `scmobench run` would see with these overrides and ``--config-dir folder``."""
    overrides = as_text(overrides)
    if folder:
        refuse_hidden(folder)
        overrides = [*overrides, f"hydra.searchpath=[{quoted(f'file://{Path(folder).resolve()}')}]"]
    with COMPOSING:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra_compose("config", overrides=overrides)


def names(group: str | Path) -> list[str]:
    """Options of a config group, e.g. every dataset; of another folder, the names of its YAML files."""
    return sorted(f.stem for f in (conf_dir() / group).glob("*.yaml"))


def contents(group: str | Path) -> dict[str, dict[str, Any]]:
    """What the YAML files of a group, or of another folder, hold by their names, references as they stand."""
    files = sorted((conf_dir() / group).glob("*.yaml"))
    return {file.stem: OmegaConf.to_container(OmegaConf.load(file), resolve=False) for file in files}


@cache
def headlines(group: str | Path) -> dict[str, str]:
    """Name -> what it is: the first sentence of the comment at the top of its file in ``conf/<group>``."""
    return {name: _headline(conf_dir() / group / f"{name}.yaml") for name in names(group)}


def _headline(file: Path) -> str:
    lines = takewhile(lambda line: line.startswith("#"), file.read_text("utf-8", "replace").splitlines())
    told = [line.removeprefix("#").strip() for line in lines if "@package" not in line]
    return " ".join(told).partition(". ")[0].removesuffix(".")


def not_installed(model: Mapping[str, Any]) -> str:
    """How to install the first missing package that a model ``requires``; empty if none is missing."""
    for package, extra in (model.get("requires") or {}).items():
        if find_spec(package) is None:
            return f"{model['name']} needs {package}: in the checkout, pip install -e '.[{extra}]'"
    return ""


def build(node: DictConfig | dict[str, Any], kind: Any = object, *, modules: Sequence[str] = ()) -> Any:
    """Check a config node with `check`, and make the object that its ``_target_`` describes."""
    plain = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
    check(plain, kind, modules=modules)
    return _made(plain)


def check(node: Any, kind: Any = object, *, modules: Sequence[str] = ()) -> None:
    """Check a plain config before it is built. This imports allowed modules only, and calls nothing.

    Parameters
    ----------
    node : a mapping with ``_target_``, a class of this package or of one of ``modules``.
    kind : what the object must be: a class, a union of classes, or a function of the package of this name.
    modules : other top-level modules that the user allows (config key ``modules``).

    Raises ValueError for a missing or foreign ``_target_``, a target or a setting of another type than asked
    for, and a number out of its range.
    """
    if not isinstance(node, dict) or not node.get("_target_"):
        found = f"keys {sorted(map(str, node))}" if isinstance(node, dict) else shown(node)
        raise ValueError(f"expected a config with `_target_`, found {found}")
    check_types(node, partial(located, allowed=allowed(modules)), kind)
    check_ranges(node, "")
    target = located(node["_target_"], allowed(modules))
    if inspect.isabstract(target):
        lacking = ", ".join(sorted(target.__abstractmethods__))
        raise ValueError(f"expected {node['_target_']} to define {lacking}: write it or check its spelling")


def located(target: str, allowed: set[str]) -> Any:
    """The class or function that ``_target_`` names. Raises ValueError if no allowed module defines it."""
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", str(target)):
        raise ValueError(
            f"expected `_target_` to name a module and a class in it, MODULE.CLASS, found {shown(target)}"
        )
    module, _, name = str(target).rpartition(".")
    if module.split(".")[0] not in allowed:
        raise ValueError(
            f"target {shown(target)} is outside {sorted(allowed)}; to allow it, add its top-level module: "
            f"modules=[{str(target).split('.')[0]}]"
        )
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ValueError(
            f"expected `_target_` to name a class that can be imported, found {target}: {error}"
        ) from error
    home = str(getattr(found, "__module__", "")).split(".")[0]
    if not (inspect.isclass(found) or inspect.isfunction(found)) or home not in allowed:
        raise ValueError(
            f"expected `_target_` to name a class or function of {sorted(allowed)}, found {target}, "
            "which is not defined there"
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


def allowed(modules: Sequence[str]) -> set[str]:
    """Modules that targets may come from: this package and the user's (ValueError if one is missing)."""
    modules = [modules] if isinstance(modules, str) else list(modules)
    for name in modules:
        if find_spec(str(name).split(".")[0]) is None:
            raise ValueError(
                f"expected `modules` to name Python modules that can be imported, found no {name!r}; "
                "check its spelling, and run where its file lies or install it"
            )
    return {"scmobench", *modules}


def targets(node: Any) -> Iterator[str]:
    """Every ``_target_`` in a plain config."""
    if isinstance(node, dict) and "_target_" in node:
        yield str(node["_target_"])
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from targets(child)


def for_subtask(
    node: Any, subtask: str, name: str = "a setting", cells: int = 0, features_on_cpu: int = 0
) -> Any:
    """Replace each mapping from subtasks or numbers of training cells with its one value for this problem.

    ``hidden: {GEX2ADT: 256, default: 48}`` becomes ``hidden: 256`` for GEX2ADT. ``batch_size: {default: 64,
    from_3000_cells: 256}`` becomes ``batch_size: 256`` for 3,000 training ``cells`` or more;
    ``from_10000_features_on_cpu`` counts input features, in a fit on a CPU. A value of the subtask comes
    first, then that of the highest number reached. Raises ValueError if a mapping has no value for the
    problem and no ``default``; ``name`` is for its message.
    """
    if isinstance(node, dict):
        sizes = {"cells": cells, "features_on_cpu": features_on_cpu}
        least = {found[0]: found for key in node if (found := from_size(str(key)))}
        if node and set(node) <= PER_SUBTASK | set(least):
            reached = {int(found[1]): key for key, found in least.items() if int(found[1]) <= sizes[found[2]]}
            key = subtask if subtask in node else reached[max(reached)] if reached else "default"
            if key not in node:
                raise ValueError(
                    f"expected {name} to name {subtask} or `default`, found values for {sorted(node)} alone"
                )
            return for_subtask(node[key], subtask, name, **sizes)
        return {key: for_subtask(value, subtask, str(key), **sizes) for key, value in node.items()}
    if isinstance(node, list):
        return [for_subtask(value, subtask, name, cells, features_on_cpu) for value in node]
    return node


def digest(node: Any) -> str:
    """First 12 hex digits of the sha256 of a plain configuration with its keys sorted."""
    return hashlib.sha256(json.dumps(node, sort_keys=True, default=str).encode()).hexdigest()[:12]
