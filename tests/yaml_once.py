"""PyYAML parses a text once in a process: the tests compose the shipped YAML a thousand times."""

import functools
import pickle
from typing import Any

import pytest
import yaml
from omegaconf import _utils

_load = yaml.load


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


def install(patch: pytest.MonkeyPatch) -> None:
    """Put it in the place of `yaml.load`; OmegaConf would make a class of its own for each file."""
    patch.setattr(_utils, "get_yaml_loader", functools.cache(_utils.get_yaml_loader))
    patch.setattr(yaml, "load", _once)
