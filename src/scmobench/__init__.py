"""scmobench: a reproducible benchmark suite for integrating multimodal single-cell data.

``load``, ``split``, ``run``, ``score``, ``leaderboard``, ``datasets``, ``models`` and ``metrics`` are the
public functions (`scmobench.api`). Nothing heavy is imported before one of them is used.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from scmobench.machine.arithmetic import prepare_early
from scmobench.machine.numba_cache import ensure_folder

if TYPE_CHECKING:
    from scmobench.api import datasets, leaderboard, load, metrics, models, run, score, split

__all__ = ["datasets", "leaderboard", "load", "metrics", "models", "run", "score", "split"]
__version__ = "0.1.0"
prepare_early()  # before any import of NumPy or PyTorch below this package
ensure_folder()  # before anything imports numba


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'scmobench' has no attribute {name!r}")
    from scmobench import api

    return getattr(api, name)


class _Package(ModuleType):
    """Keeps the public functions' names for them: three subpackages are called alike.

    Python binds an imported subpackage to its parent. ``scmobench.metrics`` stays the function all the same,
    and ``from scmobench.metrics import ...`` imports from the subpackage, as ever.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
