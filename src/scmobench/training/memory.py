"""What the machine can hold, asked before a fit that could end in the kernel's out-of-memory killer."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup/memory.max")  # what a container or a batch job is allowed
# how numpy, torch and Python say that a size is beyond what they can hold
TOO_LARGE = (
    "array is too big",
    "allocate memory",
    "out of memory",
    "Storage size calculation overflowed",
    "maximum allowed dimension",
)


def machine_gb() -> float:
    """Memory of the machine, or of the container where that is less, in GB (10⁹ bytes)."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else "max"
    return min(total, int(limit)) / 1e9 if limit.isdigit() else total / 1e9


def check_memory(need_gb: float, what: str, advice: str) -> None:
    """Refuse a fit that cannot end well.

    Parameters
    ----------
    need_gb : estimate of what it will hold at its peak.
    what : for which size, e.g. "42492 training cells x 116490 targets".
    advice : what the user can change.

    Raises
    ------
    ValueError : the estimate is more than the machine has; says both.
    """
    if need_gb > (has := machine_gb()):
        raise ValueError(
            f"this would need about {need_gb:.3g} GB ({what}), the machine has {has:.3g} GB: {advice}"
        )


@contextlib.contextmanager
def within_memory() -> Iterator[None]:
    """Have an allocation beyond the machine's memory fail before it is made, and say so.

    Linux alone can limit a process so, and not beside CUDA, which maps more than it uses.

    Raises
    ------
    ValueError : something asked for more, or for a size that no library can hold.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limited = sys.platform == "linux" and not torch.cuda.is_available()
    try:
        if limited:
            most = int(machine_gb() * 1e9) + _reserved()
            soft = most if before[0] == resource.RLIM_INFINITY else min(most, before[0])
            resource.setrlimit(resource.RLIMIT_DATA, (soft, before[1]))
        yield
    except (MemoryError, OverflowError, RuntimeError, ValueError) as error:
        said = f"{type(error).__name__} {error}"
        if not isinstance(error, MemoryError | OverflowError) and not any(t in said for t in TOO_LARGE):
            raise
        raise ValueError(
            f"expected sizes that fit the machine's {machine_gb():.3g} GB, found: {said}; "
            "lower the sizes of the model or of the data set"
        ) from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _reserved() -> int:
    """Bytes that this process has reserved and not touched, which its limit counts too."""
    sizes = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    reserved, used = (int(sizes[key].split()[0]) * 1024 for key in ("VmData", "RssAnon"))
    return max(0, reserved - used)
