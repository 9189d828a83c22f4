"""Memory: checked before and during a fit that the kernel would otherwise kill, and measured, as is time."""

import contextlib
import ctypes
import math
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from scmobench.machine.gpu import cuda

# where Linux keeps the limit of a container or a batch job, in its newer and older form
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
TOLD_GB = 4.0  # that a fit may take without a message
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
    most = psutil.virtual_memory().total
    for limit in CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # no such file, or it says "max"
            most = min(most, int(Path(limit).read_text()))
    return most / 1e9


def held_gb() -> float:
    """Memory that this process holds, in GB."""
    return psutil.Process().memory_info().rss / 1e9


def room_gb() -> float:
    """Memory that this process may come to hold: what it holds and what is free now, in GB.

    The kernel kills a process that takes more. It is never more than the machine or container has.
    """
    return min(machine_gb(), held_gb() + psutil.virtual_memory().available / 1e9)


def fits(more_gb: float) -> bool:
    """Whether this process may take so much more."""
    return held_gb() + more_gb <= room_gb()


def check_memory(more_gb: float, what: str, advice: Callable[[], str]) -> None:
    """Say what a large fit needs; refuse one that takes more than there is, before the kernel kills it.

    Raises ValueError for a fit that is refused.

    Parameters
    ----------
    more_gb : the estimated peak, beside what the process holds.
    what : the size that needs it, e.g. "42492 training cells x 116490 targets".
    advice : says what the user can change.
    """
    if not fits(more_gb):
        free, needed = math.floor(10 * room_gb()) / 10, math.ceil(10 * (held_gb() + more_gb)) / 10
        raise ValueError(
            f"expected a fit within {free:g} GB, the memory that is free here, found one that needs "
            f"about {needed:g} GB ({what}): {advice()}"
        )
    if held_gb() + more_gb > TOLD_GB:
        told = f"this fit needs about {held_gb() + more_gb:.2g} GB of memory, {room_gb():.2g} GB are free"
        print(told, file=sys.stderr, flush=True)


@contextlib.contextmanager
def within_memory() -> Iterator[None]:
    """Make an allocation beyond the machine's memory fail at once, with a message (ValueError).

    Only Linux can limit a process like this, and not together with CUDA, which maps more than it uses.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        if sys.platform == "linux" and not cuda():
            most = int(room_gb() * 1e9) + _reserved()
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


@contextlib.contextmanager
def metered() -> Iterator[dict[str, float]]:
    """A mapping that holds ``seconds`` and ``peak_memory_gb`` of the block, once the block has ended.

    On Linux this resets the kernel's high-water mark, so that each run of a sweep has its own peak. Elsewhere
    the peak is that of the whole process so far.
    """
    spent: dict[str, float] = {}
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    begun = time.perf_counter()
    yield spent
    spent["seconds"] = round(time.perf_counter() - begun, 3)
    spent["peak_memory_gb"] = round(_peak_bytes() / 1e9, 3)


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if found := re.search(r"^VmHWM:\s*(\d+)", status.read_text() if status.is_file() else "", re.M):
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
