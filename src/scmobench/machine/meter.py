"""What a block of work costs: seconds and peak memory."""

import contextlib
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path


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
