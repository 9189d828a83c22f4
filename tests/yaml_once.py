"""Hydra and PyYAML read a file once as long as it stays as it is: the tests compose thousands of times."""

import copy
import functools
import os
import pickle
from typing import Any

import pytest
import yaml
from hydra._internal import config_repository, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.plugins.config_source import ConfigResult
from omegaconf import _utils

_load = yaml.load
_read = config_repository.ConfigRepository.load_config
_embed = ConfigLoaderImpl._embed_result_config
_choices = defaults_list._create_interpolation_map
FILES: dict[tuple, ConfigResult] = {}


@functools.cache
def _parsed(text: str, loader: type) -> bytes:
    return pickle.dumps(_load(text, loader))


def _once(stream: Any, Loader: type) -> Any:
    if isinstance(stream, str | bytes) or not stream.seekable():
        return _load(stream, Loader)
    try:
        return pickle.loads(_parsed(stream.read(), Loader))
    except (yaml.YAMLError, ValueError):  # whose message names the file
        stream.seek(0)
        return _load(stream, Loader)


class _Repository(config_repository.CachingConfigRepository):
    """Hydra's own copies its sources deeply for each configuration."""

    def __init__(self, delegate: config_repository.IConfigRepository) -> None:
        self.delegate, self.cache = copy.copy(delegate), {}


def _from_file(repository: config_repository.ConfigRepository, config_path: str) -> ConfigResult | None:
    """What Hydra reads from a file, kept as long as the file stays as it is."""
    source = repository._find_object_source(config_path, config_repository.ObjectType.CONFIG)
    if not isinstance(source, FileConfigSource):
        return _read(repository, config_path)
    path = os.path.realpath(os.path.join(source.path, source._normalize_file_name(config_path)))
    stat = os.stat(path)
    key = (path, config_path, source.provider, source.path, stat.st_ino, stat.st_mtime_ns, stat.st_size)
    if key not in FILES:
        FILES[key] = _read(repository, config_path)
    return FILES[key]


def _embedded(result: ConfigResult, package: str | None) -> ConfigResult:
    """A copy each time: the merge takes nodes without copying them, and overrides change them."""
    kept = vars(result).setdefault("embedded", {})
    if package not in kept:
        kept[package] = pickle.dumps(_embed(result, package).config)
    given = copy.copy(result)
    given.config = pickle.loads(kept[package])
    return given


def _choices_if_asked(overrides: Any, defaults: list, self_added: bool) -> Any:
    if any(default.is_interpolation() for default in defaults):
        return _choices(overrides, defaults, self_added)
    return None


def install(patch: pytest.MonkeyPatch) -> None:
    """Put it in the place of `yaml.load`; OmegaConf would make a class of its own for each file."""
    patch.setattr(_utils, "get_yaml_loader", functools.cache(_utils.get_yaml_loader))
    patch.setattr(yaml, "load", _once)
    patch.setattr("hydra._internal.config_loader_impl.CachingConfigRepository", _Repository)
    patch.setattr(config_repository.ConfigRepository, "load_config", _from_file)
    patch.setattr(ConfigLoaderImpl, "_embed_result_config", staticmethod(_embedded))
    patch.setattr(defaults_list, "_create_interpolation_map", _choices_if_asked)
