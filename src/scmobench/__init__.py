"""scmobench: a reproducible benchmark suite for integrating multimodal single-cell data.

``load``, ``split``, ``run``, ``score``, ``leaderboard``, ``datasets``, ``models`` and ``metrics`` are the
public functions (`scmobench.api`). Nothing heavy is imported before one of them is used.
"""

import sys
from contextlib import suppress
from importlib import import_module
from inspect import signature
from types import ModuleType
from typing import TYPE_CHECKING, Any

from scmobench.machine.arithmetic import prepare
from scmobench.machine.numba_cache import ensure_folder

if TYPE_CHECKING:
    from scmobench.api import datasets, leaderboard, load, metrics, models, run, score, split

__all__ = ["datasets", "leaderboard", "load", "metrics", "models", "run", "score", "split"]
WINGS = ("leaderboard", "metrics", "models")  # subpackages, and public functions too
__version__ = "0.1.0"
with suppress(ValueError):  # the command line and `check` report what it refuses
    prepare()  # before any import of NumPy or PyTorch below this package
ensure_folder()  # before anything imports numba


def _public(name: str) -> Any:
    from scmobench import api

    return getattr(api, name)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'scmobench' has no attribute {name!r}")
    return import_module(f"scmobench.{name}") if name in WINGS else _public(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Wing(ModuleType):
    """A subpackage that can also be called, as the public function of its name."""

    __doc__ = property(lambda self: _public(self.__name__.rpartition(".")[2]).__doc__)
    __signature__ = property(lambda self: signature(_public(self.__name__.rpartition(".")[2])))

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        return _public(self.__name__.rpartition(".")[2])(*arguments, **settings)


class _Package(ModuleType):
    """Makes the subpackages callable that have the name of a public function, when Python binds them here."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in WINGS and isinstance(value, ModuleType):
            value.__class__ = _Wing
            vars(value).pop("__doc__", None)  # Python 3.14 may read it there, past the property
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
