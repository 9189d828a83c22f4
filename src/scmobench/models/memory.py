"""What the machine can hold, asked before a fit that could end in the kernel's out-of-memory killer."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup/memory.max")  # what a container or a batch job is allowed


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
