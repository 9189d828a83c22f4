"""What a block of work costs: seconds and peak memory."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from pathlib import Path


class Meter:
    """Seconds and peak memory of a block of work.

    On Linux the kernel's high-water mark is reset at the start, so that each run of a sweep has
    its own; elsewhere the peak is that of the whole process so far.
    """

    def __enter__(self) -> Meter:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = round(time.perf_counter() - self._start, 3)
        self.peak_memory_gb = round(_peak_bytes() / 1e9, 3)


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
