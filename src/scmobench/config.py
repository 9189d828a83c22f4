"""Configuration: where the YAML lives, how it is composed, and the one caller of `instantiate`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from scmobench.overrides import as_text
from scmobench.settings import check_types
from scmobench.types import SUBTASKS

# what a user can put right: said in a line, without a traceback
USER_ERRORS = (ValueError, TypeError, OSError, HydraException, OmegaConfBaseException)
PER_SUBTASK = frozenset((*SUBTASKS, "default"))


def conf_dir() -> Path:
    """The folder of YAML files: inside an installed package, else at the checkout's root."""
    here = Path(__file__).resolve().parent
    for folder in (here / "conf", here.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no conf/ beside {here} or at {here.parents[1]}: reinstall scmobench")


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


def refuse_hidden(folder: str | Path) -> None:
    """Check a folder of the user's own YAML: of two files of a name Hydra would read the shipped one.

    Raises
    ------
    FileNotFoundError : there is no such folder.
    ValueError : a file has the name of a shipped one.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"expected a folder of configurations at {folder}, found none")
    for shipped in sorted(conf_dir().glob("*/**/*.yaml")):
        file = Path(folder) / shipped.relative_to(conf_dir())
        if file.is_file():
            raise ValueError(
                f"{file} has the name of a shipped one, which would be read in its place: rename it, e.g. "
                f"my_{file.name}"
            )


def names(group: str) -> list[str]:
    """Options of a config group, e.g. every dataset."""
    return sorted(f.stem for f in (conf_dir() / group).glob("*.yaml"))


def not_installed(model: Mapping[str, Any]) -> str:
    """The first package of a model's ``requires`` (package: extra) that is not here; empty if none."""
    for package, extra in (model.get("requires") or {}).items():
        if find_spec(package) is None:
            return f"{model['name']} needs {package}: in the checkout, pip install -e '.[{extra}]'"
    return ""


def build(node: DictConfig | dict[str, Any], *, modules: Sequence[str] = (), **arguments: Any) -> Any:
    """Make the object that a config node describes by its ``_target_``.

    Parameters
    ----------
    node : a mapping with ``_target_``, of this package or of one of ``modules``.
    modules : names of other top-level modules that the user allows (config key ``modules``).
    arguments : what only code can know (data-dependent sizes).

    Raises
    ------
    ValueError : no ``_target_``, or one outside the allowed modules, or no such module; a setting of
        another type than its target asks for.
    """
    plain = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
    _check_targets(plain, _allowed(modules), top=True)
    check_types(plain, _located)
    return instantiate(plain, _convert_="all", **arguments)


def _located(target: str) -> Any:
    try:
        return get_object(target)
    except ImportError as error:
        raise ValueError(
            f"expected `_target_` to name a class that can be imported, found {target}: {error}"
        ) from error


def own_code(node: Any, modules: Sequence[str] = ()) -> dict[str, str]:
    """Digest of the source of every module of the user's own that a plain config names as ``_target_``.

    Of a package all its files count. Empty for what is built of this package alone.

    Raises
    ------
    ValueError : a target outside the allowed modules, or an allowed module that does not exist.
    """
    _check_targets(node, _allowed(modules))
    named = _targets(node) - {"scmobench"}
    return {name: digest([file.read_text() for file in _files(name)]) for name in sorted(named)}


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


def _check_targets(node: Any, allowed: set[str], top: bool = False) -> None:
    if isinstance(node, dict):
        target = node.get("_target_")
        if top and not target:
            raise ValueError(f"expected a config with `_target_`, found keys {sorted(node)}")
        if target and str(target).split(".")[0] not in allowed:
            raise ValueError(
                f"target {target!r} is outside {sorted(allowed)}; "
                f"to allow it add its top-level module: modules=[{str(target).split('.')[0]}]"
            )
        for child in node.values():
            _check_targets(child, allowed)
    elif isinstance(node, list):
        for child in node:
            _check_targets(child, allowed)


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
