"""The memory of the machine, checked before and during a fit that the kernel would otherwise kill."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

CGROUP = Path("/sys/fs/cgroup/memory.max")  # the limit of a container or a batch job
# of glibc's mallopt: parameters as in its malloc.h; its largest block on the heap; free memory that may stay
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST_ON_HEAP, KEPT = 1 << 25, 1 << 30
# what numpy, torch and Python report for a size that they cannot hold
TOO_LARGE = (
    "array is too big",
    "allocate memory",
    "out of memory",
    "Storage size calculation overflowed",
    "maximum allowed dimension",
)


def machine_gb() -> float:
    """Memory of the machine, or of the container if that is less, in GB (10⁹ bytes)."""
    total = psutil.virtual_memory().total
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else "max"
    return min(total, int(limit)) / 1e9 if limit.isdigit() else total / 1e9


def check_memory(need_gb: float, what: str, advice: str) -> None:
    """Refuse a fit whose estimated peak ``need_gb`` is more than the machine has (ValueError).

    Parameters
    ----------
    what : the size that needs it, e.g. "42492 training cells x 116490 targets".
    advice : what the user can change.
    """
    if need_gb > (has := machine_gb()):
        raise ValueError(
            f"this would need about {need_gb:.3g} GB ({what}), the machine has {has:.3g} GB: {advice}"
        )


@contextlib.contextmanager
def within_memory() -> Iterator[None]:
    """Make an allocation beyond the machine's memory fail at once, with a message (ValueError).

    Only Linux can limit a process like this, and not together with CUDA, which maps more than it uses.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        if sys.platform == "linux" and not torch.cuda.is_available():
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


@contextlib.contextmanager
def memory_kept() -> Iterator[None]:
    """Have glibc keep what is freed for the next step; afterwards hand it back to the system.

    A step on 13,000 features frees and asks again for some hundred MB. Without this the system clears 3,000
    to 4,000 pages a step, which takes up to a tenth of its time. Other C libraries stay as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(MMAP_THRESHOLD, LARGEST_ON_HEAP)
    mallopt(TRIM_THRESHOLD, KEPT)
    try:
        yield
    finally:
        mallopt(TRIM_THRESHOLD, 2 * LARGEST_ON_HEAP)  # what glibc itself comes to with blocks of this size
        ctypes.CDLL(None).malloc_trim(0)


def _reserved() -> int:
    """Bytes that this process has reserved but not touched: its limit counts them too."""
    sizes = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    reserved, used = (int(sizes[key].split()[0]) * 1024 for key in ("VmData", "RssAnon"))
    return max(0, reserved - used)
