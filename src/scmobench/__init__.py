"""scmobench: a reproducible benchmark suite for integrating multimodal single-cell data."""

from scmobench.machine.arithmetic import prepare_early
from scmobench.machine.numba_cache import ensure_folder

__version__ = "0.1.0"
prepare_early()  # before any import of NumPy or PyTorch below this package
ensure_folder()  # before anything imports numba
